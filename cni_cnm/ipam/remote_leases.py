"""Addresses that a Docker IPAM plugin has given to endpoints: STATE_DIR/leased/ENDPOINT_ID.json, one record each.

The plugin keeps its leases over a reboot, which voids the endpoints' records. So these records are kept over reboots,
and a later request to the network releases the addresses of earlier epochs.
"""

from __future__ import annotations

from ipaddress import ip_interface

from cni_cnm.errors import DamagedRecord, TryAgain
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state.record_reader import read, readable
from cni_cnm.state.store import ENDPOINTS, LEASED, REAPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.ipam.contract import IpamHost
    from cni_cnm.model import EndpointKey, IPInterface, Json

_STALE_MAX = 16
"""Leases of earlier epochs that one request releases; the next request releases more."""


class RemoteLease(NamedTuple):
    endpoint: str
    network: str
    plugin: str
    epoch: str
    held: tuple[tuple[str, IPInterface], ...] = ()
    """Pairs of pool id and address."""

    def to_json(self) -> Json:
        return {**self._asdict(), "held": [[pool_id, str(address)] for pool_id, address in self.held]}

    @classmethod
    def from_json(cls, raw: Json) -> RemoteLease:
        held = tuple((pool_id, ip_interface(address)) for pool_id, address in raw["held"])
        return cls(raw["endpoint"], raw["network"], raw["plugin"], raw["epoch"], held)


class RemoteLeases:
    """The leases of one network."""

    def __init__(self, network: str, host: IpamHost) -> None:
        self._network = network
        self._store = host.store
        self._epoch = host.epoch

    def of(self, key: EndpointKey) -> RemoteLease | None:
        return read(self._store, LEASED, key.id, RemoteLease.from_json)

    def new(self, key: EndpointKey, plugin: str) -> RemoteLease:
        """One without addresses, not recorded yet."""
        return RemoteLease(key.id, self._network, plugin, self._epoch)

    def put(self, lease: RemoteLease) -> None:
        self._store.put(LEASED, lease.endpoint, lease.to_json())

    def delete(self, lease: RemoteLease) -> None:
        self._store.delete(LEASED, lease.endpoint)

    def all(self) -> Iterator[RemoteLease]:
        for found in readable(self._store, LEASED, lambda name: read(self._store, LEASED, name, RemoteLease.from_json)):
            if found.network == self._network:
                yield found

    def stale(self) -> Iterator[RemoteLease]:
        """Leases of earlier epochs whose endpoint has no record. Each is locked until the next one is asked for.

        Once there are none, that is recorded, and later calls in this epoch do not look again.
        """
        if self._store.get(REAPED, self._network) == self._epoch:
            return
        found = [one for one in self.all() if one.epoch != self._epoch]
        if not found:
            self._store.put(REAPED, self._network, self._epoch)
        for lease in found[:_STALE_MAX]:
            try:
                with self._store.lock(f"endpoint/{lease.endpoint}", timeout_s=0.0):
                    if not self._store.get(ENDPOINTS, lease.endpoint) and self._store.get(LEASED, lease.endpoint):
                        yield lease
            except TryAgain:
                continue  # a request for this endpoint is running
            except DamagedRecord:
                continue  # whether it is of this epoch is not known
