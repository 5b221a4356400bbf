"""attach: get or create the network, create the endpoint, join the sandbox. All of it or nothing.

    parse and validate ──► lock endpoint ──► ensure network ──► pending record ──► reserve ──► connect ──► Attachment

Everything is validated before anything is touched. A failure is undone. After a kill, the pending record names what is
left.
"""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.endpoint import connect_endpoint, endpoint_record, locked_endpoint, results
from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
from cni_cnm.cnm.network import configured_network, network_description
from cni_cnm.cnm.records import READY, load_endpoint, load_network
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.cnm.sandbox import namespace_identity
from cni_cnm.cnm.sandbox.sandbox_endpoints import gateways_of, members_of, sandbox_of
from cni_cnm.drivers import CHAINED, Place
from cni_cnm.errors import AddressesExhausted, Conflict, InvalidConfig, raise_gathered
from cni_cnm.model import EndpointKey, stable_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.cnm.network.ensure_network import Ensured
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.ipam.contract import Ipam
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import Attachment, EndpointSpec, IpamSpec, NetworkSpec


def attach(host: Host, network: NetworkSpec, spec: EndpointSpec) -> Attachment:
    """An attachment of the container to the network. Conflict if it has one by this interface name already.

    The same `request_id` again returns the recorded result.
    """
    return _attach_growing(host, configured_network.read(network), spec)


def attach_to(host: Host, record: NetworkRecord, spec: EndpointSpec) -> Attachment:
    """The same for a network that is on record, made by any frontend."""
    return _attach_growing(host, configured_network.recorded(record), spec)


def _attach_growing(host: Host, configured: ConfiguredNetwork, spec: EndpointSpec) -> Attachment:
    endpoint_record.refuse_unsupported(configured.spec, configured.role, spec)
    while True:
        try:
            return _attach(host, configured, spec)
        except AddressesExhausted as full:
            if not configured.addressing.from_blocks:
                raise
            from cni_cnm.cnm.network import grow_overlay

            grow_overlay.grow(host, configured.name, full)


def _attach(host: Host, configured: ConfiguredNetwork, spec: EndpointSpec) -> Attachment:
    network, driver, addressing = configured.spec, configured.driver, configured.addressing
    key = EndpointKey(network.name, spec.container_id, spec.ifname)
    pool = None
    if not addressing.recorded or (spec.ranges and addressing.from_pools):
        pool = _pool(host, network, network.ipam, spec)
    with host.namespaces.open(spec.netns) as stack, locked_endpoint.lock(host, key.id):
        repeated = _earlier_attach(host, key, spec, stack)
        if repeated is not None:
            return repeated
        if spec.previous is None and stack.index_of(spec.ifname) and (present := stack.link(spec.ifname)) is not None:
            raise _interface_present(host, key, present)
        if spec.host_ifname and host.stack.link(spec.host_ifname) is not None:
            raise Conflict(
                f"the host has an interface {spec.host_ifname}, which the container's link was to be named",
                hint="request another name for the link on the host",
            )
        existing = None
        if driver.uses_existing_interface or driver.takes_host_link:
            existing = driver.existing_interface(
                configured.options, spec, host.stack, Place(stack, spec.ifname, spec.netns)
            )
            configured = configured._replace(options=existing.network)
        with Rollback() as undo:
            endpoint, pool, ensured = _write_pending(host, configured, key, spec, stack, pool, undo)
            if existing is not None:
                endpoint.write(options=existing.endpoint, host_ifname=existing.host_ifname, mac=existing.mac)
            later = pool.needs_interface and configured.role.interface in ("made", "device")

            def reserve() -> None:
                connect_endpoint.reserve(endpoint, pool, spec, network.dns, undo, network.names)

            if not later:
                reserve()
            attachment = connect_endpoint.connect(endpoint, stack, undo, _restore_gateways, reserve if later else None)
            if network.names is not None:
                attachment = attachment._replace(warnings=(*attachment.warnings, *_names_warnings(network, spec)))
            if ensured is None:
                return attachment
            warnings = (*ensured.warnings, *attachment.warnings)
            return attachment._replace(warnings=warnings, network_made=ensured.made)


def _names_warnings(network: NetworkSpec, spec: EndpointSpec) -> Sequence[str]:
    from cni_cnm.cnm.endpoint import endpoint_names

    return endpoint_names.warnings(network.names, network.name, spec) if network.names else ()


