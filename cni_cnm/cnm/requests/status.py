"""status: could an attach be served now? Takes no lock and changes nothing, but joins an overlay network."""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.network import configured_network, delete_network, network_description, subnet_conflicts
from cni_cnm.cnm.network.create_network import network_subnets
from cni_cnm.cnm.packet_filter import foreign_accepts
from cni_cnm.cnm.records import load_network
from cni_cnm.cnm.requests import readiness
from cni_cnm.drivers import drivers
from cni_cnm.errors import Conflict, InvalidConfig, NoSuchDriver, NotReady

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import NetworkSpec, Subnet


def status(host: Host, network: NetworkSpec, *, exhausted_is_error: bool) -> Sequence[str]:
    """Warnings, or NotReady if no attach can work; with `exhausted_is_error` also if only the addresses are used up."""
    readiness.require_room([host.settings.run_dir])
    record = load_network(host.store, network.name)
    from_pools = configured_network.addressing_of(network).from_pools
    if record and from_pools and drivers.get(record.driver).uses_existing_interface:
        return ()  # behind an interface plugin, which has the addresses: STATUS has no prevResult that says so
    configured = configured_network.read(network)
    if record is None:
        configured.driver.refuse_new(configured.options)
    readiness.require_room([host.settings.state_dir] if record is None else [])
    readiness.require_room([host.settings.leases_dir] if network.ipam.type == "host-local" else [])
    readiness.require_nftables(host, configured.driver.policy(configured.options))
    warnings: Sequence[str] = ()
    if configured.addressing.from_blocks:
        from cni_cnm.cnm.requests import cluster_readiness

        if record is None or record.pending:
            record = cluster_readiness.join(host, configured)
        asked = _next(host, configured, record)
        warnings = cluster_readiness.require_data_path(host, record)
    else:
        asked = _next(host, configured, record)
    full = [configured.driver.status(configured.options, _subnets(host, configured, asked), host.stack)]
    # Without a record the first attach chooses a subnet. Whether the pools have one left is known only then.
    if record or not from_pools:
        spec = configured.addressing.with_recorded_subnets(record) if record else network.ipam
        try:
            found = ipam.configure(network.name, spec, None, host).status()
        except NoSuchDriver as error:
            raise NotReady(error.msg, hint=error.hint) from error
        if found.free == 0:
            full.append(f"the network {network.name} has no free address{f': {found.detail}' if found.detail else ''}")
    full = [warning for warning in full if warning]
    if full and exhausted_is_error:
        raise NotReady("; ".join(full), hint="remove containers, or widen the range")
    obstacles = foreign_accepts.obstacles(host, record.id, record.policy) if record else ()
    if record is not None and record.names is not None:
        from cni_cnm.cnm.network import name_service

        warnings = [*warnings, *name_service.obstacles(host, record)]
    return [
        *warnings,
        *readiness.unfinished_adoption(host, network.name),
        *full,
        *_subnet_conflicts(host, configured, record, asked),
        *(obstacle.sentence for obstacle in obstacles),
    ]


def _next(host: Host, network: ConfiguredNetwork, record: NetworkRecord | None) -> NetworkRecord | None:
    """The network's record after the next attach; None where that is known only then.

    NotReady if the configuration was edited in a way that the network's endpoints do not allow.
    """
    if record is None:
        recorded = network.addressing.recorded
        return None if recorded else network_description.describe(network, network.spec.ipam.config)
    try:
        if network_description.is_current(record, network):
            return record
        asked = network_description.describe_again(network, record)
        in_use = any(True for _ in delete_network.endpoints_of(host, record))
        network_description.update(record, asked, in_use=in_use)
    except (Conflict, InvalidConfig) as error:
        raise NotReady(error.msg, hint=error.hint) from error
    return asked


def _subnets(host: Host, network: ConfiguredNetwork, asked: NetworkRecord | None) -> Sequence[Subnet]:
    """Of the network as the next attach makes it; none where that is known only then, or to a plugin."""
    if network.role.interface == "moved" or asked is None:
        return ()
    try:
        return network_subnets(host, asked)
    except NoSuchDriver as error:
        raise NotReady(error.msg, hint=error.hint) from error


def _subnet_conflicts(
    host: Host, network: ConfiguredNetwork, record: NetworkRecord | None, asked: NetworkRecord | None
) -> Sequence[str]:
    """NotReady if the next attach cannot make or change the network because of its subnets. Else what they overlap.

    A network that exists goes on, whatever has come up beside it since.
    """
    if asked is None:
        return ()
    if record is not None and network_description.subnets_of(asked) == network_description.subnets_of(record):
        return () if network.spec.allow_overlap else subnet_conflicts.warnings(host, record)
    try:
        return subnet_conflicts.refuse(host, asked, network_subnets(host, asked), network.spec)
    except (Conflict, InvalidConfig) as error:
        raise NotReady(error.msg, hint=error.hint) from error
