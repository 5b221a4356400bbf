"""An endpoint that is connected gets a part of another plugin of its list, or loses it.

    record names the part, pending ──► interface, packet filter ──► record ready

Each step pushes what undoes it. Withdrawing is the reverse: the record is changed last.
"""

from __future__ import annotations

from cni_cnm.cnm.endpoint import endpoint_record, endpoint_source_routing, interface_tuning, shared_ports
from cni_cnm.cnm.packet_filter import endpoint_elements, foreign_accepts
from cni_cnm.cnm.packet_filter.enforce import enforce_endpoint
from cni_cnm.cnm.records import PENDING, READY, load_network
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import CHAINED, Place
from cni_cnm.errors import InvalidConfig, PortTaken
from cni_cnm.firewall import portmap
from cni_cnm.model import Attachment, Dns, NetworkSpec, PortmapOptions, Tuning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.cnm.rollback import ErrorList
    from cni_cnm.drivers import Options
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Device, EndpointSpec, Part, PortMapping


def extend(
    endpoint: LockedEndpoint, stack: Stack, spec: EndpointSpec, part: Part, *, again: bool = False
) -> Attachment:
    """Add a part. Returns the container's interface as it is then, and the links that were added.

    `again`: the plugin was killed at it, so the packet filter may lack the policy that is on record.
    """
    record, host = endpoint.record, endpoint.host
    assert record.device is not None
    ports, warnings = _servable(record, part.ports)
    spec = spec._replace(ports=ports, bandwidth=part.bandwidth, tuning=part.tuning)
    network = load_network(host.store, record.network)
    internal = network is not None and network.internal
    endpoint_record.refuse_unsupported(
        NetworkSpec(record.network, record.driver, internal=internal), endpoint.role, spec
    )
    options = _with_policy(endpoint, stack, spec, part)
    parts = (*(one for one in record.parts if one != part.plugin), part.plugin)  # the last one is being added
    if part.policy and options == record.options and not again:  # the interface plugin has put it in with the rest
        endpoint.write(parts=parts)
        return Attachment((record.device.container,), (), (), Dns(), 0)
    with Rollback() as undo:
        if part.source_routing is not None:
            undo.push(lambda: endpoint_source_routing.elect_again(host, record, stack))
        undo.push_record_removal(lambda: endpoint.write(**record._asdict()))
        published = {"ports": ports, "portmap": part.portmap} if part.plugin == "portmap" else {}
        endpoint.write(state=PENDING, parts=parts, **published)
        if published or part.policy:
            undo.push(lambda: _withdraw_elements(endpoint, record))
        if options != record.options:  # a kill before the record has them: what it names is removed
            now = endpoint.driver.policy(options)
            endpoint_elements.change_policy(lambda: host.nft, record, record.policy, now)
            endpoint.write(options=options)
        device = record.device
        if part.bandwidth or part.tuning:
            device = _tune(endpoint, stack, part, undo)
        if part.source_routing is not None:
            endpoint_source_routing.extend(endpoint, stack, part.source_routing, undo)
        if published:  # another network of the container may have published them meanwhile
            shared_ports.share(endpoint)
        if published and endpoint.record.ports:
            endpoint.driver.repair_endpoint(options, endpoint.record.plan, host.stack)  # a published port needs hairpin
            host.stack.set_sysctls(portmap.sysctls(device.host[0].name, part.portmap))
        if published or part.policy:
            warnings = (*warnings, *_enforce(endpoint))
        endpoint.write(state=READY)
    added = tuple(link for link in device.extra if link not in record.device.extra)
    return Attachment((device.container, *added), (), (), Dns(), 0, warnings)


def withdraw(endpoint: LockedEndpoint, plugin: str, gathered: ErrorList) -> None:
    """Every step, whatever fails. The record keeps the part if something of it is left."""
    record, host = endpoint.record, endpoint.host
    parts = tuple(part for part in record.parts if part != plugin)
    if plugin == "portmap":
        gathered.attempt(lambda: endpoint_elements.unpublish(lambda: host.nft, record))
        if not gathered.errors:
            endpoint.write(ports=(), requested_ports=(), portmap=PortmapOptions(), parts=parts)
            gathered.attempt(lambda: shared_ports.hand_over(host, record))
            if record.ports:
                gathered.attempt(
                    lambda: endpoint.driver.repair_endpoint(record.options, endpoint.record.plan, host.stack)
                )
        return
    if plugin in ("bandwidth", "tuning"):
        limits = plugin == "bandwidth"
        part = record._replace(tuning_before=None) if limits else record._replace(bandwidth=None)
        interface_tuning.remove_part(host, part, gathered)
        if not gathered.errors:
            endpoint.write(parts=parts, **_without(record, plugin))
        return
    if plugin == "sbr":
        endpoint_source_routing.withdraw(endpoint, parts, gathered)
        return
    if record.driver == CHAINED:
        elements = record._replace(ports=())
        gathered.attempt(lambda: endpoint_elements.withdraw(lambda: host.nft, elements, endpoint.policy, None))
        gathered.attempt(lambda: foreign_accepts.withdraw_endpoint(host, record, endpoint.policy))
    if not gathered.errors:
        bare = endpoint.driver.options(NetworkSpec(record.network, CHAINED)) if record.driver == CHAINED else None
        endpoint.write(parts=parts, **({"options": bare} if bare is not None else {}))


