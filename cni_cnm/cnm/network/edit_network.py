"""Changing a network as its configuration says now: its data path and its record, both or neither.

    with endpoints       its subnets may change, if they still hold every endpoint's address: the bridge gets the new
                         gateways, and loses the old ones that no endpoint uses
    without endpoints    anything may change: the data path is removed and made again

The caller holds the lock `network/NAME`, and has asked `network_description.update` what may change.
"""

from __future__ import annotations

from cni_cnm.cnm.network import shared_parent, subnet_conflicts
from cni_cnm.cnm.network.create_network import make_data_path, network_subnets
from cni_cnm.cnm.packet_filter import firewall_state, network_elements
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import drivers
from cni_cnm.errors import InvalidConfig
from cni_cnm.state.store import NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.model import NetworkSpec, Subnet


def edit_network(
    host: Host, old: NetworkRecord, new: NetworkRecord, spec: NetworkSpec, endpoints: Sequence[EndpointRecord]
) -> tuple[str, ...]:
    """From `old` to `new`. `endpoints` are the network's. After an error all is as before.

    Returns what overlaps the new subnets although it is allowed, a sentence each.

    Raises:
        InvalidConfig: an endpoint has an address outside the new subnets, or a subnet has special addresses.
        Conflict: a new subnet has another owner (subnet_conflicts.py).
    """
    before, after = network_subnets(host, old), network_subnets(host, new)
    _refuse_narrowing(old, before, after, endpoints)
    if new.names is not None:
        from cni_cnm.cnm.network import name_service

        name_service.refuse(host, new, after)
    if new.policy.masquerade_except:
        from cni_cnm.cnm.network import masquerade_clash

        masquerade_clash.refuse(host, new)
    warnings: tuple[str, ...] = ()
    if {subnet.pool for subnet in before} != {subnet.pool for subnet in after}:
        with host.store.lock("pools"):
            warnings = subnet_conflicts.refuse(host, new, after, spec, replaced=old)
            _apply(host, old, new, before, after, endpoints)
    else:
        _apply(host, old, new, before, after, endpoints)
    return warnings


def _refuse_narrowing(
    old: NetworkRecord, before: Sequence[Subnet], after: Sequence[Subnet], endpoints: Sequence[EndpointRecord]
) -> None:
    for endpoint in endpoints:
        for address in endpoint.addresses:
            ip = address.interface.ip
            if any(ip in subnet.pool for subnet in before) and not any(ip in subnet.pool for subnet in after):
                shown = ", ".join(str(subnet.pool) for subnet in after) or "none"
                raise InvalidConfig(
                    f"the configuration of the network {old.name} now says the subnets {shown}, and {endpoint.shown} "
                    f"has the address {ip}",
                    hint="keep a subnet that holds it, or remove that container first",
                )


def _apply(
    host: Host,
    old: NetworkRecord,
    new: NetworkRecord,
    before: Sequence[Subnet],
    after: Sequence[Subnet],
    endpoints: Sequence[EndpointRecord],
) -> None:
    driver = drivers.get(new.driver)
    with Rollback() as undo:
        undo.push(lambda: host.store.put(NETWORKS, old.name, old.to_json()))
        if endpoints:
            in_use = {address.gateway for endpoint in endpoints for address in endpoint.addresses if address.gateway}
            undo.push(lambda: driver.change_subnets(old.options, after, before, host.stack, in_use))
            driver.change_subnets(new.options, before, after, host.stack, in_use)
        else:
            new = _make_again(host, old, new, before, after, undo)
            network_elements.remove_isolation(host, old)
        host.store.put(NETWORKS, new.name, new.to_json())
        with firewall_state.lock(host):
            network_elements.change_exceptions(host, old, new)
            network_elements.change_overlay(host, old, new)
            network_elements.change_names(host, old, new)
        if old.names is not None and new.names is None:
            from cni_cnm.cnm.network import name_service

            name_service.end(host, old)


def _make_again(
    host: Host,
    old: NetworkRecord,
    new: NetworkRecord,
    before: Sequence[Subnet],
    after: Sequence[Subnet],
    undo: Rollback,
) -> NetworkRecord:
    """The old data path is removed, as far as it is the network's own, and the new one made."""
    was, now = drivers.get(old.driver), drivers.get(new.driver)
    with shared_parent.lock(host, new):
        shared_parent.refuse_conflict(host, new)
    now.validate(new.options, host.stack)
    undo.push(lambda: was.create_network(old.options, before, host.stack))
    with shared_parent.lock(host, old):
        was.change_subnets(old.options, before, (), host.stack)
        if old.owns_data_path:
            shared_parent.delete_data_path(host, old)
    with shared_parent.lock(host, new):
        return make_data_path(host, new, after, undo)
