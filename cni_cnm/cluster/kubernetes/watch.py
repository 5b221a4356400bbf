"""The changes of Nodes, as the API server reports them.

It ends each watch after some minutes, and when it is restarted. Then the watch is opened again from the version that
was reached: no list is made, and no change is missed. The hosts of a cluster do not come at once: each one waits at
random, the longer the more Nodes there are. A watch that cannot be opened again is WatchNotOpened: cluster/follow.py
tries it later, from the same version.
"""

from __future__ import annotations

import json
from random import random
from time import monotonic, sleep
from urllib.parse import urlencode

from cni_cnm.cluster.directory import WatchEnded, WatchNotOpened
from cni_cnm.cluster.http.connection import NoAnswer
from cni_cnm.cluster.kubernetes.contents import revision
from cni_cnm.cluster.kubernetes.failure import Failure, of_status
from cni_cnm.cluster.kubernetes.listing import NODES
from cni_cnm.errors import DirectoryUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cni_cnm.cluster.http.connection import Stream
    from cni_cnm.cluster.kubernetes.client import Client
    from cni_cnm.cluster.kubernetes.contents import Contents
    from cni_cnm.cluster.values import Change
    from cni_cnm.model import Json

_LAST_S = 300.0
"""A watch is asked to last so long, and at random up to as long again."""
_SILENT_S = 150.0
"""A watch without a line for this long is opened again. API servers send a bookmark each minute."""
_LINE_S = 10.0
"""A line that has begun is complete within this time."""
_SOON_S = 10.0
"""A watch that ends within this time twice in a row is not opened again here."""
_BATCH_MAX = 500
"""Changes of one batch."""
_PROOF_S = 10.0
"""Between two empty batches: kubelets' reports change nothing, and are many."""


class Watch:
    """One watch, from the version of `contents` on."""

    def __init__(self, client: Client, contents: Contents, spread_s: Callable[[], float], *, proof: bool) -> None:
        """`spread_s`: within this time the hosts of the cluster come again after a watch was cut.

        `proof`: an empty batch says at once that the watch is open, because the API was away.
        """
        self._client = client
        self._contents = contents
        self._spread_s = spread_s
        self._proof = proof
        self._told = float("-inf")

    def batches(self) -> Iterator[tuple[int, Sequence[Change]]]:
        """As the contract says (cluster/directory.py)."""
        soon = False
        try:
            while True:
                began, lasts_s = monotonic(), int(_LAST_S * (1 + random()))  # noqa: S311
                stream = self._open(lasts_s)
                try:
                    if self._proof:
                        self._proof = False
                        yield self._contents.revision, ()
                    yield from self._read(stream)
                    reason = "it ended the watch"
                except NoAnswer as error:
                    reason = str(error)
                self._client.close()
                lasted = monotonic() - began
                if self._client.closed or (soon and lasted < _SOON_S):
                    raise WatchEnded(f"{self._client.name} ends each watch soon: {reason}")
                soon = lasted < _SOON_S
                if lasted < lasts_s - 1:  # other hosts' watches may have ended at the same time
                    sleep(self._spread_s() * random())  # noqa: S311
        finally:
            self._client.close()

    def _open(self, lasts_s: int) -> Stream:
        query = {
            "watch": "true",
            "resourceVersion": self._contents.version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(lasts_s),
        }
        self._client.begin()
        try:
            return self._client.stream(f"{NODES}?{urlencode(query)}")
        except Failure as failure:
            if failure.passing:
                raise WatchNotOpened(self._said(failure), self._contents.revision) from failure
            raise WatchEnded(self._said(failure)) from failure
        except DirectoryUnreachable as error:
            raise WatchNotOpened(_with_hint(error), self._contents.revision) from error

    def _read(self, stream: Stream) -> Iterator[tuple[int, Sequence[Change]]]:
        """What has come already is one batch: many Nodes may join at once."""
        waiting: list[Change] = []
        while True:
            said = self._contents.skipped
            try:
                line = stream.line(0.0, _LINE_S) if waiting else _first_line(stream)
                if line and line.strip():
                    waiting += self._changes(self._decoded(line))
            except (NoAnswer, WatchEnded):
                if waiting:
                    yield self._contents.revision, waiting
                raise
            whole = waiting and (not line or len(waiting) >= _BATCH_MAX)
            left_out = not waiting and self._contents.skipped != said
            if whole or left_out or monotonic() - self._told >= _PROOF_S:
                self._told = monotonic()
                yield self._contents.revision, waiting
                waiting = []
            if line == b"":
                return

    def _changes(self, event: Json) -> Sequence[Change]:
        kind, raw = event.get("type"), event.get("object")
        if kind == "ERROR":
            raise WatchEnded(self._said(of_status(raw, 500)))
        meta = raw.get("metadata") if isinstance(raw, dict) else None
        version = meta.get("resourceVersion") if isinstance(meta, dict) else None
        if not isinstance(version, str) or not version:
            raise WatchEnded(f"a line of the watch of {self._client.name} has no resourceVersion")
        before, now = self._contents.revision, revision(version)
        if now < before and now:
            raise WatchEnded(
                f"{self._client.name} went back from version {before} to {now}: it was restored from a backup, or one "
                "of its servers is behind"
            )
        changes: Sequence[Change] = ()
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            changes = self._contents.change(raw, deleted=kind == "DELETED")
        elif kind != "BOOKMARK":
            raise WatchEnded(f"a line of the watch of {self._client.name} is of an unknown type")
        self._contents.version = version
        return changes

    def _decoded(self, line: bytes) -> Json:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise WatchEnded(f"a line of the watch of {self._client.name} is no JSON object")
        return event

    def _said(self, failure: Failure) -> str:
        if failure.expired:
            return f"{self._client.name} has compacted the changes since version {self._contents.version}: {failure}"
        return _with_hint(self._client.explained(failure))


def _with_hint(error: DirectoryUnreachable) -> str:
    return f"{error.msg} ({error.hint})" if error.hint else error.msg


def _first_line(stream: Stream) -> bytes:
    """NoAnswer if none comes for _SILENT_S."""
    line = stream.line(_SILENT_S, _LINE_S)
    if line is None:
        raise NoAnswer(f"it said nothing for {_SILENT_S:.0f} s", sent=True)
    return line