def _servable(record: EndpointRecord, ports: Sequence[PortMapping]) -> tuple[tuple[PortMapping, ...], tuple[str, ...]]:
    """The ports that an address of the endpoint can serve, and a sentence about each other one."""
    versions = {address.interface.version for address in record.addresses}
    served = tuple(port for port in ports if versions and (port.host_ip is None or port.host_ip.version in versions))
    return served, tuple(
        f"{port} is not published: {record.shown} has no address of its kind" for port in ports if port not in served
    )


def _with_policy(endpoint: LockedEndpoint, stack: Stack, spec: EndpointSpec, part: Part) -> Options:
    """The endpoint's options with the part's policy, which its network has from then on."""
    record, driver, host = endpoint.record, endpoint.driver, endpoint.host
    if driver.uses_existing_interface:
        asked = driver.options(NetworkSpec(record.network, CHAINED, part.policy)) if part.policy else record.options
        found = driver.existing_interface(asked, spec, host.stack, Place(stack, record.ifname, record.netns))
        if not part.policy:
            return record.options
        from cni_cnm.cnm.endpoint import network_policy

        network_policy.change(host, record, found.network)
        options: Options = found.endpoint
        return options
    if not part.policy:
        return record.options
    wanted: Options = driver.with_policy(record.options, part.policy)
    if wanted != record.options:
        from cni_cnm.cnm.endpoint import network_policy

        wanted = network_policy.change(host, record, wanted)
    return wanted


def _tune(endpoint: LockedEndpoint, stack: Stack, part: Part, undo: Rollback) -> Device:
    """The record has what was there before the first tuning, so that withdrawing brings that back."""
    record, host, device = endpoint.record, endpoint.host, endpoint.record.device
    assert device is not None
    if part.tuning is not None:
        from cni_cnm.cnm.interface import tuning

        before = tuning.current(stack, record.ifname, part.tuning)
        first, every = _merged(before, record.tuning_before), _merged(record.tuning, part.tuning)
        endpoint.write(tuning=every, tuning_before=first)
        device = interface_tuning.tune(stack, device, part.tuning, before, undo)
    if part.bandwidth is not None:
        if not device.host:
            raise InvalidConfig(f"{record.ifname} has no link on the host, so bandwidth cannot be limited there")
        if record.bandwidth is not None:
            from cni_cnm.cnm.interface import shaping

            ifb = shaping.ifb_name(record.id)
            shaping.withdraw(host.stack, device.host[-1].name, ifb, record.bandwidth)
            device = device._replace(extra=tuple(link for link in device.extra if link.name != ifb))
        endpoint.write(bandwidth=part.bandwidth)
        device = interface_tuning.limit(host, record.id, device, part.bandwidth, undo)
    endpoint.record = endpoint.record._replace(device=device)
    return device


def _merged(one: Tuning | None, other: Tuning | None) -> Tuning | None:
    """Both, where the other one counts for what both have."""
    if one is None or other is None:
        return one or other
    attributes = {key: value for key, value in other._asdict().items() if key != "sysctls" and value is not None}
    return one._replace(sysctls=tuple({**dict(one.sysctls), **dict(other.sysctls)}.items()), **attributes)


def _without(record: EndpointRecord, plugin: str) -> dict[str, object]:
    """The fields of a record without limits, or without tuning."""
    device = record.device
    if plugin == "bandwidth":
        from cni_cnm.cnm.interface import shaping

        ifb = shaping.ifb_name(record.id)
        kept = tuple(link for link in device.extra if link.name != ifb) if device else ()
        return {"bandwidth": None, "device": device and device._replace(extra=kept)}
    before = record.tuning_before or Tuning()
    if device is not None:
        container = device.container._replace(
            mac=before.mac or device.container.mac, mtu=before.mtu or device.container.mtu
        )
        device = device._replace(container=container)
    return {"tuning": None, "tuning_before": None, "device": device}


def _enforce(endpoint: LockedEndpoint) -> tuple[str, ...]:
    host, record, policy = endpoint.host, endpoint.record, endpoint.policy
    try:
        warnings = enforce_endpoint(host, record, policy)
    except PortTaken as taken:
        from cni_cnm.cnm.endpoint import leaving_holder

        warnings = leaving_holder.wait(host, record, taken, lambda: enforce_endpoint(host, record, policy))
    if record.ports and endpoint.role.outside != "plugin":
        from cni_cnm.cnm.packet_filter import port_listeners

        warnings = (*warnings, *port_listeners.warnings(record.ports))
    return warnings


def _withdraw_elements(endpoint: LockedEndpoint, before: EndpointRecord) -> None:
    """What the endpoint had before stays."""
    host, record = endpoint.host, endpoint.record
    endpoint_elements.unpublish(lambda: host.nft, record)
    if before.driver == CHAINED:
        elements = record._replace(ports=())
        endpoint_elements.withdraw(lambda: host.nft, elements, endpoint.policy, None)
        foreign_accepts.withdraw_endpoint(host, record, endpoint.policy)
    changed = record.options != before.options
    if changed:
        endpoint_elements.change_policy(lambda: host.nft, record, endpoint.policy, before.policy)
    if before.ports or before.driver == CHAINED or changed:
        enforce_endpoint(host, before, before.policy)
