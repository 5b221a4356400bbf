"""Making a network: its subnets, its data path by the driver, its record. All of it or nothing.

    create_network ── subnets named ───────────────────────────┐
        ├── subnets from the default pools ── choose_subnet ────┤
        ├── blocks of an overlay network ──── join_overlay ─────┤
        └── subnets from an IPAM plugin ── ipam.allocate ───────┴──► driver.create_network ──► record

The caller holds the lock `network/NAME`.
"""

from __future__ import annotations

from contextlib import nullcontext
from ipaddress import ip_network

from cni_cnm import ipam
from cni_cnm.cnm.network import network_description, shared_parent, subnet_conflicts
from cni_cnm.cnm.packet_filter import enforce, network_elements
from cni_cnm.cnm.records import network_records, pool_records
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import drivers
from cni_cnm.errors import NoSuchDriver
from cni_cnm.model import Subnet
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state.store import NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.cnm.network.join_overlay import Agreed
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPNetwork, Json

NO_POOLS: frozenset[str] = frozenset()


class Created(NamedTuple):
    record: NetworkRecord
    warnings: tuple[str, ...] = ()
    """What overlaps its subnets although it was made, a sentence each."""


def create_network(
    host: Host,
    network: ConfiguredNetwork,
    *,
    requested_pools: Collection[str] | None = None,
    store_timeout_s: float | None = None,
    agreed: Agreed | None = None,
) -> Created:
    """Make the data path and write the record.

    Args:
        requested_pools: ids of Docker's pools that the network is made from. The caller holds the lock `pools`.

        store_timeout_s: how long the store of the hosts of an overlay network may take. None: the usual time.

        agreed: what all hosts of it have, so that the store is not asked.

    Raises:
        InvalidConfig: a subnet or gateway is a special address.
        Conflict: a subnet has another owner (subnet_conflicts.py).
    """
    driver, addressing = network.driver, network.addressing
    driver.refuse_new(network.options)
    config = addressing.ipam.config
    if requested_pools is not None:
        return _create(host, network, dict(config), requested_pools=requested_pools)
    if not addressing.recorded:
        # Until the record is written: two networks made at once do not get one subnet. A plugin may take its time.
        of_plugin = network.role.interface == "moved"
        with nullcontext() if of_plugin else host.store.lock("pools"):
            return _create(host, network, dict(config))
    if addressing.from_blocks:
        from cni_cnm.cnm.network import join_overlay

        with Rollback() as undo:
            network, config = join_overlay.join(host, network, undo, store_timeout_s, agreed)
            with host.store.lock("pools"):
                return _create(host, network, config)
    if addressing.from_pools:
        with host.store.lock("pools"):  # until the record is written: two networks made at once choose differently
            return _create(host, network, {**config, **_choose_ranges(host, addressing.versions)})
    driver.validate(network.options, host.stack)
    # Named subnets need no choice, and a plugin may take its time.
    named = config.get("subnet") or config.get("ranges")
    with nullcontext() if named else host.store.lock("pools"), Rollback() as undo:
        skipped = driver.skips_gateways(network.options)
        used = [*_recorded_subnets(host), *(route for route in _routed_subnets(host) if route.prefixlen)]
        given = ipam.allocate(addressing.ipam, addressing.versions, skipped, used)
        allocated = addressing.ipam._replace(config={**config, **given})
        undo.push_record_removal(lambda: ipam.free(network.name, allocated, host))
        return _create(host, network, allocated.config, skipped)


def choose_subnet(host: Host, family: int, prefixlen: int = 0, taken: Sequence[IPNetwork] = ()) -> IPNetwork:
    """A subnet of IP version `family` from the default pools that nothing uses yet. `prefixlen` 0: the pools' own.

    `taken`: subnets that are used as well. The caller holds the lock `pools` until it has recorded the subnet.
    """
    used = [*_recorded_subnets(host), *taken]
    return ipam.choose_subnet(family, host.settings, used, _routed_subnets(host), prefixlen)


