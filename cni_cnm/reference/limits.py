"""bandwidth: the token buckets of one container's interface, on the host's end of its veth and on an ifb.

The arithmetic is the plugin's (ifb_creator.go), with its rounding: its CHECK compares the kernel's parameters with it.
"""

from __future__ import annotations

from errno import ENODEV, ENOENT

from cni_cnm.errors import Conflict, KernelError
from cni_cnm.kernel.contract.link import Bucket
from cni_cnm.kernel.token_bucket import TICK_NS, U32
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.kernel import Stack
    from cni_cnm.reference.configuration import Bandwidth

_LATENCY_US, _US = 25000.0, 1_000_000.0


class Limits(NamedTuple):
    host_link: str
    ingress: Bucket | None = None
    """What the container receives: on the host's end of the veth."""
    egress: Bucket | None = None
    """What it sends: on the ifb, to which the host's end redirects."""
    ifb: str = ""


def wanted(bandwidth: Bandwidth, host_link: str, ifb: str) -> Limits | None:
    """What the plugin makes; None without a limit."""
    ingress = _bucket(bandwidth.ingress_rate, bandwidth.ingress_burst)
    egress = _bucket(bandwidth.egress_rate, bandwidth.egress_burst)
    return Limits(host_link, ingress, egress, ifb if egress else "") if ingress or egress else None


def read(stack: Stack, host_link: str, ifb: str) -> Limits | None:
    """What the host has; None without a limit."""
    link, limiting = stack.link(host_link), stack.link(ifb)
    ingress = stack.bucket(link.ifindex) if link is not None else None
    egress = None
    if link is not None and limiting is not None and limiting.kind == "ifb":
        redirected = stack.redirected(link.ifindex) == limiting.ifindex
        egress = stack.bucket(limiting.ifindex) if redirected else None
    return Limits(host_link, ingress, egress, ifb if egress else "") if ingress or egress else None


def write(stack: Stack, limits: Limits) -> None:
    """Make what is missing or different. Conflict if the ifb's name is taken by another link, KernelError."""
    link = stack.link(limits.host_link)
    if link is None:
        raise Conflict(f"the limited link {limits.host_link} is missing")
    if limits.ingress is not None and stack.bucket(link.ifindex) != limits.ingress:
        stack.set_bucket(link.ifindex, limits.ingress)
    if limits.egress is None:
        return
    ifb = stack.link(limits.ifb)
    if ifb is None:
        ifb = stack.add_ifb(limits.ifb, mtu=link.mtu) or stack.link(limits.ifb)
    if ifb is None or ifb.kind != "ifb":
        raise Conflict(f"there is a link {limits.ifb} already, which is no ifb")
    if stack.bucket(ifb.ifindex) != limits.egress:
        stack.set_bucket(ifb.ifindex, limits.egress)
    redirected = stack.redirected(link.ifindex)
    if redirected == ifb.ifindex:
        return
    if redirected:
        stack.redirect_ingress(link.ifindex, 0)
    stack.redirect_ingress(link.ifindex, ifb.ifindex)


def remove(stack: Stack, limits: Limits) -> None:
    """Remove what is as `limits` says. No error if absent. What another program has changed stays."""
    link, ifb = stack.link(limits.host_link), stack.link(limits.ifb) if limits.ifb else None
    found = read(stack, limits.host_link, limits.ifb)
    if link is not None and found is not None and limits.ingress is not None and found.ingress == limits.ingress:
        _unless_absent(lambda: stack.set_rate(link.ifindex, None))
    if link is not None and ifb is not None and stack.redirected(link.ifindex) == ifb.ifindex:
        _unless_absent(lambda: stack.redirect_ingress(link.ifindex, 0))
    if ifb is not None and ifb.kind == "ifb":
        stack.delete_link(ifb.ifindex)


def _bucket(rate: int, burst: int) -> Bucket | None:
    """Of bits. Go's conversions to 32 bits keep the low ones."""
    rate_bytes, burst_bytes = rate // 8, burst // 8 & U32
    if not rate_bytes or not burst_bytes:
        return None
    microseconds = int(burst_bytes * _US / rate_bytes) & U32
    ticks = int(microseconds * (1000 / TICK_NS)) & U32
    limit = (int(rate_bytes * _LATENCY_US / _US) + burst_bytes) & U32
    return Bucket(rate_bytes, ticks, limit)


def _unless_absent(step: Callable[[], None]) -> None:
    try:
        step()
    except KernelError as error:
        if error.errno not in (ENODEV, ENOENT):
            raise
