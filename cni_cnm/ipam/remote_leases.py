"""Addresses that a Docker IPAM plugin has given: STATE_DIR/leased/ENDPOINT_ID.json, a record an endpoint.

The plugin keeps its leases over a reboot, which voids the endpoints' own records; so these are on disk, and what nobody
gave back before a reboot is given back by the next request to the network.
"""

from __future__ import annotations

from ipaddress import ip_interface
from typing import NamedTuple

from cni_cnm.errors import TryAgain
from cni_cnm.state import epoch
from cni_cnm.state.files import ENDPOINTS, LEASED, REAPED, FileStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.model import EndpointKey, IPInterface, Json
    from cni_cnm.settings import Settings

_REAPED_MAX = 16
"""Of an earlier epoch, in one request: the rest is left to the next."""


class Leased(NamedTuple):
    endpoint: str
    network: str
    plugin: str
    epoch: str
    held: tuple[tuple[str, IPInterface], ...] = ()
    """Pool id and address."""

    def to_json(self) -> Json:
        return {**self._asdict(), "held": [[pool_id, str(address)] for pool_id, address in self.held]}

    @classmethod
    def from_json(cls, raw: Json) -> Leased:
        held = tuple((pool_id, ip_interface(address)) for pool_id, address in raw["held"])
        return cls(raw["endpoint"], raw["network"], raw["plugin"], raw["epoch"], held)


class RemoteLeases:
    """The leases of one network."""

    def __init__(self, network: str, settings: Settings) -> None:
        self._network = network
        self._store = FileStore(settings.run_dir, settings.state_dir)

    def of(self, key: EndpointKey) -> Leased | None:
        raw = self._store.get(LEASED, key.id)
        return Leased.from_json(raw) if raw else None

    def begin(self, key: EndpointKey, plugin: str) -> Leased:
        return Leased(key.id, self._network, plugin, epoch.current())

    def put(self, leased: Leased) -> None:
        self._store.put(LEASED, leased.endpoint, leased.to_json())

    def forget(self, leased: Leased) -> None:
        self._store.delete(LEASED, leased.endpoint)

    def all(self) -> Iterator[Leased]:
        """Of the network."""
        for name in self._store.names(LEASED):
            raw = self._store.get(LEASED, name)
            if raw and raw["network"] == self._network:
                yield Leased.from_json(raw)

    def stale(self) -> Iterator[Leased]:
        """Of an earlier epoch, without an endpoint of this one; locked while the caller has it. Looked for once."""
        now = epoch.current()
        if self._store.get(REAPED, self._network) == now:
            return
        found = [one for one in self.all() if one.epoch != now]
        if not found:
            self._store.put(REAPED, self._network, now)
        for leased in found[:_REAPED_MAX]:
            try:
                with self._store.lock(f"endpoint/{leased.endpoint}", timeout_s=0.0):
                    if not self._store.get(ENDPOINTS, leased.endpoint) and self._store.get(LEASED, leased.endpoint):
                        yield leased
            except TryAgain:
                continue  # its own request is under way
