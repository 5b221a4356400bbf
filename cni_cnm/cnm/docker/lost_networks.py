"""Networks that Docker has removed while the service was away, or while it could not be reached.

The kernel shows only that a network is empty, which one in use may be as well. So Docker must say that it has other
networks of this host and not this one, at two looks with `PATIENCE_S` between.
"""

from __future__ import annotations

from time import monotonic

from cni_cnm.cnm.docker import docker_networks
from cni_cnm.cnm.docker.lost_endpoints import PATIENCE_S
from cni_cnm.cnm.network.delete_network import endpoints_of
from cni_cnm.cnm.records import network_records
from cni_cnm.errors import CnmError
from cni_cnm.ipam.leases import DOCKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord


class LostNetworks:
    """Remembers since when a network seems to be lost, and removes it after a while."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def look(self, host: Host, listed: Callable[[], Collection[str] | None]) -> Iterator[str]:
        """Remove what is lost. Yields a sentence for each network removed, and for each that could not be.

        Args:
            host: this host.
            listed: Docker's ids of the networks that Docker has; None if that is not known.
        """
        empty = {one: record for record in network_records(host.store) for one in _empty(host, record)}
        there = listed() if empty else None
        lost = {one: record for one, record in empty.items() if there is not None and one not in there}
        self._since = {one: self._since.get(one, self._clock()) for one in lost}
        for docker_network in [one for one in lost if self._clock() - self._since[one] >= PATIENCE_S]:
            what = f"Docker's network {docker_network[:12]}, which Docker does not have any more"
            try:
                docker_networks.delete_network(host, docker_network)
            except CnmError as error:
                yield f"{what}, could not be removed: {error}"
            else:
                yield f"removed {what}"


def _empty(host: Host, record: NetworkRecord) -> list[str]:
    """Docker's networks on this one that have no endpoint; none if a link is attached to a bridge of Docker's own."""
    used = {endpoint.docker_network for endpoint in endpoints_of(host, record)} if record.docker_networks else set()
    unused = [one for one in record.docker_networks if one not in used]
    bridge = host.stack.link(record.policy.bridge) if unused and record.owner == DOCKER else None
    return [] if bridge is not None and host.stack.links(master=bridge.ifindex) else unused
