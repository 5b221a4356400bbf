"""The changes below the prefix, as etcd reports them, and the proof that none was missed.

A watch that says nothing may be one without changes, or one that is dead: etcd does not end it then. The host asks for
its lease every 10 s, and each answer has the store's revision. If the watch has reached that revision, nothing was
missed. If not, other programs may have written to the store: one small request tells whether anything below the prefix
was written later (its revision), or deleted (the number of keys).

A connection that ends is opened again, at the next server, from the revision that was reached. So a server that stops
costs each host one request, and no list.
"""

from __future__ import annotations

import json
from random import random
from time import monotonic, sleep

from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.etcd.failure import failure_of, of_token
from cni_cnm.cluster.etcd.operations import key_value, range_below, read_range
from cni_cnm.cluster.http.connection import NoAnswer
from cni_cnm.errors import DirectoryUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from cni_cnm.cluster.etcd.client import Client
    from cni_cnm.cluster.etcd.contents import Contents
    from cni_cnm.cluster.etcd.keys import Keys
    from cni_cnm.cluster.http.connection import Stream
    from cni_cnm.cluster.values import Change
    from cni_cnm.model import Json

    T = TypeVar("T")

_LOOK_S = 5.0
"""Without a line for this long the watch must be proved."""
_LINE_S = 10.0
"""A line that has begun is complete within this time."""
_REOPEN_S = 30.0
"""A connection that cannot be opened again for this long ends the watch."""
_PAUSE_S = 1.0
"""Before opening again, at random up to this: the hosts of a server that stops do not come at once."""
_BEHIND_S = 3.0
"""The same, while servers answer with a lower revision: one that is behind the others is so for a moment only."""
_SOON_S, _SOON_MAX = 10.0, 5
"""A watch that ends within this time so often in a row is not opened again here."""
_ASK_S = 60.0
"""Least time between two questions that found nothing: other programs write to the same store."""
_TOLD_S = 25.0
"""A revision that was told is used for this long. Later the watch asks by itself."""


class Told:
    """The store's latest revision that answers to other requests had, and when."""

    def __init__(self) -> None:
        self.latest = (0, float("-inf"))

    def tell(self, revision: int) -> None:
        self.latest = (revision, monotonic())


class _Behind(NoAnswer):
    """A server has not seen what was seen before."""


