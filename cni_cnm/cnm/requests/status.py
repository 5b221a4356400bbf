"""status: could an attach be served now? Takes no lock and changes nothing."""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.network import network_description
from cni_cnm.cnm.packet_filter import foreign_accepts
from cni_cnm.cnm.records import load_network
from cni_cnm.drivers import drivers
from cni_cnm.errors import NoSuchDriver, NotReady

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import NetworkSpec


def status(host: Host, network: NetworkSpec, *, exhausted_is_error: bool) -> Sequence[str]:
    """Warnings, or NotReady if no attach can work; with `exhausted_is_error` also if only the addresses are used up."""
    record = load_network(host.store, network.name)
    if record and network_description.needs_subnet(network) and drivers.get(record.driver).uses_existing_interface:
        return ()  # behind an interface plugin, which has the addresses: STATUS has no prevResult that says so
    driver = drivers.get(network.driver)
    warnings = [driver.status(driver.options(network), host.stack)]
    # Without a record the first attach chooses a subnet. Whether the pools have one left is known only then.
    if record or not network_description.needs_subnet(network):
        spec = network_description.with_recorded_subnets(network, record) if record else network.ipam
        try:
            found = ipam.configure(network.name, spec, None, host).status()
        except NoSuchDriver as error:
            raise NotReady(error.msg, hint=error.hint) from error
        if found.free == 0:
            warnings.append(
                f"the network {network.name} has no free address{f': {found.detail}' if found.detail else ''}"
            )
    warnings = [warning for warning in warnings if warning]
    if warnings and exhausted_is_error:
        raise NotReady("; ".join(warnings), hint="remove containers, or widen the range")
    if record:
        policy = record.policy
        warnings += [obstacle.sentence for obstacle in foreign_accepts.obstacles(host, record.id, policy)]
    return warnings
