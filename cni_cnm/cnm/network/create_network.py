"""Making a network: its subnets, its data path by the driver, its record. All of it or nothing.

    create_network ── subnets named ───────────────────────────┐
        ├── subnets from the default pools ── choose_subnet ────┤
        └── subnets from an IPAM plugin ── ipam.allocate ───────┴──► driver.create_network ──► record

The caller holds the lock `network/NAME`.
"""

from __future__ import annotations

from contextlib import nullcontext
from ipaddress import ip_network

from cni_cnm import ipam
from cni_cnm.cnm.network import network_description, shared_parent
from cni_cnm.cnm.records import network_records, pool_records
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import drivers
from cni_cnm.state.store import NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.drivers import Options
    from cni_cnm.model import IPNetwork, Json, NetworkSpec


def create_network(host: Host, spec: NetworkSpec, options: Options) -> NetworkRecord:
    """Make the data path and write the record. `options` are as the driver parsed them."""
    if not network_description.subnets_are_recorded(spec):
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
        config = {**spec.ipam.config, **ipam.allocate(spec.ipam, versions, skipped, _used_subnets(host))}
        allocated = spec.ipam._replace(config=config)
        undo.push_record_removal(lambda: ipam.free(spec.name, allocated, host))
        return _create(host, spec, options, config, skipped)


def choose_subnet(host: Host, family: int) -> IPNetwork:
    """A subnet of IP version `family` from the default pools that nothing uses yet.

    The caller holds the lock `pools` until it has recorded the subnet.
    """
    return ipam.choose_subnet(family, host.settings, _used_subnets(host))


def _create(
    host: Host,
    spec: NetworkSpec,
    options: Options,
    config: Mapping[str, Json],
    skipped: frozenset[int] | None = None,
) -> NetworkRecord:
    """`skipped`: IP versions for which the driver wants no gateway; None: it is asked here."""
    driver = drivers.get(spec.driver)
    pool = ipam.configure(spec.name, spec.ipam._replace(config=config), None, host)
    driver.validate(options, host.stack)
    skipped = driver.skips_gateways(options) if skipped is None else skipped
    subnets = [one._replace(gateway=None) if one.pool.version in skipped else one for one in ipam.subnets(pool)]
    record = network_description.describe(spec, options, config)
    with shared_parent.lock(host, record), Rollback() as undo:
        shared_parent.refuse_clash(host, record)
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
    return record


def _choose_ranges(host: Host, spec: NetworkSpec) -> dict[str, Json]:
    """One subnet for each IP version, as the `ranges` key of an ipam object."""
    versions = network_description.families_to_choose(spec)
    return {"ranges": [[{"subnet": str(choose_subnet(host, version))}] for version in versions]}


def _used_subnets(host: Host) -> list[IPNetwork]:
    """Subnets of networks, those that Docker has requested, and those the host has routes to."""
    used = [subnet for record in network_records(host.store) for subnet in network_description.subnets_of(record)]
    used += [ip_network(pool.subnet) for pool in pool_records(host.store)]
    return [*used, *(route.dst for route in host.stack.routes() if route.dst.prefixlen)]
