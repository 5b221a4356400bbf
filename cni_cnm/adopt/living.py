"""A living interface of the reference plugins as the record that this program would have of it.

    libcni's cache ── what was requested, what was given ──┐
    the network's entry of this program ───────────────────┼──► EndpointRecord, compared with the kernel as by a CHECK
    host and container ── links, MACs, namespace ──────────┘

Nothing is written here.
"""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.adopt import fused
from cni_cnm.cni import environ, request, result
from cni_cnm.cnm.endpoint import endpoint_record, interface_tuning, results
from cni_cnm.cnm.endpoint.endpoint_record import pool_of
from cni_cnm.cnm.interface import configure_interface, default_routes
from cni_cnm.cnm.network import configured_network
from cni_cnm.cnm.records import READY
from cni_cnm.conflists import conflist
from cni_cnm.drivers import Place, drivers
from cni_cnm.errors import CheckFailed, UnsupportedField
from cni_cnm.fields import Fields
from cni_cnm.model import Device, Interface, Lease
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.reference import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import Attachment, EndpointSpec, Json
    from cni_cnm.reference.cache import Cached


class Living(NamedTuple):
    record: EndpointRecord
    """Ready, as it is to be written."""
    gateways: frozenset[int]
    """IP versions whose default route in the container is by this interface."""


def configured(document: Mapping[str, Json], cached: Cached) -> ConfiguredNetwork:
    """The network of an attachment, as its fused entry configures it. InvalidConfig for a value that is wrong."""
    return configured_network.read(request.network_of(document, Fields(document), _call(cached)))


def document_of(cached: Cached) -> dict[str, Json]:
    """What this program would be given on stdin for the attachment. UnsupportedField for what is not understood."""
    listed = conflist.parse("the configuration that it was made with", cached.config)
    entry = fused.entry(listed)
    declared = Fields(entry).mapping("capabilities")
    requested = {name: value for name, value in cached.capability_args.items() if name in declared}
    own = {key: value for key, value in entry.items() if key != "capabilities"}
    head = {"cniVersion": Fields(listed.document).raw("cniVersion"), "name": cached.key.network}
    return {**head, **own, **({"runtimeConfig": requested} if requested else {})}


def look(host: Host, cached: Cached, network: NetworkRecord, owner: str) -> Living:
    """The record of an attachment that lives as the reference made it.

    Raises:
        UnsupportedField, InvalidConfig: something of what it was made with is not understood.
        CheckFailed: it is not as it was made.
        NamespaceGone: its namespace does not exist.
    """
    document = document_of(cached)
    made = configured(document, cached)
    fixed = made.driver.fixed(made.options)
    for key, value in made.driver.fixed(network.options).items():
        if fixed.get(key) != value:
            raise UnsupportedField(f"it was made with {key} {fixed.get(key)!r}, and the network has {value!r} now")
    if not namespace_of(cached):  # an older libcni keeps it in the result alone, which had none before CNI 0.3.0
        raise UnsupportedField("libcni's file of it names no network namespace")
    spec = request.endpoint_of(Fields(document), _call(cached), owner)
    endpoint_record.refuse_unsupported(made.spec, made.role, spec)
    given = result.decode(Fields(cached.result), request.version_of(Fields(document)), cached.key.ifname)
    with host.namespaces.open(spec.netns) as stack:
        record = _record(host, cached, network, made, spec, given, stack)
        _check(host, record, stack, given)
        index = record.device.ifindex if record.device else 0
        led = {route.dst.version for route in stack.routes(link=index) if route.dst.prefixlen == 0}
    return Living(record, frozenset(route.dst.version for route in record.default_routes) & led)


