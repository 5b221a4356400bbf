"""An endpoint's bandwidth. What the container receives is limited where it enters the host's end of the veth.

What it sends comes out of that end, and is redirected to an ifb (`bwp…`), which limits it.

    host ──tbf──► veth ─── eth0        ingress of the container
    host ◄── ifb ◄──tbf── veth ◄─ eth0   egress: the queue is on the host, where the container cannot take it off

Configured with the reference `bandwidth` plugin's keys. Its rates and bursts, its latency of 25 ms; what the kernel
makes of them says kernel/token_bucket.py.
"""

from __future__ import annotations

import errno

from cni_cnm.errors import CheckFailed, Conflict, DriverFailed, InvalidConfig, KernelError
from cni_cnm.fields import Fields
from cni_cnm.kernel import Rate
from cni_cnm.kernel.token_bucket import kept
from cni_cnm.model import Bandwidth, Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import Json

KEYS = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")
IFB_PREFIX = "bwp"
"""Of the names of ifbs, the reference's as well."""
RATE_MAX = 2**63 - 1
BURST_MAX = 2**35 - 1
"""Less than 4 GiB, as the reference."""


def parse(block: Mapping[str, Json] | None, runtime: Mapping[str, Json] | None) -> Bandwidth | None:
    """The limits of the configuration's object if it has any of the keys, else the runtime's. None: no limit.

    Keys in any case: go-cni sends `IngressRate`. InvalidConfig for a rate without burst or the other way round, a
    negative or too large number, a rate of less than a byte a second.
    """
    configured = Fields(block, "bandwidth.", words=True)
    if any(key in configured for key in KEYS):
        given = configured
    else:
        given = Fields(runtime, "runtimeConfig.bandwidth.", words=True)
    found = Bandwidth(*_pair(given, "ingress"), *_pair(given, "egress"))
    return found if any(found) else None


def ifb_name(endpoint_id: str) -> str:
    """The name of an endpoint's ifb. A container with two endpoints in one network has two."""
    return f"{IFB_PREFIX}{endpoint_id[:12]}"


def apply(host_stack: Stack, host_ifname: str, ifb_name: str, bandwidth: Bandwidth, mtu: int = 0) -> Interface | None:
    """Limit a link of the host. Returns the ifb that was made for it. `remove` and `withdraw` undo it.

    `mtu` is the link's, where the caller knows it.
    """
    if mtu:
        index = host_stack.index_of(host_ifname)
    else:
        link = host_stack.link(host_ifname)
        index, mtu = (link.ifindex, link.mtu) if link is not None else (0, 0)
    if not index:
        raise DriverFailed(f"{host_ifname} to be limited is missing", hint="bandwidth needs a veth into the container")
    ingress, egress = _rates(bandwidth)
    if ingress is not None:
        host_stack.set_rate(index, ingress, mtu=mtu)
    if egress is None:
        return None
    ifb = _add_ifb(host_stack, ifb_name, mtu)
    host_stack.set_rate(ifb.ifindex, egress, mtu=ifb.mtu)
    host_stack.redirect_ingress(index, ifb.ifindex)
    return Interface(ifb.name, ifb.mac, ifb.mtu)


def remove(host_stack: Stack, ifb_name: str) -> None:
    """Delete the ifb, which stays when the host's end of the veth is deleted. No error if absent."""
    ifb = host_stack.link(ifb_name)
    if ifb is not None and ifb.kind == "ifb":
        host_stack.delete_link(ifb.ifindex)


def withdraw(host_stack: Stack, host_ifname: str, ifb_name: str, bandwidth: Bandwidth) -> None:
    """Undo `apply` on a link that stays, and change nothing that another program set. No error if absent."""
    link, ifb = host_stack.link(host_ifname), host_stack.link(ifb_name)
    ingress, _ = _rates(bandwidth)
    # Before the ifb is deleted: packets redirected to a link that is gone are dropped.
    if link is not None and ifb is not None and host_stack.redirected(link.ifindex) == ifb.ifindex:
        _unless_gone(lambda: host_stack.redirect_ingress(link.ifindex, 0))
    if link is not None and ingress is not None and host_stack.rate(link.ifindex) == kept(ingress, link.mtu):
        _unless_gone(lambda: host_stack.set_rate(link.ifindex, None))
    remove(host_stack, ifb_name)


def check(host_stack: Stack, host_ifname: str, ifb_name: str, bandwidth: Bandwidth) -> None:
    """CheckFailed naming the first limit that is missing or different."""
    link = host_stack.link(host_ifname)
    if link is None:
        raise CheckFailed(f"the limited link {host_ifname} is missing")
    ingress, egress = _rates(bandwidth)
    if ingress is not None:
        _compare(host_stack, link, ingress, "towards the container")
    if egress is None:
        return
    ifb = host_stack.link(ifb_name)
    if ifb is None or ifb.kind != "ifb":
        raise CheckFailed(f"the ifb {ifb_name}, which limits the ingress of {host_ifname}, is missing")
    if not ifb.up:
        raise CheckFailed(f"the ifb {ifb_name}, which limits the ingress of {host_ifname}, is down")
    if host_stack.redirected(link.ifindex) != ifb.ifindex:
        raise CheckFailed(f"the ingress of {host_ifname} is not redirected to {ifb_name}, so nothing limits it")
    _compare(host_stack, ifb, egress, "from the container")


def _pair(fields: Fields, way: str) -> tuple[int, int]:
    rate = fields.whole(f"{way}Rate", 0, 0, RATE_MAX)
    burst = fields.whole(f"{way}Burst", 0, 0, BURST_MAX)
    if bool(rate) is not bool(burst):
        one, other = (f"{way}Rate", f"{way}Burst") if rate else (f"{way}Burst", f"{way}Rate")
        raise InvalidConfig(
            f"{fields.name(one)} is given and {other} is not", hint="a limit needs both, in bits a second and bits"
        )
    if 0 < rate < 8:
        raise InvalidConfig(f"{fields.name(f'{way}Rate')} is {rate}, the least is 8 bits a second")
    return rate, burst


def _rates(bandwidth: Bandwidth) -> tuple[Rate | None, Rate | None]:
    ingress = Rate(bandwidth.ingress_rate, bandwidth.ingress_burst) if bandwidth.ingress_rate else None
    egress = Rate(bandwidth.egress_rate, bandwidth.egress_burst) if bandwidth.egress_rate else None
    return ingress, egress


def _add_ifb(host_stack: Stack, name: str, mtu: int) -> Link:
    try:
        ifb = host_stack.add_ifb(name, mtu=mtu) or host_stack.link(name)  # inside: a batch adds it only now
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
        raise Conflict(
            f"there is a link {name} already", hint=f"it is left from an earlier container: ip link del {name}"
        ) from error
    if ifb is None:
        raise DriverFailed(f"{name} vanished while it was being set up", hint="is another program deleting links?")
    return ifb


def _compare(host_stack: Stack, link: Link, wanted: Rate, way: str) -> None:
    expected, found = kept(wanted, link.mtu), host_stack.rate(link.ifindex)
    if found is None:
        raise CheckFailed(f"{link.name} has no limit, configured are {wanted.rate} bit/s {way}")
    if found != expected:
        raise CheckFailed(
            f"{link.name} is limited to {found.rate} bit/s with a burst of {found.burst} bits, "
            f"it was set to {expected.rate} with {expected.burst} {way}"
        )


def _unless_gone(step: Callable[[], None]) -> None:
    try:
        step()
    except KernelError as error:
        if error.errno not in (errno.ENODEV, errno.ENOENT):
            raise
