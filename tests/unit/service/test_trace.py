from __future__ import annotations

import pytest

from cni_cnm.service.trace import Steps


class Thing:
    value = 3

    def outer(self, number: int) -> int:
        return self.inner() + number

    def inner(self) -> int:
        return self.value

    def fails(self) -> None:
        raise ValueError("no")


def test_methods_are_counted_and_timed_and_work() -> None:
    """Results and exceptions pass; a call inside another is part of it; calls add up by name."""
    steps = Steps()
    thing = steps.watch(Thing())
    assert (thing.outer(1), thing.outer(2), thing.inner()) == (4, 5, 3)
    with pytest.raises(ValueError, match="no"):
        thing.fails()
    assert [name for name, _ in steps.taken()] == ["outer(2)", "inner", "fails"]
    assert all(seconds >= 0 for _, seconds in steps.taken())


def test_a_view_leaves_the_thing_alone() -> None:
    """What many requests share is timed for one of them only."""
    steps, thing = Steps(), Thing()
    view = steps.view(thing, "x-")
    assert view.outer(1) == 4
    assert view.value == 3
    assert thing.outer(2) == 5
    assert [name for name, _ in steps.taken()] == ["x-outer"]
