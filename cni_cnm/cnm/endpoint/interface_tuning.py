"""What an endpoint's interface gets beside its device: tuning in the container, bandwidth limits on the host's end.

Both disappear with an interface of our own. On an interface of another plugin (driver `chained`) the limits are
removed and the values that were there before are restored.
"""

from __future__ import annotations

from cni_cnm.cnm.sandbox import namespace_identity
from cni_cnm.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.cnm.rollback import ErrorList, Rollback
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Bandwidth, Device, Tuning


def apply(endpoint: LockedEndpoint, device: Device, stack: Stack, undo: Rollback) -> Device:
    """Tune and limit. Returns the device as it is then; what was there before is recorded before anything changes."""
    record, host = endpoint.record, endpoint.host
    if record.bandwidth is not None and not device.host:
        raise InvalidConfig(
            f"{record.ifname} has no link on the host, so bandwidth cannot be limited there",
            hint="leave out bandwidth, or use a network whose interfaces are veth pairs",
        )
    before = None
    if record.tuning is not None:
        from cni_cnm.cnm.interface import tuning

        before = tuning.current(stack, record.ifname, record.tuning)
    endpoint.write(device=device, tuning_before=before)
    if record.tuning is not None and before is not None:
        device = tune(stack, device, record.tuning, before, undo)
    if record.bandwidth is not None:
        made = endpoint.role.interface == "made"  # just now, so its MTU is as it was read then
        device = limit(host, record.id, device, record.bandwidth, undo, mtu=device.host[-1].mtu if made else 0)
    return device


def tune(stack: Stack, device: Device, wanted: Tuning, before: Tuning, undo: Rollback) -> Device:
    """`before`: the values that are replaced. Returns the device as it is then."""
    from cni_cnm.cnm.interface import tuning

    ifname = device.container.name
    undo.push(lambda: tuning.restore(stack, ifname, before))
    link = tuning.apply(stack, ifname, wanted)
    return device._replace(container=device.container._replace(mac=link.mac, mtu=link.mtu))


def limit(
    host: Host, endpoint_id: str, device: Device, bandwidth: Bandwidth, undo: Rollback, *, mtu: int = 0
) -> Device:
    """Returns the device with the ifb that was added. `mtu`: of the link on the host, 0 if it is to be asked for."""
    from cni_cnm.cnm.interface import shaping

    port, ifb = device.host[-1].name, shaping.ifb_name(endpoint_id)
    undo.push(lambda: shaping.withdraw(host.stack, port, ifb, bandwidth))
    made = shaping.apply(host.stack, port, ifb, bandwidth, mtu)
    return device._replace(extra=(*device.extra, made)) if made else device


def remove(endpoint: LockedEndpoint, gathered: ErrorList, *, link_stays: bool) -> None:
    """Every step, whatever fails. With `link_stays` the interface gets back what it had before."""
    record, host = endpoint.record, endpoint.host
    bandwidth, device = record.bandwidth, record.device
    if bandwidth is not None:
        from cni_cnm.cnm.interface import shaping

        ifb = ifb_of(record)
        if link_stays and device is not None and device.host:
            port = device.host[-1].name
            gathered.attempt(lambda: shaping.withdraw(host.stack, port, ifb, bandwidth))
        else:
            gathered.attempt(lambda: shaping.remove(host.stack, ifb))
    if link_stays and record.tuning_before is not None:
        gathered.attempt(lambda: _restore(host, record))


def remove_part(host: Host, record: EndpointRecord, gathered: ErrorList) -> None:
    """Take limits or tuning off an interface that stays, as far as the record has them."""
    bandwidth, device = record.bandwidth, record.device
    if bandwidth is not None and device is not None and device.host:
        from cni_cnm.cnm.interface import shaping

        port, ifb = device.host[-1].name, shaping.ifb_name(record.id)
        gathered.attempt(lambda: shaping.withdraw(host.stack, port, ifb, bandwidth))
    if record.tuning_before is not None:
        gathered.attempt(lambda: _restore(host, record))


def check(record: EndpointRecord, stack: Stack, host_stack: Stack, mac: str) -> None:
    """CheckFailed naming the first value or limit that differs from the record. `mac` is the one the link must have."""
    if record.tuning is not None:
        from cni_cnm.cnm.interface import tuning

        replaced = record.tuning.mac is not None and record.tuning.mac != mac  # by a later plugin of the list
        wanted = record.tuning._replace(mac=None) if replaced else record.tuning
        tuning.check(stack, record.ifname, wanted)
    if record.bandwidth is not None and record.device is not None:
        from cni_cnm.cnm.interface import shaping

        shaping.check(host_stack, record.device.host[-1].name, ifb_of(record), record.bandwidth)


def ifb_of(record: EndpointRecord) -> str:
    """As the record has it: an interface that was taken over has the name that the reference plugin gave it."""
    from cni_cnm.cnm.interface import shaping

    links = record.device.extra if record.device else ()
    named = (link.name for link in links if link.name.startswith(shaping.IFB_PREFIX))
    return next(named, shaping.ifb_name(record.id))


def _restore(host: Host, record: EndpointRecord) -> None:
    """Only in the namespace that was tuned: another one may have its path by now."""
    from cni_cnm.cnm.interface import tuning

    stack = namespace_identity.open_joined(host, record)
    if stack is None or record.tuning_before is None:
        return
    with stack:
        tuning.restore(stack, record.ifname, record.tuning_before)
