"""A device that others made on the host: into the sandbox, and back, as libnetwork does for its plugins."""

from __future__ import annotations

import errno

from cni_cnm.cnm.interface import configure_interface
from cni_cnm.errors import Conflict, DriverFailed, KernelError
from cni_cnm.model import Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel import Stack


def into(stack: Stack, host: Stack, source: str, wanted: Interface) -> tuple[Interface, int]:
    """The link `source` of the host, in the sandbox under its final name and, if one is given, with its MAC; its index
    there."""
    link = host.link(source)
    if link is None:
        raise DriverFailed(
            f"the link {source} is to be moved into the container, and the host has none of that name",
            hint="the driver's plugin named it; see the plugin's own log",
        )
    try:
        host.move_link(link.ifindex, stack, name=wanted.name)
    except KernelError as error:
        if error.errno == errno.EEXIST:
            raise Conflict(f"the container has an interface {wanted.name} already") from error
        raise
    moved = configure_interface.require_link(stack, wanted.name)
    if wanted.mac and wanted.mac != moved.mac:
        stack.set_link(moved.ifindex, mac=wanted.mac)
    return wanted._replace(mac=wanted.mac or moved.mac, mtu=moved.mtu), moved.ifindex


def back(stack: Stack, host: Stack, ifname: str, source: str) -> None:
    """Down, and on the host again under the name it had there. Gone is done."""
    link = stack.link(ifname) if ifname else None
    if link is None:
        return
    try:
        stack.set_link(link.ifindex, up=False)
        stack.move_link(link.ifindex, host, name=source)
    except KernelError as error:
        if error.errno == errno.EEXIST:  # that name is another link's by now, and a container's link cannot stay
            stack.delete_link(link.ifindex)
        elif error.errno != errno.ENODEV:
            raise
