"""The base of values: what typing's NamedTuple promises, as far as the package uses it."""

from __future__ import annotations

import copy
import inspect

import pytest

from cni_cnm.named_tuple import NamedTuple


class Point(NamedTuple):
    """A place."""

    x: int
    y: int = 2
    """With a default."""

    @property
    def sum(self) -> int:
        return self.x + self.y


class Pair(NamedTuple):
    left: str
    right: str


def test_values_by_place_and_by_name() -> None:
    assert Point(1) == Point(x=1, y=2) == (1, 2)
    assert (Point(1).x, Point(1).y, Point(1).sum) == (1, 2, 3)
    assert Point.__doc__ == "A place."
    assert Point._fields == ("x", "y")
    assert Point._field_defaults == {"y": 2}


def test_classes_with_as_many_fields_keep_their_own_names() -> None:
    assert str(inspect.signature(Point)) == "(x, y=2)"
    assert str(inspect.signature(Pair)) == "(left, right)"
    assert repr(Pair("a", "b")) == "Pair(left='a', right='b')"
    with pytest.raises(TypeError, match=r"Pair\.__new__\(\) missing 1 required positional argument: 'right'"):
        Pair("a")  # type: ignore[call-arg]


def test_changed_copies() -> None:
    assert Point(1)._replace(y=5) == Point(1, 5)
    assert type(Point(1)._replace(y=5)) is Point
    assert type(copy.deepcopy(Point(1))) is Point
    assert Point._make([3, 4])._asdict() == {"x": 3, "y": 4}
    with pytest.raises(ValueError, match="Point has no fields"):
        Point(1)._replace(z=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="2 fields, not 1"):
        Point._make([3])


def test_patterns() -> None:
    match Point(1):
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_a_default_before_a_field_without_one() -> None:
    with pytest.raises(TypeError, match="a field without a default follows"):

        class Wrong(NamedTuple):
            a: int = 1
            b: int  # type: ignore[misc]
