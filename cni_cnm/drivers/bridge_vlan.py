"""VLANs on bridge ports (keys `vlan`, `vlanTrunk`, `preserveDefaultVlan`), as the reference bridge sets them."""

from __future__ import annotations

import errno

from cni_cnm.errors import CheckFailed, KernelError, KernelFeatureMissing
from cni_cnm.kernel import Vlan
from cni_cnm.model import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.drivers.bridge_options import BridgeOptions
    from cni_cnm.kernel import Link, Stack

DEFAULT_VLAN = 1


def wanted(options: BridgeOptions) -> list[Vlan]:
    """VLANs of an endpoint's port. A trunk without `vlan` takes VLAN 1 as its native one, as the reference does."""
    native = options.vlan or DEFAULT_VLAN
    own = [Vlan(native, pvid=True, untagged=True)]
    kept = [Vlan(DEFAULT_VLAN, untagged=True)] if options.keep_default_vlan and native != DEFAULT_VLAN else []
    return own + kept + [Vlan(vid) for vid in options.trunk if vid != native and Vlan(vid, untagged=True) not in kept]


def tag(options: BridgeOptions, port: Link, host: Stack) -> None:
    target = wanted(options)
    for present in host.vlans(port.ifindex):
        if present not in target:
            host.delete_vlan(port.ifindex, present.vid)
    for vlan in target:
        host.add_vlan(port.ifindex, vlan)


def check(options: BridgeOptions, port: Link, host: Stack) -> None:
    present = host.vlans(port.ifindex)
    for vlan in wanted(options):
        if vlan not in present:
            raise CheckFailed(f"{port.name} does not carry VLAN {vlan.vid} as configured")


def require(options: BridgeOptions, bridge: Link) -> None:
    """A kernel without CONFIG_BRIDGE_VLAN_FILTERING ignores the request silently."""
    if not bridge.vlan_filtering:
        raise KernelFeatureMissing(
            f"the bridge {options.bridge} does not filter VLANs, so vlan and vlanTrunk cannot work",
            hint="the kernel needs CONFIG_BRIDGE_VLAN_FILTERING, an existing bridge `vlan_filtering 1`",
        )


def gateway_port(options: BridgeOptions) -> str:
    """Name of the link that carries a VLAN's gateway address: `<bridge>.<vlan>`, shortened where it is too long."""
    name = f"{options.bridge}.{options.vlan}"
    return name if len(name) <= 15 else f"{digest(options.bridge)[:10]}.{options.vlan}"


def port_of_gateway(options: BridgeOptions) -> str:
    """Name of that link's other end, the port of the bridge."""
    return f"vlan{digest(gateway_port(options))[:8]}"


def ensure_gateway_port(options: BridgeOptions, bridge: Link, host: Stack) -> Link:
    """A veth pair on the host: one end a port of the VLAN, the other holds its gateway addresses."""
    name = gateway_port(options)
    link = host.link(name)
    if link is None:
        port = port_of_gateway(options)
        try:
            host.add_veth(port, peer=name, peer_stack=host, mtu=options.mtu, master=bridge.ifindex)
        except KernelError as error:
            if error.errno != errno.EEXIST:
                raise
        end = host.link(port)
        if end is not None:
            tag(options._replace(trunk=(), keep_default_vlan=False), end, host)
            host.set_link(end.ifindex, up=True)
        link = host.link(name)
        if link is None:
            raise KernelError(f"the gateway link {name} vanished while it was being set up", errno.ENODEV)
    if not link.up:
        host.set_link(link.ifindex, up=True)
    return link
