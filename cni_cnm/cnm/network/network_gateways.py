"""The gateways of a network: all that its link on the host has to have."""

from __future__ import annotations

from cni_cnm.cnm.network.create_network import network_subnets
from cni_cnm.cnm.network.delete_network import endpoints_of
from cni_cnm.cnm.records import READY, load_network
from cni_cnm.drivers import NetworkPlan, drivers
from cni_cnm.model import ip_interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.model import IPInterface


def gateways_of(host: Host, record: NetworkRecord, endpoints: Iterable[EndpointRecord]) -> tuple[IPInterface, ...]:
    """Those of its subnets and of its endpoints, each address once."""
    gateways = {subnet.gateway.ip: subnet.gateway for subnet in network_subnets(host, record) if subnet.gateway}
    for address in (address for endpoint in endpoints for address in endpoint.addresses):
        if address.gateway is not None and address.gateway not in gateways:
            # A gateway of a subnet has that one's prefix: endpoints from before it was widened have a narrower one.
            gateways[address.gateway] = ip_interface(f"{address.gateway}/{address.interface.network.prefixlen}")
    return tuple(gateways.values())


def restore(host: Host, name: str) -> bool:
    """Put what is missing of them on the link of a network that an endpoint joins; False if nothing is missing.

    A reboot or another program has deleted the link: the ADD that makes it again knows only its own gateways.

    Raises:
        Conflict: the link has an address of another program in the way.
    """
    with host.store.lock(f"network/{name}"):
        record = load_network(host.store, name)
        if record is None:
            return False
        ready = (one for one in endpoints_of(host, record) if one.state == READY and one.epoch == host.epoch)
        plan = NetworkPlan(gateways_of(host, record, ready))
        driver = drivers.get(record.driver)
        if not driver.compare_network(record.options, plan, host.stack):
            return False
        driver.repair_network(record.options, plan, host.stack)
    return True