def network_subnets(host: Host, record: NetworkRecord) -> Sequence[Subnet]:
    """The subnets of a network as its driver is told them.

    None of an executable of CNI_PATH: it alone knows them, and a record does not know where it is.
    """
    try:
        pool = ipam.configure(record.name, network_description.spec_of(record).ipam, None, host)
    except NoSuchDriver:
        return ()
    skipped = drivers.get(record.driver).skips_gateways(record.options)
    return [one._replace(gateway=None) if one.pool.version in skipped else one for one in ipam.subnets(pool)]


def _create(
    host: Host,
    network: ConfiguredNetwork,
    config: Mapping[str, Json],
    skipped: frozenset[int] | None = None,
    requested_pools: Collection[str] = NO_POOLS,
) -> Created:
    """`skipped`: IP versions for which the driver wants no gateway; None: it is asked here."""
    driver, options = network.driver, network.options
    pool = ipam.configure(network.name, network.spec.ipam._replace(config=config), None, host)
    driver.validate(options, host.stack)
    skipped = driver.skips_gateways(options) if skipped is None else skipped
    subnets = [one._replace(gateway=None) if one.pool.version in skipped else one for one in ipam.subnets(pool)]
    record = network_description.describe(network, config)
    if record.names is not None:
        from cni_cnm.cnm.network import name_service

        name_service.refuse(host, record, subnets)
    with shared_parent.lock(host, record), Rollback() as undo:
        shared_parent.refuse_conflict(host, record)
        whole = [Subnet(one, key="ipam") for one in driver.all_subnets(options)]
        warnings = subnet_conflicts.refuse(host, record, [*subnets, *whole], network.spec, requested_pools)
        if record.policy.masquerade_except:
            from cni_cnm.cnm.network import masquerade_clash

            masquerade_clash.refuse(host, record)
        undo.push_record_removal(lambda: host.store.delete(NETWORKS, network.name))
        record = make_data_path(host, record._replace(published_only=True), subnets, undo)
        host.store.put(NETWORKS, network.name, record.to_json())
        if record.policy.outside:
            from cni_cnm.cnm.packet_filter import overlay_elements

            enforce.ensure(host)
            overlay_elements.put(host, record)
        if record.names is not None:
            name_service.begin(host, record)
    return Created(record, warnings)


def make_data_path(host: Host, record: NetworkRecord, subnets: Sequence[Subnet], undo: Rollback) -> NetworkRecord:
    """Make the network's links. Returns the record, which says whether they are the network's own.

    They are recorded first, as pending: what a kill leaves of them is removed with the network, or by the next call
    that makes it. The caller replaces the record.
    """
    driver = drivers.get(record.driver)
    record = record._replace(owns_data_path=driver.owns_data_path(record.options, host.stack))
    if record.owns_data_path:
        host.store.put(NETWORKS, record.name, record._replace(pending=True).to_json())
    if record.owns_data_path and record.role.interface != "moved":
        undo.push(lambda: _remove_data_path(host, record))
    driver.create_network(record.options, subnets, host.stack)
    if record.role.interface == "moved":
        undo.push(lambda: shared_parent.delete_data_path(host, record))
    return record


def _remove_data_path(host: Host, record: NetworkRecord) -> None:
    """Unless another network has the same bridge, or another program has made one of its name meanwhile."""
    owned = drivers.get(record.driver).owns_data_path(record.options, host.stack)
    if owned and not network_elements.shares_side(host, record):
        shared_parent.delete_data_path(host, record)


def _choose_ranges(host: Host, versions: Sequence[int]) -> dict[str, Json]:
    """One subnet for each IP version, as the `ranges` key of an ipam object."""
    return {"ranges": [[{"subnet": str(choose_subnet(host, version))}] for version in versions]}


def _recorded_subnets(host: Host) -> list[IPNetwork]:
    """Subnets of networks, and those that Docker has requested."""
    used = [subnet for record in network_records(host.store) for subnet in network_description.claimed_subnets(record)]
    return [*used, *(ip_network(pool.subnet) for pool in pool_records(host.store))]


def _routed_subnets(host: Host) -> list[IPNetwork]:
    """Where the host has routes to."""
    return [route.dst for route in host.stack.routes()]
