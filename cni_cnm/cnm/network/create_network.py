"""Making a network: its subnets, its data path by the driver, its record. All of it or nothing.

    create_network ── subnets named ───────────────────────────┐
        ├── subnets from the default pools ── choose_subnet ────┤
        └── subnets from an IPAM plugin ── ipam.allocate ───────┴──► driver.create_network ──► record

The caller holds the lock `network/NAME`.
"""

from __future__ import annotations

from contextlib import nullcontext
from ipaddress import ip_network
from typing import NamedTuple

from cni_cnm import ipam
from cni_cnm.cnm.network import network_description, shared_parent, subnet_conflicts
from cni_cnm.cnm.records import network_records, pool_records
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import drivers
from cni_cnm.state.store import NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.drivers import Options
    from cni_cnm.model import IPNetwork, Json, NetworkSpec, Subnet

NO_POOLS: frozenset[str] = frozenset()


class Created(NamedTuple):
    record: NetworkRecord
    warnings: tuple[str, ...] = ()
    """What overlaps its subnets although it was made, a sentence each."""


def create_network(
    host: Host, spec: NetworkSpec, options: Options, *, requested_pools: Collection[str] | None = None
) -> Created:
    """Make the data path and write the record.

    Args:
        options: as the driver parsed them.
        requested_pools: ids of Docker's pools that the network is made from. The caller holds the lock `pools`.

    Raises:
        InvalidConfig: a subnet or gateway is a special address.
        Conflict: a subnet has another owner (subnet_conflicts.py).
    """
    if requested_pools is not None:
        return _create(host, spec, options, dict(spec.ipam.config), requested_pools=requested_pools)
    if not network_description.subnets_are_recorded(spec):
        # Until the record is written: two networks made at once do not get one subnet. A plugin may take its time.
        of_plugin = drivers.get(spec.driver).role(options).interface == "moved"
        with nullcontext() if of_plugin else host.store.lock("pools"):
            return _create(host, spec, options, dict(spec.ipam.config))
    if network_description.needs_subnet(spec):
        with host.store.lock("pools"):  # until the record is written: two networks made at once choose differently
            return _create(host, spec, options, {**spec.ipam.config, **_choose_ranges(host, spec)})
    drivers.get(spec.driver).validate(options, host.stack)
    # Named subnets need no choice, and a plugin may take its time.
    named = spec.ipam.config.get("subnet") or spec.ipam.config.get("ranges")
    with nullcontext() if named else host.store.lock("pools"), Rollback() as undo:
        skipped = drivers.get(spec.driver).skips_gateways(options)
        versions = network_description.families_to_choose(spec)
        used = [*_recorded_subnets(host), *(route for route in _routed_subnets(host) if route.prefixlen)]
        config = {**spec.ipam.config, **ipam.allocate(spec.ipam, versions, skipped, used)}
        allocated = spec.ipam._replace(config=config)
        undo.push_record_removal(lambda: ipam.free(spec.name, allocated, host))
        return _create(host, spec, options, config, skipped)


def choose_subnet(host: Host, family: int) -> IPNetwork:
    """A subnet of IP version `family` from the default pools that nothing uses yet.

    The caller holds the lock `pools` until it has recorded the subnet.
    """
    return ipam.choose_subnet(family, host.settings, _recorded_subnets(host), _routed_subnets(host))


def network_subnets(host: Host, record: NetworkRecord) -> Sequence[Subnet]:
    """The subnets of a network as its driver is told them."""
    pool = ipam.configure(record.name, network_description.spec_of(record).ipam, None, host)
    skipped = drivers.get(record.driver).skips_gateways(record.options)
    return [one._replace(gateway=None) if one.pool.version in skipped else one for one in ipam.subnets(pool)]


def _create(
    host: Host,
    spec: NetworkSpec,
    options: Options,
    config: Mapping[str, Json],
    skipped: frozenset[int] | None = None,
    requested_pools: Collection[str] = NO_POOLS,
) -> Created:
    """`skipped`: IP versions for which the driver wants no gateway; None: it is asked here."""
    driver = drivers.get(spec.driver)
    pool = ipam.configure(spec.name, spec.ipam._replace(config=config), None, host)
    driver.validate(options, host.stack)
    skipped = driver.skips_gateways(options) if skipped is None else skipped
    subnets = [one._replace(gateway=None) if one.pool.version in skipped else one for one in ipam.subnets(pool)]
    record = network_description.describe(spec, options, config)
    with shared_parent.lock(host, record), Rollback() as undo:
        shared_parent.refuse_clash(host, record)
        warnings = subnet_conflicts.refuse(host, record, subnets, spec, requested_pools)
        if (
            driver.role(options).interface == "moved"
        ):  # recorded first: what a plugin did of it before a kill can be deleted
            undo.push_record_removal(lambda: host.store.delete(NETWORKS, spec.name))
            host.store.put(NETWORKS, spec.name, record._replace(pending=True).to_json())
        made = driver.create_network(options, subnets, host.stack)
        record = record._replace(owns_data_path=made)
        if made:
            undo.push(lambda: shared_parent.delete_data_path(host, record))
        host.store.put(NETWORKS, spec.name, record.to_json())
    return Created(record, warnings)


def _choose_ranges(host: Host, spec: NetworkSpec) -> dict[str, Json]:
    """One subnet for each IP version, as the `ranges` key of an ipam object."""
    versions = network_description.families_to_choose(spec)
    return {"ranges": [[{"subnet": str(choose_subnet(host, version))}] for version in versions]}


def _recorded_subnets(host: Host) -> list[IPNetwork]:
    """Subnets of networks, and those that Docker has requested."""
    used = [subnet for record in network_records(host.store) for subnet in network_description.subnets_of(record)]
    return [*used, *(ip_network(pool.subnet) for pool in pool_records(host.store))]


def _routed_subnets(host: Host) -> list[IPNetwork]:
    """Where the host has routes to."""
    return [route.dst for route in host.stack.routes()]
