"""Names of endpoints in etcd: one key for each endpoint of a network that answers names, below its host.

PREFIX/names/HOST/NETWORK/ENDPOINT     the lines of its hosts file (cni_cnm/names)

Only the host writes below its name. Others read: what they find is checked by them (service/name_exchange.py).
"""

from __future__ import annotations

import json
from time import monotonic

from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.etcd.client import Client
from cni_cnm.cluster.etcd.keys import Keys
from cni_cnm.cluster.etcd.operations import delete, delete_below, key_value, put, range_below, range_from, read_range
from cni_cnm.cluster.http.connection import NoAnswer
from cni_cnm.errors import DirectoryUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    from cni_cnm.cluster.etcd.operations import Operation
    from cni_cnm.cluster_settings import ClusterSettings

    Place: TypeAlias = tuple[str, str, str]
    """Host, network and endpoint."""

_AT_ONCE = 100
"""etcd takes 128 operations in one transaction (--max-txn-ops)."""
_PAGE = 1000
_LINE_S = 10.0
_SILENT_S = 60.0
"""A watch that says nothing for so long is opened again: it may be dead."""


class EtcdNames:
    """One thread calls `write` and `remove`, another one `read` and `changes`: each has its own client."""

    def __init__(self, settings: ClusterSettings, timeout_s: float) -> None:
        self._writing, self._reading = Client(settings, timeout_s), Client(settings, timeout_s)
        self._keys = Keys(settings.prefix)
        self.name = self._writing.name

    def close(self) -> None:
        """A `changes` of another thread ends."""
        self._reading.cut()
        self._writing.close()

    def write(self, changed: Mapping[Place, str]) -> None:
        """Write these; "" removes one. DirectoryUnreachable if it is not known whether that was done."""
        done: list[Operation] = [
            put(self._keys.names(*place), text.encode()) if text else delete(self._keys.names(*place))
            for place, text in changed.items()
        ]
        self._writing.begin()
        for start in range(0, len(done), _AT_ONCE):
            for _ in self._writing.attempts():  # the same again does no harm
                outcome = self._writing.transaction([], done[start : start + _AT_ONCE])
                if outcome is not None and outcome.succeeded:
                    break

    def read(self) -> tuple[int, dict[Place, str]]:
        """All there is, and the revision."""
        self._reading.begin()
        prefix = self._keys.names()
        request, revision = range_below(prefix, limit=_PAGE), 0
        found: dict[Place, str] = {}
        while True:
            answer = self._reading.read("kv/range", request)
            page = self._reading.understood(lambda answer=answer: read_range(answer.raw))  # type: ignore[misc]
            revision = revision or answer.revision
            for record in page.found:
                if (place := self._place(record.key)) is not None:
                    found[place] = record.value.decode(errors="replace")
            if not page.more or not page.found:
                return revision, found
            request = range_from(page.found[-1].key, prefix, limit=_PAGE, revision=revision)

    def changes(self, revision: int) -> Iterator[Sequence[tuple[Place, str]]]:
        """Batches of what changed after `revision`; "" for what was removed. WatchEnded: `read` again.

        An empty batch comes when the watch is opened again.
        """
        reached = revision
        while True:
            try:
                self._reading.begin()
                request = range_below(self._keys.names(), start_revision=reached + 1)
                stream = self._reading.stream("watch", {"create_request": request})
                spoke = monotonic()
                while monotonic() - spoke < _SILENT_S:
                    line = stream.line(_LINE_S, _LINE_S)
                    if line is None:
                        continue
                    spoke = monotonic()
                    result = json.loads(line).get("result") if line else None
                    if not isinstance(result, dict) or result.get("canceled"):
                        raise WatchEnded(f"{self.name} ended the watch of names")
                    events = [(key_value(one["kv"]), one.get("type") == "DELETE") for one in result.get("events", ())]
                    reached = max((reached, *(record.revision for record, _ in events)))
                    yield [
                        (place, "" if deleted else record.value.decode(errors="replace"))
                        for record, deleted in events
                        if (place := self._place(record.key)) is not None
                    ]
            except (NoAnswer, DirectoryUnreachable) as error:
                raise WatchEnded(str(error)) from error
            except (TypeError, ValueError, LookupError, AttributeError) as error:
                raise WatchEnded(f"{self.name} said what etcd does not say: {error}") from error
            finally:
                self._reading.close()
            yield ()

    def _place(self, key: str) -> Place | None:
        found = self._keys.read(key)
        if found is None or found.kind != "names":
            return None
        host, network, endpoint = found.name.split("/")
        return host, network, endpoint


def remove_host(client: Client, keys: Keys, host: str) -> None:
    """Remove all names of a host that has left. No error if there is none."""
    client.begin()
    for _ in client.attempts():
        if (outcome := client.transaction([], [delete_below(keys.names(host))])) is not None and outcome.succeeded:
            return