def _record(
    host: Host,
    cached: Cached,
    network: NetworkRecord,
    made: ConfiguredNetwork,
    spec: EndpointSpec,
    given: Attachment,
    stack: Stack,
) -> EndpointRecord:
    role, key = made.role, cached.key
    link, port, bridge = _links(host, cached, given, stack)
    pool = ipam.configure(network.name, made.spec.ipam, spec, host)
    held = [str(address.interface.ip) for address in given.addresses]
    addresses = tuple(default_routes.with_gateway(address, role) for address in given.addresses)
    routes, offers = default_routes.default_routes(Lease(addresses, given.routes), role)
    described = network._replace(options=made.options)
    record = endpoint_record.new_record(host.epoch, described, key, spec, portmap=made.spec.portmap)
    extra: tuple[Interface, ...] = ()
    if spec.bandwidth is not None and spec.bandwidth.egress_rate:
        ifb = host.stack.link(names.ifb(key))
        if ifb is None:
            raise CheckFailed(f"{names.ifb(key)}, which limits what it sends, is missing")
        extra = (Interface(ifb.name, ifb.mac, ifb.mtu),)
    return record._replace(
        state=READY,
        holder=(key.container_id, key.ifname),
        container_id=key.container_id,
        ifname=key.ifname,
        netns=spec.netns,
        netns_inode=stack.inode(),
        netns_cookie=stack.cookie(),
        host_ifname=port.name,
        mac=link.mac,
        ipam={**pool.record(), **({"addresses": held} if network.ipam_type == "host-local" else {})},
        lease=Lease(addresses, routes, spec.dns or made.spec.dns or given.dns),
        default_routes=offers,
        device=Device(
            container=Interface(link.name, link.mac, link.mtu, spec.netns),
            host=(Interface(bridge.name, bridge.mac, bridge.mtu), Interface(port.name, port.mac, port.mtu)),
            extra=extra,
            ifindex=link.ifindex,
        ),
    )


def _links(host: Host, cached: Cached, given: Attachment, stack: Stack) -> tuple[Link, Link, Link]:
    """The container's link, the host's end of it, and the bridge. CheckFailed if they are not those of the result."""
    ifname = cached.key.ifname
    link = stack.link(ifname)
    if link is None or link.kind != "veth":
        raise CheckFailed(f"the container has no veth {ifname}")
    port = host.stack.link_at(link.peer)
    named = [one.name for one in given.interfaces if not one.sandbox]
    if port is None or port.kind != "veth" or port.peer != link.ifindex or port.name not in named:
        raise CheckFailed(f"{ifname} does not lead to the host's link {' or '.join(named[1:2]) or 'of the result'}")
    bridge = host.stack.link_at(port.master) if port.master else None
    if bridge is None or bridge.name != named[0]:
        raise CheckFailed(f"{port.name} is not a port of {named[0]}")
    return link, port, bridge


def _check(host: Host, record: EndpointRecord, stack: Stack, given: Attachment) -> None:
    """CHECK without the packet filter. A port has hairpin only as configured: a published one gets it later."""
    driver, role = drivers.get(record.driver), record.role
    plan = record.plan._replace(publishes=False)
    driver.check_endpoint(record.options, plan, host.stack, Place(stack, record.ifname, record.netns))
    expected = results.expected(record, frozenset((4, 6)), given)
    configure_interface.check(stack, record.ifname, expected, record.addresses, role)
    if record.tuning or record.bandwidth:
        interface_tuning.check(record, stack, host.stack, expected.mac)
    if record.lease is not None:
        pool_of(host, record).check(record.key, record.lease, {})


def _call(cached: Cached) -> environ.Call:
    args = ";".join("=".join(pair) for pair in cached.cni_args)
    return environ.Call("ADD", cached.key.container_id, cached.key.ifname, namespace_of(cached), args, "", False, {})


def namespace_of(cached: Cached) -> str:
    """Path of the namespace. libcni before 1.1 keeps it in the result alone."""
    links = Fields(cached.result).objects("interfaces")
    in_result = (link.text("sandbox") for link in links if link.text("name") == cached.key.ifname)
    return cached.netns or next(in_result, "")
