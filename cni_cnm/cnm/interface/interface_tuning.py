"""What an endpoint's interface is given beside its device: tuning inside the container, limits on the host's end.

Both go with an interface of our own; on one of another plugin (chained) they are taken back, and what was there before
is put back.
"""

from __future__ import annotations

from cni_cnm.errors import InvalidConfig, NamespaceGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.cnm.rollback import ErrorList, Rollback
    from cni_cnm.kernel import Namespaces, Stack
    from cni_cnm.model import Device


def adjust(
    record: EndpointRecord, device: Device, stack: Stack, host: Stack, undo: Rollback, keep: Callable[..., None]
) -> Device:
    """The device as it is then. `keep(device=…, before=…)` puts on record, before anything changes, how to go back."""
    if record.bandwidth is not None and not device.host:
        raise InvalidConfig(
            f"{record.ifname} has no link on the host, so bandwidth cannot be limited there",
            hint="leave out bandwidth, or use a network whose interfaces are veth pairs",
        )
    before = None
    if record.tuning is not None:
        from cni_cnm.cnm.interface import tuning

        before = tuning.current(stack, record.ifname, record.tuning)
    keep(device=device, before=before)
    if record.tuning is not None and before is not None:
        found = before
        undo.push(lambda: tuning.restore(stack, record.ifname, found))
        link = tuning.apply(stack, record.ifname, record.tuning)
        device = device._replace(container=device.container._replace(mac=link.mac, mtu=link.mtu))
    if record.bandwidth is not None:
        from cni_cnm.cnm.interface import shaping

        port, ifb, bandwidth = device.host[-1].name, shaping.ifb_name(record.id), record.bandwidth
        undo.push(lambda: shaping.withdraw(host, port, ifb, bandwidth))
        made = shaping.apply(host, port, ifb, bandwidth)
        device = device._replace(extra=(*device.extra, made)) if made else device
    return device


def release(
    record: EndpointRecord, host: Stack, namespaces: Namespaces, gathered: ErrorList, *, link_stays: bool
) -> None:
    """Every step, whatever fails. With `link_stays` the interface becomes what it was."""
    bandwidth, before, device = record.bandwidth, record.before, record.device
    if bandwidth is not None:
        from cni_cnm.cnm.interface import shaping

        ifb = shaping.ifb_name(record.id)
        if link_stays and device is not None and device.host:
            port = device.host[-1].name
            gathered.attempt(lambda: shaping.withdraw(host, port, ifb, bandwidth))
        else:
            gathered.attempt(lambda: shaping.remove(host, ifb))
    if link_stays and before is not None:
        gathered.attempt(lambda: _restore(record, namespaces))


def check(record: EndpointRecord, stack: Stack, host: Stack) -> None:
    """CheckFailed naming the first thing that is not as it was given."""
    if record.tuning is not None:
        from cni_cnm.cnm.interface import tuning

        tuning.check(stack, record.ifname, record.tuning)
    if record.bandwidth is not None and record.device is not None:
        from cni_cnm.cnm.interface import shaping

        shaping.check(host, record.device.host[-1].name, shaping.ifb_name(record.id), record.bandwidth)


def _restore(record: EndpointRecord, namespaces: Namespaces) -> None:
    """In the namespace that was tuned, if it is still there: another one may stand at its path."""
    from cni_cnm.cnm.interface import tuning

    try:
        stack = namespaces.open(record.netns)
    except NamespaceGone:
        return
    try:
        if record.before is not None and stack.inode() == record.netns_inode:
            tuning.restore(stack, record.ifname, record.before)
    finally:
        stack.close()
