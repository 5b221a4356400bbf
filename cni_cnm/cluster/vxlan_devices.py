"""The VXLAN devices of this host's overlay networks: made, changed in place where the kernel allows it, removed."""

from __future__ import annotations

from cni_cnm.cluster.underlay import ALIAS
from cni_cnm.errors import CnmError, Conflict
from cni_cnm.kernel.contract.overlay_stack import Vxlan
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cluster.underlay import Device
    from cni_cnm.kernel import Link
    from cni_cnm.kernel.contract.overlay_stack import OverlayStack

KIND = "vxlan"


class Ensured(NamedTuple):
    """What became of the wanted devices."""

    indexes: Mapping[str, int]
    """Of those that are up, by name."""
    broken: Mapping[str, str]
    """By network, why its device is not there."""
    changes: int


def is_ours(link: Link) -> bool:
    return link.kind == KIND and link.alias.startswith(ALIAS)


def ensure(stack: OverlayStack, wanted: Sequence[Device], links: Mapping[str, Link], *, keep: bool = False) -> Ensured:
    """Make the devices what is wanted, and remove ours that are not, unless they are to be kept.

    `links` are all of the host, by name.
    """
    indexes: dict[str, int] = {}
    broken: dict[str, str] = {}
    changes = 0
    names = {device.name for device in wanted}
    with stack.deleting():
        for link in links.values():
            if is_ours(link) and link.name not in names and not keep:
                stack.delete_link(link.ifindex)
                changes += 1
    for device in wanted:
        try:
            found = _existing(stack, device, links.get(device.name))
            link, changed = found or (_made(stack, device), True)
            changed = _adjust(stack, device, link) or changed
        except CnmError as error:
            broken[device.network] = str(error)
            continue
        indexes[device.name] = link.ifindex
        changes += changed
    return Ensured(indexes, broken, changes)


def _existing(stack: OverlayStack, device: Device, link: Link | None) -> tuple[Link, bool] | None:
    """The link, if it can become what is wanted, and whether it was changed. One of ours that cannot is deleted."""
    if link is None:
        return None
    # One with this host's own MAC and no alias was made here by a process that was killed then.
    if not is_ours(link) and (link.kind, link.mac, link.alias) != (KIND, device.mac, ""):
        raise Conflict(f"the link {device.name} is not cni-cnm's", hint=f"delete it: `ip link delete {device.name}`")
    there = stack.vxlan(link.ifindex)
    if there is None:
        return None
    same_version = there.local is not None and there.local.version == device.local.version
    if (there.vni, there.port, there.learning) == (device.vni, device.port, False) and same_version:
        moved = there.local != device.local
        if moved:
            stack.set_vxlan_local(link.ifindex, device.local)
        return link, moved
    stack.delete_link(link.ifindex)
    return None


def _made(stack: OverlayStack, device: Device) -> Link:
    vxlan = Vxlan(device.vni, device.port, device.local)
    stack.add_vxlan(device.name, vxlan, mac=device.mac, mtu=device.mtu)
    link = stack.link(device.name)
    if link is None:
        raise Conflict(f"the VXLAN device {device.name} was deleted as soon as it was made")
    conf = f"net/ipv6/conf/{device.name}"
    # Without link-local addresses it announces nothing: it has no neighbour that could hear it.
    values = [(f"{conf}/disable_ipv6", "0"), (f"{conf}/addr_gen_mode", "1")]
    stack.set_sysctls([*values, (f"net/ipv4/conf/{device.name}/forwarding", "1")], tolerate=True)
    return link


def _adjust(stack: OverlayStack, device: Device, link: Link) -> bool:
    """Whether anything was changed: MAC, MTU, alias, and that it is up."""
    pairs = {"mac": (link.mac, device.mac), "mtu": (link.mtu, device.mtu), "alias": (link.alias, device.alias)}
    changes = {name: wanted for name, (there, wanted) in pairs.items() if there != wanted}
    if not changes and link.up:
        return False
    stack.set_link(link.ifindex, up=True, **changes)  # type: ignore[arg-type]
    return True
