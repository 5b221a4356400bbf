"""Numbers that processes count together."""

from __future__ import annotations

import os
from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.service.counters import LOST, Counters, Part


def add_many(part: Part) -> None:
    for _ in range(500):
        part.add("requests", "ADD")


def test_processes_and_threads_count_together() -> None:
    """Nothing is lost; a process that is started again goes on where the one before it was."""
    counters = Counters(3)
    for number in (0, 1, 1):
        if (pid := os.fork()) == 0:
            part = counters.part(number)
            threads = [Thread(target=add_many, args=(part,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert counters.read() == {LOST: 0, ("requests", "ADD"): 6000}


TEXT = st.text("abé/.", max_size=8)


@given(st.lists(st.tuples(TEXT.filter(bool), st.lists(TEXT, max_size=3), st.integers(0, 1000))))
def test_each_key_has_its_sum(added: list[tuple[str, list[str], int]]) -> None:
    counters = Counters(1)
    part = counters.part(0)
    sums: dict[tuple[str, ...], float] = {}
    for name, labels, value in added:
        part.add(name, *labels, value=value)
        sums[name, *labels] = sums.get((name, *labels), 0) + value
    assert counters.read() == {LOST: 0, **sums}


def test_what_does_not_fit_is_counted_as_lost() -> None:
    counters = Counters(2)
    part = counters.part(0)
    part.add("long", "x" * 300)
    for number in range(1200):
        part.add("many", str(number))
    found = counters.read()
    assert found[LOST] == 1 + 1200 - 999
    assert len(found) == 1000
    part.add("many", "5")
    assert counters.read()["many", "5"] == 2
    counters.part(1).add("many", "5")
    assert counters.read()["many", "5"] == 3
