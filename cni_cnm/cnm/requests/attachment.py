"""The CNM steps in a row, for doors that speak in one breath: attach, detach, check, collect, status.

attach: network get-or-create → endpoint create → sandbox join, validated first, undone whole on failure.
detach: the mirror, from the record alone; every step is tried, missing means done.
"""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.objects import network as networks
from cni_cnm.cnm.objects import shared_parent
from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.objects.network import Network
from cni_cnm.cnm.objects.sandbox import Sandbox
from cni_cnm.cnm.records import READY, EndpointRecord, NetworkRecord
from cni_cnm.cnm.requests import delete_without_record
from cni_cnm.cnm.rollback import ErrorList, Rollback
from cni_cnm.drivers import Place, drivers
from cni_cnm.errors import (
    ActiveEndpoints,
    CheckFailed,
    Conflict,
    NoSuchDriver,
    NoSuchNetwork,
    NotReady,
    raise_gathered,
)
from cni_cnm.model import EndpointKey
from cni_cnm.state.files import ENDPOINTS, NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.drivers import Options
    from cni_cnm.ipam import Ipam
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Attachment, EndpointSpec, IpamSpec, NetworkSpec


def attach(controller: Controller, network: NetworkSpec, spec: EndpointSpec) -> Attachment:
    key = EndpointKey(network.name, spec.container_id, spec.ifname)
    driver = drivers.get(network.driver)
    options = driver.options(network)
    networks.refuse_wishes(network, driver.role(options), spec)
    pool = None if _from_record(network, spec) else _pool(controller, network, spec)
    target = controller.namespaces.open(spec.netns)
    try:
        with controller.store.lock(f"endpoint/{key.id}"):
            repeated = _settle_previous(controller, key, spec, target)
            if repeated is not None:
                return repeated
            if spec.previous is None and target.link(spec.ifname) is not None:
                raise Conflict(
                    f"the container has an interface {spec.ifname} that is not of the network {network.name}",
                    hint="another plugin made it; use another CNI_IFNAME, or DEL with that plugin",
                )
            adopted = None
            if driver.uses_existing_interface:
                adopted = driver.adopt(options, spec, controller.host, Place(target, spec.ifname, spec.netns))
                options = adopted.network
            sandbox = Sandbox(controller, spec.container_id, spec.netns)
            with Rollback() as undo:
                endpoint, pool = _claim(controller, network, options, key, spec, target, pool, undo)
                if adopted is not None:
                    endpoint.write(options=adopted.endpoint, host_ifname=adopted.host_ifname, mac=adopted.mac)
                endpoint.reserve(pool, spec, network.dns, undo)
                return endpoint.connect(sandbox, target, undo)
    finally:
        target.close()


def detach(
    controller: Controller, key: EndpointKey, spec: EndpointSpec | None, ipam_spec: IpamSpec | None
) -> Sequence[str]:
    """Sentences about what stopped nothing."""
    environ = spec.environ if spec else {}
    with controller.store.lock(f"endpoint/{key.id}"):
        record = _load(controller, key.id)
        if record is not None:
            gathered = Endpoint(controller, record).take_down(environ)
            raise_gathered(gathered.errors)
            return gathered.notes
        controller.store.delete(ENDPOINTS, key.id)
        if ipam_spec is not None:
            delete_without_record.remove(controller, key, spec, ipam_spec)
    return ()


def check(controller: Controller, network: NetworkSpec, spec: EndpointSpec, previous: Attachment | None) -> None:
    key = EndpointKey(network.name, spec.container_id, spec.ifname)
    record = _load(controller, key.id)
    if record is None or record.epoch != controller.epoch:
        raise CheckFailed(
            f"nothing is on record for {spec.ifname} of container {spec.container_id} on the network {network.name}",
            hint="was it made before a reboot, or by another plugin? DEL and ADD it again",
        )
    target = controller.namespaces.open(spec.netns)
    try:
        Endpoint(controller, record).check(target, previous, spec.environ)
    finally:
        target.close()


def collect(
    controller: Controller,
    network: NetworkSpec,
    owner: str,
    valid: Sequence[EndpointKey],
    environ: Mapping[str, str],
) -> Sequence[str]:
    """Take down this owner's endpoints of the network that are not valid; sentences about what was left alone."""
    keep = {key.id for key in valid}
    gathered = ErrorList()
    notes = []
    for record in networks.endpoint_records(controller):
        if record.network != network.name or record.id in keep:
            continue
        if record.owner != owner:
            notes.append(f"{record.label} belongs to {record.owner}, not to {owner}: left alone")
            continue
        with controller.store.lock(f"endpoint/{record.id}"):
            current = _load(controller, record.id)
            if current is not None:
                taken = Endpoint(controller, current).take_down(environ)
                gathered.errors += taken.errors
                notes += taken.notes
    if not networks.names_no_subnet(network):
        gathered.attempt(lambda: _pool(controller, network, None).collect(valid, environ))
    raise_gathered(gathered.errors)
    return notes


