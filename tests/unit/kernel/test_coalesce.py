"""What threads ask for at the same time is done once for all."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from cni_cnm.kernel.coalesce import Coalesce


def test_those_that_come_meanwhile_are_one_turn() -> None:
    """The first goes at once and alone; thirty that come while it is under way are done in one turn after it."""
    turns: list[list[int]] = []
    begun, go_on = threading.Event(), threading.Event()

    def act(items: Sequence[int]) -> None:
        turns.append(list(items))
        begun.set()
        assert go_on.wait(60)

    together = Coalesce(act)
    with ThreadPoolExecutor(31) as pool:
        first = pool.submit(together.do, 0)
        assert begun.wait(60)
        others = [pool.submit(together.do, number) for number in range(1, 31)]
        while len(together._waiting) < 30:
            pass
        assert not any(other.done() for other in others)
        go_on.set()
        for one in (first, *others):
            one.result(60)
    assert turns[0] == [0]
    assert sorted(turns[1]) == list(range(1, 31))
    assert len(turns) == 2


def test_each_is_done_once() -> None:
    """However they meet, and equal ones are not taken for each other."""
    done: list[str] = []
    together: Coalesce[str] = Coalesce(done.extend)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(together.do, ["".join(("sa", "me")) for _ in range(2000)]))
    assert done == ["same"] * 2000


def test_a_turn_that_fails_is_not_the_last() -> None:
    """Whose thread it was hears of it; the next one is done."""
    done: list[int] = []

    def act(items: Sequence[int]) -> None:
        if items[0] < 0:
            raise ValueError(items[0])
        done.extend(items)

    together = Coalesce(act)
    with pytest.raises(ValueError, match="-1"):
        together.do(-1)
    together.do(1)
    assert done == [1]
