"""Following a directory, with a clock, pauses and random numbers of the test's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cni_cnm.cluster.directory import WatchEnded, WatchNotOpened
from cni_cnm.cluster.follow import WITHOUT_NEWS_S, Away, Changed, Whole, follow
from cni_cnm.cluster.pace import Pace
from cni_cnm.cluster.values import Change, Snapshot
from cni_cnm.errors import DirectoryUnreachable


class Scripted:
    """A directory of which each list is an error or a revision, and each watch a list of batches that then ends."""

    name = "scripted"
    pace = Pace()

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.lists = 0
        self.watched: list[int] = []

    def snapshot(self) -> Snapshot:
        self.lists += 1
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return Snapshot("store", step)

    def skipped(self) -> Sequence[str]:
        return ("one",)

    def watch(self, revision: int) -> Iterator[tuple[int, Sequence[Change]]]:
        self.watched.append(revision)
        for step in self.script.pop(0):
            if callable(step):
                step()
            elif isinstance(step, Exception):
                raise step
            else:
                yield step, (Change("alive", "a", True),)


class Time:
    def __init__(self, pauses: int) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self._left = pauses

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        self._left -= 1
        return self._left <= 0

    def follow(self, directory: Any, spread_s: float = 0.0) -> list[Any]:
        return list(follow(directory, self.pause, lambda: self.now, lambda: 0.5, spread_s))


def test_a_list_then_changes_then_a_list_again_with_the_reason() -> None:
    directory = Scripted(7, [8, 9, WatchEnded("compacted")], 12, [13])
    news = Time(2).follow(directory)
    changes = (Change("alive", "a", True),)
    assert news == [
        Whole(Snapshot("store", 7), ("one",)),
        Changed(8, changes, ("one",)),
        Changed(9, changes, ("one",)),
        Away("compacted", "", 0.75),
        Whole(Snapshot("store", 12), ("one",)),
        Changed(13, changes, ("one",)),
        Away("scripted ended the watch", "", 1.5),
    ]


def test_pauses_grow_up_to_a_limit_while_there_is_no_answer() -> None:
    directory = Scripted(*[DirectoryUnreachable("it is away", hint="start it")] * 9)
    time = Time(9)
    news = time.follow(directory)
    assert time.pauses == [0.75, 1.5, 3, 6, 12, 24, 30, 30, 30]
    assert max(time.pauses) <= 2 * Pace().last_s
    assert news[0] == Away("it is away", "start it", 0.75)


def test_a_watch_that_ends_at_once_is_no_reason_to_ask_at_once() -> None:
    time = Time(4)
    time.follow(Scripted(1, [2], 1, [2], 1, [2], 1, [2]))
    assert time.pauses == [0.75, 1.5, 3, 6]


def test_a_watch_that_lasted_makes_the_next_pause_short() -> None:
    time = Time(5)

    def an_hour_passes() -> None:
        time.now += 3600

    time.follow(Scripted(1, [2], 1, [2], 1, [2], 1, [2, an_hour_passes, 3], 1, [2]))
    assert time.pauses == [0.75, 1.5, 3, 0.75, 1.5]


def test_a_watch_that_cannot_be_opened_is_tried_again_from_where_it_was_without_a_list() -> None:
    time = Time(4)
    directory = Scripted(7, [8, WatchNotOpened("refused", 9)], [WatchNotOpened("refused", 9)], [10], 11, [])
    news = time.follow(directory)
    assert (directory.lists, directory.watched) == (2, [7, 9, 9, 11])
    assert time.pauses == [0.75, 1.5, 3, 6]
    assert [type(each) for each in news] == [Whole, Changed, Away, Away, Changed, Away, Whole, Away]


def test_a_watch_that_is_not_opened_for_long_leads_to_a_list() -> None:
    time = Time(2)

    def long_passes() -> None:
        time.now += WITHOUT_NEWS_S

    directory = Scripted(7, [long_passes, WatchNotOpened("refused", 7)], 8, [])
    time.follow(directory)
    assert (directory.lists, directory.watched) == (2, [7, 8])


def test_the_first_list_waits_at_random_if_the_caller_can_wait() -> None:
    time = Time(1)
    directory = Scripted(1, [])
    assert time.follow(directory, spread_s=10) == []
    assert (time.pauses, directory.lists) == ([5.0], 0)
