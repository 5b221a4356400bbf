"""Moves a link of the host into the sandbox, and back, as libnetwork does for what its plugins make."""

from __future__ import annotations

import errno

from cni_cnm.cnm.interface import configure_interface
from cni_cnm.errors import Conflict, DriverFailed, KernelError
from cni_cnm.model import Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel import Stack


def into(stack: Stack, host_stack: Stack, source: str, interface: Interface) -> tuple[Interface, int]:
    """Move the host's link `source` into the sandbox, under the name and, if it has one, the MAC of `interface`.

    Returns the interface as it is in the sandbox, and its index there. Conflict if the name is taken.
    """
    link = host_stack.link(source)
    if link is None:
        raise DriverFailed(
            f"the link {source} is to be moved into the container, and the host has none of that name",
            hint="the driver's plugin named it; see the plugin's own log",
        )
    try:
        host_stack.move_link(link.ifindex, stack, name=interface.name)
    except KernelError as error:
        if error.errno == errno.EEXIST:
            raise Conflict(f"the container has an interface {interface.name} already") from error
        raise
    moved = configure_interface.require_link(stack, interface.name)
    if interface.mac and interface.mac != moved.mac:
        stack.set_link(moved.ifindex, mac=interface.mac)
    return interface._replace(mac=interface.mac or moved.mac, mtu=moved.mtu), moved.ifindex


def back(stack: Stack, host_stack: Stack, ifname: str, source: str, index: int, *, keep: bool = False) -> None:
    """Set the link down and move it to the host, under the name it had there. No error if it is gone.

    `index` is the link's in the sandbox, 0 if not known: then it was never moved, if the host has it. Another link on
    the host may have that name by now: this one is deleted then, or with `keep` moved as `devINDEX`, as the kernel does
    when a namespace ends.
    """
    link = stack.link(ifname) if ifname else None
    if link is None or (index and link.ifindex != index) or (not index and host_stack.link(source) is not None):
        return
    try:
        stack.set_link(link.ifindex, up=False)
        stack.move_link(link.ifindex, host_stack, name=source)
    except KernelError as error:
        if error.errno == errno.EEXIST and keep:
            stack.move_link(link.ifindex, host_stack, name=f"dev{link.ifindex}")
        elif error.errno == errno.EEXIST:  # the link must not stay in the container
            stack.delete_link(link.ifindex)
        elif error.errno != errno.ENODEV:
            raise