def _earlier_attach(host: Host, key: EndpointKey, spec: EndpointSpec, stack: Stack) -> Attachment | None:
    """The result of the same request executed before. Conflict for a live endpoint; anything else is taken down."""
    record = load_endpoint(host.store, key.id)
    if record is None:
        return None
    if record.state == READY and record.epoch == host.epoch:
        here = namespace_identity.joined(host, record, stack)
        alive = _has_interface(record, stack) if here else _lives_elsewhere(host, record)
        if alive and here and record.request_id and record.request_id == spec.request_id:
            gateways = gateways_of(host, record.container_id)
            return results.attachment(record, results.elected_versions(record, gateways))
        if alive and here and spec.listed and record.driver != CHAINED:
            raise InvalidConfig(
                f"two entries of the list {key.network} are cni-cnm, and the first one has made {spec.ifname}",
                hint="keep one entry; the others' keys go into its blocks portmap, firewall, bandwidth and tuning",
            )
        if alive:
            where = "" if here else f", in the namespace {record.netns}"
            raise Conflict(
                f"the container {spec.container_id} has {spec.ifname} on the network {key.network} already{where}",
                hint="DEL it before the next ADD",
            )
    from cni_cnm.cnm.endpoint.take_down_endpoint import take_down

    raise_gathered(take_down(LockedEndpoint(host, record), spec.environ).errors)
    return None


def _interface_present(host: Host, key: EndpointKey, link: Link) -> Conflict:
    """The error for an interface of the requested name that no record of this endpoint explains: whose it is."""
    sandbox = sandbox_of(host, key.container_id)
    for other in members_of(host, sandbox, without=key.id) if sandbox else ():
        if other.ifname == key.ifname:
            return Conflict(
                f"the container has an interface {key.ifname}, on the network {other.network}",
                hint="use another CNI_IFNAME, or DEL it from that network first",
            )
    if link.mac == stable_mac(key.id):
        return Conflict(
            f"the container has the interface {key.ifname} of the network {key.network}, and its record is missing",
            hint="DEL removes the interface, then ADD works",
        )
    return Conflict(
        f"the container has an interface {key.ifname} that is not of the network {key.network}",
        hint="another plugin made it; use another CNI_IFNAME, or DEL with that plugin",
    )


def _restore_gateways(host: Host, name: str) -> bool:
    from cni_cnm.cnm.network.network_gateways import restore

    return restore(host, name)


def _has_interface(record: EndpointRecord, stack: Stack) -> bool:
    return bool(stack.index_of(record.device.container.name if record.device else record.ifname))


def _lives_elsewhere(host: Host, record: EndpointRecord) -> bool:
    """Whether the namespace that it joined is still there, and has its interface."""
    stack = namespace_identity.open_joined(host, record)
    if stack is None:
        return False
    with stack:
        return _has_interface(record, stack)


def _write_pending(
    host: Host,
    network: ConfiguredNetwork,
    key: EndpointKey,
    spec: EndpointSpec,
    stack: Stack,
    pool: Ipam | None,
    undo: Rollback,
) -> tuple[LockedEndpoint, Ipam, Ensured | None]:
    """The endpoint's pending record, written while the network exists: from then on the network cannot be deleted.

    Returns the endpoint, its IPAM, and what became of the network if this call made or changed it.
    """
    ensured: Ensured | None = None
    while True:
        with host.store.lock(f"network/{network.name}", shared=True):
            found = load_network(host.store, network.name)
            if found is not None and network_description.is_current(found, network):
                if pool is None:
                    pool = _pool(host, network.spec, network.addressing.with_recorded_subnets(found), spec)
                sandbox = sandbox_of(host, spec.container_id)
                # A container keeps its default gateway: a later interface has a lower priority than earlier ones.
                earlier = len(members_of(host, sandbox)) if sandbox else 0
                record = endpoint_record.new_record(
                    host.epoch, found, key, spec, priority=-earlier, portmap=network.spec.portmap
                )
                endpoint = LockedEndpoint(host, record)
                undo.push_record_removal(endpoint.delete_record)
                endpoint.write(
                    container_id=spec.container_id,
                    ifname=spec.ifname,
                    netns=spec.netns,
                    netns_inode=stack.inode(),
                    netns_cookie=stack.cookie(),
                    ipam=pool.record(),
                )
                return endpoint, pool, ensured
        ensured = _ensure_network(host, network, undo, ensured)


def _ensure_network(host: Host, network: ConfiguredNetwork, undo: Rollback, before: Ensured | None) -> Ensured:
    """Imported here: only the first pod of a network, and one after an edit of its configuration, needs it.

    `before`: what this call has done of it already, if another request has undone that.
    """
    from cni_cnm.cnm.network.ensure_network import Ensured, ensure_network

    now = ensure_network(host, network, undo)
    return Ensured(now.warnings or before.warnings, before.made or now.made) if before else now


def _pool(host: Host, network: NetworkSpec, spec: IpamSpec, endpoint: EndpointSpec) -> Ipam:
    pool = ipam.configure(network.name, spec, endpoint, host)
    pool.validate(endpoint)
    return pool
