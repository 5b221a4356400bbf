"""The contract of a store: JSON records by kind and name, and locks by key.

What reads or writes records is handed a `Store`; only `wiring` builds one. A record is written under the lock of what
it describes: `network/NAME`, `endpoint/ID`, `sandbox/ID`, `pools`.
"""

from __future__ import annotations

from cni_cnm.bases import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from cni_cnm.model import Json

# Kinds of records. Their names are on disk.
NETWORKS = "networks"
ENDPOINTS = "endpoints"
SANDBOXES = "sandboxes"
FIREWALL = "firewall"
ALLOWED = "allowed"
POOLS = "pools"
LEASED = "leased"
REAPED = "reaped"
GIVEN = "given"
"""Addresses that podman has given to containers (netavark/given_addresses.py)."""
ADOPT = "adopt"
"""Networks that were taken over from the reference plugins, and how far that is."""

_HINTS = {
    ENDPOINTS: "delete the container: a DEL finds its addresses and links without the record",
    ADOPT: "it has the files that `cni-cnm release` puts back; keep a copy of it",
    NETWORKS: "move the file away: the next ADD records the network again",
}


def hint(kind: str) -> str:
    """What an operator does about a damaged record."""
    return _HINTS.get(kind, "move the file away")


DURABLE = frozenset((NETWORKS, ALLOWED, POOLS, LEASED, ADOPT))
"""Kinds that are kept over reboots. The others describe kernel objects, or are of one epoch."""


class Store(Protocol):
    """Names are safe as file names: every frontend validates them. Methods raise IoFailed if the store fails."""

    kept: dict[object, object] | None
    """What was parsed of records, if this store is read once, for a diagnosis. None: each time anew."""

    def get(self, kind: str, name: str) -> Json | None:
        """The record; None if there is none, or if it is empty. The caller does not change what it gets.

        DamagedRecord if it is no JSON.
        """

    def has(self, kind: str, name: str) -> bool:
        """Whether there is a record, without reading it."""

    def place(self, kind: str, name: str) -> str:
        """Where an operator finds the record, for messages."""

    def unfinished(self, kind: str, name: str) -> bool:
        """Whether a `put` that was killed has left something. The next `put` or `delete` of the record removes it."""

    def put(self, kind: str, name: str, value: Json) -> None:
        """Write the record. A reader sees the old one or the new one, also after a kill."""

    def delete(self, kind: str, name: str) -> None:
        """Remove the record. No error if absent."""

    def names(self, kind: str) -> Iterator[str]:
        """The names of all records of a kind, in order."""

    def lock(self, key: str, *, shared: bool = False, timeout_s: float = 50.0) -> AbstractContextManager[None]:
        """Hold the lock of that key, between processes and threads. TryAgain if it cannot be had in `timeout_s`."""
