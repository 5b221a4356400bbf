"""The threads of the agent that talk to the store: one follows what changes, one shows life and writes.

Both put what happens into one queue, and wake the agent's loop by a descriptor. A store that does not answer holds only
them. They are started in the agent's process, which forks no other.
"""

from __future__ import annotations

import os
from queue import Empty, SimpleQueue
from random import random
from threading import Lock, Thread
from time import monotonic, sleep

from cni_cnm.cluster.follow import Away, Changed, Whole, follow
from cni_cnm.errors import CnmError, Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from cni_cnm.cluster.actions import Action
    from cni_cnm.cluster.agent import Agent
    from cni_cnm.cluster.directory import Directory
    from cni_cnm.cluster.follow import News
    from cni_cnm.cluster.pace import Pace
    from cni_cnm.cluster.values import Block, Change, ClusterHost, Snapshot

    Event: TypeAlias = Callable[[Agent, float], Iterator[Action]]
    """Tells the agent; the number is the time, in seconds since 1970."""
    Job: TypeAlias = Callable[[Directory], Event | None]

LIFE_S = 10.0
"""Between two signs of life. Up to a tenth more, at random: hosts do not come together. A lease is three times it."""


class DirectoryThreads:
    """Calls of the directory are made by one thread at a time; the watch is the other's alone."""

    def __init__(self, directory: Directory, spread_s: float = 0.0) -> None:
        """`spread_s`: the first list is asked for within this time, at random."""
        self._directory = directory
        self._spread_s = spread_s
        self._calling = Lock()
        self.name = directory.name
        self.assigns = directory.assigns
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._host: ClusterHost | None = None

    def start(self) -> None:
        for run in (self._follow, self._write):
            Thread(target=run, daemon=True).start()

    def fileno(self) -> int:
        """Readable when there is something to `take`."""
        return self._wake

    def take(self) -> Sequence[Event]:
        """What has happened since the last call."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return ()
        found = []
        while True:
            try:
                found.append(self._events.get_nowait())
            except Empty:
                return found

    # what this host writes ----------------------------------------------------------

    @property
    def host(self) -> ClusterHost | None:
        """The host that life is shown of; None: of none."""
        return self._host

    @host.setter
    def host(self, host: ClusterHost | None) -> None:
        if host != self._host:
            self._host = host
            self._jobs.put(_nothing)  # life is shown at once

    def announce(self, host: ClusterHost) -> None:
        def job(directory: Directory) -> Event:
            try:
                directory.announce(host)
            except Conflict:
                raise
            except CnmError as error:
                if not directory.assigns:
                    raise
                why = f"{error.msg} ({error.hint})" if error.hint else error.msg
                return lambda agent, _: agent.unannounced(why)
            return lambda agent, _: agent.announced(host)

        self._jobs.put(job)

    def claim_again(self, block: Block) -> None:
        def job(directory: Directory) -> Event:
            ours = directory.claim_again(block)
            return lambda agent, _: agent.claimed(block, ours)

        self._jobs.put(job)

    def release(self, block: Block, unused: Callable[[Block], AbstractContextManager[bool]]) -> None:
        """`unused` tells whether no network of this host has the block, and keeps that so within its context."""

        def job(directory: Directory) -> None:
            with unused(block) as free:
                if free:
                    directory.release(block)

        self._jobs.put(job)

    # threads ------------------------------------------------------------------------

    def _follow(self) -> None:
        followed = _Followed(self._directory, self._calling)
        while True:
            try:
                for news in follow(followed, sleep, monotonic, random, self._spread_s):
                    self._put(_event(news))
            except Exception as error:  # noqa: BLE001 - a defect here must not end the thread
                self._put(_event(Away(f"{self.name} is not followed: {type(error).__name__}: {error}", "", LIFE_S)))
                sleep(LIFE_S)

    def _write(self) -> None:
        due = 0.0
        while True:
            try:
                job = self._jobs.get(timeout=max(0.0, due - monotonic()))
            except Empty:
                job = _nothing
            event = self._done(job)
            if event is not None:
                self._put(event)
            host = self._host
            if host is not None and (job is _nothing or due <= monotonic()):
                event = self._done(_life(host))
                if event is not None:
                    self._put(event)
            if due <= monotonic():
                due = monotonic() + LIFE_S * (1 + random() / 10)  # noqa: S311 - no secret

    def _done(self, job: Job) -> Event | None:
        try:
            with self._calling:
                return job(self._directory)
        except Conflict as error:
            conflict = error.msg
            return lambda agent, _: agent.refused(conflict)
        except CnmError as error:
            why = f"{error.msg} ({error.hint})" if error.hint else error.msg
        except Exception as error:  # noqa: BLE001 - a defect here must not end the thread
            why = f"{type(error).__name__}: {error}"
        return lambda agent, now: agent.silent(why, now)

    def _put(self, event: Event) -> None:
        self._events.put(event)
        os.eventfd_write(self._wake, 1)


class _Followed:
    """A directory whose lists are made while no other thread calls it."""

    def __init__(self, directory: Directory, calling: Lock) -> None:
        self.name = directory.name
        self._directory = directory
        self._calling = calling

    @property
    def pace(self) -> Pace:
        return self._directory.pace

    def snapshot(self) -> Snapshot:
        with self._calling:
            return self._directory.snapshot()

    def skipped(self) -> Sequence[str]:
        return self._directory.skipped()

    def watch(self, revision: int) -> Iterator[tuple[int, Sequence[Change]]]:
        return self._directory.watch(revision)


def _event(news: News) -> Event:
    match news:
        case Whole(snapshot, skipped):
            return lambda agent, now: agent.listed(snapshot, skipped, now)
        case Changed(revision, changes, skipped):
            return lambda agent, now: agent.changed(revision, changes, skipped, now)
        case Away(reason, hint, _):
            why = f"{reason} ({hint})" if hint else reason
            return lambda agent, now: agent.silent(why, now)


def _nothing(directory: Directory) -> None:  # noqa: ARG001 - as every job
    return None


def _life(host: ClusterHost) -> Job:
    def job(directory: Directory) -> Event:
        directory.show_life(host)
        return lambda agent, now: agent.answers(now)

    return job