def status(controller: Controller, network: NetworkSpec, *, exhausted_is_error: bool) -> Sequence[str]:
    """Could an ADD be served now? Warnings, or NotReady. Takes no lock and changes nothing."""
    raw = controller.store.get(NETWORKS, network.name)
    if raw and networks.names_no_subnet(network) and drivers.get(raw["driver"]).uses_existing_interface:
        return ()  # behind an interface plugin, whose addresses these are: a STATUS has no prevResult that says so
    driver = drivers.get(network.driver)
    options = driver.options(network)
    warnings = [driver.status(options, controller.host)]
    # Without record the first ADD chooses a subnet; that the pools have one left is only known then.
    if raw or not networks.names_no_subnet(network):
        configured = _with_recorded(network, NetworkRecord.from_json(raw)) if raw else network.ipam
        try:
            found = _pool(controller, network._replace(ipam=configured), None).status()
        except NoSuchDriver as error:
            raise NotReady(error.msg, hint=error.hint) from error
        if found.free == 0:
            warnings.append(
                f"the network {network.name} has no free address{f': {found.detail}' if found.detail else ''}"
            )
    warnings = [warning for warning in warnings if warning]
    if warnings and exhausted_is_error:
        raise NotReady("; ".join(warnings), hint="remove containers, or widen the range")
    return warnings


def _settle_previous(controller: Controller, key: EndpointKey, spec: EndpointSpec, target: Stack) -> Attachment | None:
    """What an earlier ADD left: the same request answers again, a live one refuses, anything else is taken down."""
    record = _load(controller, key.id)
    if record is None:
        return None
    endpoint = Endpoint(controller, record)
    if (
        record.state == READY
        and record.epoch == controller.epoch
        and record.netns_inode == target.inode()
        and target.link(record.device.container.name if record.device else spec.ifname) is not None
    ):
        if record.request_id and record.request_id == spec.request_id:
            return endpoint.attachment
        raise Conflict(
            f"the container {spec.container_id} has {spec.ifname} on the network {key.network} already",
            hint="DEL it before the next ADD",
        )
    raise_gathered(endpoint.take_down(spec.environ).errors)
    return None


def _claim(
    controller: Controller,
    network: NetworkSpec,
    options: Options,
    key: EndpointKey,
    spec: EndpointSpec,
    target: Stack,
    pool: Ipam | None,
    undo: Rollback,
) -> tuple[Endpoint, Ipam]:
    """The endpoint's pending record in a network that exists, and cannot be deleted from then on; and its pool."""
    while True:
        with controller.store.lock(f"network/{network.name}", shared=True):
            raw = controller.store.get(NETWORKS, network.name)
            found = NetworkRecord.from_json(raw) if raw else None
            if found is not None and not found.pending and networks.same(found, _asked(network, options, found)):
                siblings = Sandbox(controller, spec.container_id, spec.netns).endpoints()
                # Containers keep the way out they have: a later interface ranks behind the earlier ones.
                record = networks.new_record(
                    controller, found, key, spec, priority=-len(siblings), portmap=network.portmap
                )
                pool = pool or _pool(controller, network._replace(ipam=_with_recorded(network, found)), spec)
                endpoint = Endpoint(controller, record)
                undo.push_forgetting(lambda: controller.store.delete(ENDPOINTS, key.id))
                endpoint.write(
                    container_id=spec.container_id,
                    ifname=spec.ifname,
                    netns=spec.netns,
                    netns_inode=target.inode(),
                    ipam=pool.record(),
                )
                return endpoint, pool
        with controller.store.lock(f"network/{network.name}"):
            raw = controller.store.get(NETWORKS, network.name)
            if raw is None:
                undo.push(lambda: _delete_unused(controller, network.name))
                controller.realize(network, options)
            else:
                old = NetworkRecord.from_json(raw)
                new = _asked(network, options, old)
                if old.pending or not networks.same(old, new):
                    in_use = any(True for _ in Network(controller, old).endpoints())
                    merged = networks.update(old, new, in_use=in_use)
                    if not in_use and (networks.plugged(old) or networks.plugged(new)):
                        Network(controller, old).erase()  # and made as it is now, in the next round
                        continue
                    if not in_use:
                        Network(controller, old).unisolate()
                        shared_parent.replace(controller, old, merged)
                    controller.store.put(NETWORKS, network.name, merged.to_json())


def _asked(network: NetworkSpec, options: Options, record: NetworkRecord) -> NetworkRecord:
    return networks.describe(network, options, dict(_with_recorded(network, record).config))


def _with_recorded(network: NetworkSpec, record: NetworkRecord) -> IpamSpec:
    """A network that names no subnet keeps the one that was chosen for it."""
    if not networks.allocated_once(network):
        return network.ipam
    chosen = ("subnet", "ranges") if networks.names_no_subnet(network) else ()
    kept = {**{key: record.ipam[key] for key in chosen if key in record.ipam}, **ipam.allocated(record.ipam)}
    return network.ipam._replace(config={**network.ipam.config, **kept})


def _from_record(network: NetworkSpec, spec: EndpointSpec | None) -> bool:
    """Which addresses there are is known once the network is made."""
    return networks.allocated_once(network) and not (networks.names_no_subnet(network) and spec and spec.ranges)


def _pool(controller: Controller, network: NetworkSpec, spec: EndpointSpec | None) -> Ipam:
    pool = ipam.configure(network.name, network.ipam, spec, controller.settings)
    if spec is not None:
        pool.validate(spec)
    return pool


def _load(controller: Controller, endpoint_id: str) -> EndpointRecord | None:
    raw = controller.store.get(ENDPOINTS, endpoint_id)
    return EndpointRecord.from_json(raw) if raw else None


def _delete_unused(controller: Controller, name: str) -> None:
    try:
        controller.network(name).delete()
    except (ActiveEndpoints, NoSuchNetwork):
        pass  # others came, and stay