class Watch:
    """One watch. `asking` is a client for questions, `client` the one that has the stream."""

    def __init__(self, client: Client, asking: Client, keys: Keys, contents: Contents, told: Told) -> None:
        self._client = client
        self._asking = asking
        self._keys = keys
        self._contents = contents
        self._told = told
        self._reached = contents.revision
        self._asked = float("-inf")

    def batches(self) -> Iterator[tuple[int, Sequence[Change]]]:
        """As the contract says (cluster/directory.py)."""
        soon = 0
        try:
            while True:
                stream, began = self._open(), monotonic()
                try:
                    yield from self._read(stream)
                except NoAnswer as error:
                    soon = soon + 1 if monotonic() - began < _SOON_S else 0
                    if soon > _SOON_MAX:
                        raise WatchEnded(f"{self._client.name} ends each watch soon: {error}") from error
                    self._client.ended(error)
                    sleep(_PAUSE_S * random())  # noqa: S311
        finally:
            self._client.close()

    # opening ------------------------------------------------------------------------
    def _open(self) -> Stream:
        began = monotonic()
        while True:
            try:
                self._client.begin()
                return self._begun()
            except (DirectoryUnreachable, NoAnswer) as error:
                wait = _PAUSE_S * random()  # noqa: S311
                if self._client.closed or monotonic() + wait - began >= (
                    _BEHIND_S if isinstance(error, _Behind) else _REOPEN_S
                ):
                    raise WatchEnded(str(error)) from error
                self._client.ended(error)
                sleep(wait)

    def _begun(self) -> Stream:
        request = range_below(self._keys.all, start_revision=self._reached + 1)
        stream = self._client.stream("watch", {"create_request": request})
        line = stream.line(_LINE_S, _LINE_S)
        if not line:
            raise NoAnswer("it did not begin a watch", sent=True)
        answer = self._answer(line)
        header = _understood(lambda: (str(answer["header"]["cluster_id"]), int(answer["header"]["revision"])))
        if header[0] != self._contents.store:
            raise WatchEnded(
                f"{self._client.name} is another store than before: {header[0]}, not {self._contents.store}"
            )
        if header[1] < self._reached:
            # A server that is behind the others for a moment, or a store that was restored from a backup.
            raise _Behind(f"its revision is {header[1]}, and {self._reached} was seen before", sent=True)
        return stream

    # reading --------------------------------------------------------------------------
    def _read(self, stream: Stream) -> Iterator[tuple[int, Sequence[Change]]]:
        behind = False
        while True:
            line = stream.line(_LOOK_S, _LINE_S)
            if line == b"":
                raise NoAnswer("it ended the watch", sent=True)
            if line is not None:
                changes = self._changes(self._answer(line))
                if changes is not None:
                    behind = False
                    yield self._reached, changes
                continue
            if behind and self._missed():
                raise WatchEnded(f"{self._client.name} has changed, and the watch did not say so")
            before = behind
            behind = not self._proved()
            if not behind or before:
                yield self._reached, ()

    def _proved(self) -> bool:
        """Whether the latest known revision is reached."""
        revision, when = self._told.latest
        return monotonic() - when < _TOLD_S and revision <= self._reached

    def _missed(self) -> bool:
        """Ask whether anything was written or deleted since; not more often than once in `_ASK_S`."""
        now = monotonic()
        if now - self._asked < _ASK_S:
            return False
        try:
            self._asking.begin()
            request = range_below(self._keys.all, min_mod_revision=self._reached + 1, limit=1, keys_only=True)
            answer = self._asking.read("kv/range", request)
            there = self._asking.understood(lambda: read_range(answer.raw))
        except DirectoryUnreachable as error:
            raise NoAnswer(error.msg, sent=True) from error
        finally:
            self._asking.close()
        if there.found or there.total != self._contents.count or answer.store != self._contents.store:
            return True
        self._asked = now
        self._reached = max(self._reached, answer.revision)
        return False

    def _answer(self, line: bytes) -> Json:
        """The result in a line. NoAnswer for what another server may do better, WatchEnded for all else."""
        raw = _understood(lambda: json.loads(line))
        result = raw.get("result") if isinstance(raw, dict) else None
        if not isinstance(result, dict):
            failure = failure_of(200, raw)
            if failure.elsewhere:
                raise NoAnswer(str(failure), sent=True)
            raise WatchEnded(f"{self._client.name} ended the watch: {failure}")
        if result.get("canceled"):
            compacted, reason = result.get("compact_revision"), str(result.get("cancel_reason") or "no reason given")
            if of_token(reason):  # said in the stream, with the status of a success
                self._client.forget_token()
                raise NoAnswer(reason, sent=True)
            if compacted:
                reason = f"what changed before revision {compacted} is compacted"
            raise WatchEnded(f"{self._client.name} ended the watch: {reason}")
        return result

    def _changes(self, result: Json) -> Sequence[Change] | None:
        """Of a batch; None for a line without events. Its header may be of a later revision than its events."""
        events = _understood(
            lambda: [(key_value(each["kv"]), each.get("type") == "DELETE") for each in result.get("events", ())]
        )
        if not events:
            return None
        changes = self._contents.changes(events)
        self._reached = max(self._reached, self._contents.revision)
        return changes


def _understood(parse: Callable[[], T]) -> T:
    """WatchEnded for a line that is not one of etcd's."""
    try:
        return parse()
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise WatchEnded(f"a line of the watch is not as etcd writes it: {type(error).__name__}: {error}") from error
