"""Flags of bridge ports, and the VLANs of ports and bridges. Loaded where a network asks for one of these."""

from __future__ import annotations

from errno import ENODEV, EOPNOTSUPP

from cni_cnm.errors import KernelError
from cni_cnm.kernel.contract.link import Port, Vlan
from cni_cnm.kernel.netlink.header import RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK
from cni_cnm.kernel.rtnetlink import links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.rtnetlink.connection import Connection

VLAN_FILTERING = "bridge VLAN filtering"


def set_port(connection: Connection, index: int, port: Port, group: int | None) -> None:
    request = links.port_change(index, port, group)
    connection.write(request, RTM_NEWLINK, f"setting the bridge port {connection.name(index)}")


def port(connection: Connection, index: int) -> Port:
    """KernelError with ENODEV if there is no such link, with EOPNOTSUPP if it is no port of a bridge."""
    name = connection.name(index)
    found = connection.socket.ask(links.query(index), RTM_GETLINK, f"looking for {name}{connection.place}")
    if found is None:
        raise KernelError(f"there is no {name}", ENODEV)
    flags = links.port(*found)
    if flags is None:
        raise KernelError(f"{name} is no port of a bridge", EOPNOTSUPP)
    return flags


def vlans(connection: Connection, index: int) -> list[Vlan]:
    """The kernel lists those of all links: it has no filter by link for them."""
    sentence = f"listing the VLANs of {connection.name(index)}"
    listed = connection.socket.dump(links.vlan_query(), RTM_GETLINK, sentence, links.vlans)
    return [vlan for link, vlans in listed if link == index for vlan in vlans]


def add_vlan(connection: Connection, index: int, vlan: Vlan) -> None:
    _change(connection, index, vlan, RTM_SETLINK, f"adding the VLAN {vlan.vid} to {connection.name(index)}")


def delete_vlan(connection: Connection, index: int, vid: int) -> None:
    _change(connection, index, Vlan(vid), RTM_DELLINK, f"deleting the VLAN {vid} of {connection.name(index)}")


def _change(connection: Connection, index: int, vlan: Vlan, kind: int, sentence: str) -> None:
    link = connection.link_at(index)
    request = links.vlan_change(index, vlan, on_bridge=link is not None and link.kind == "bridge")
    connection.write(request, kind, sentence, feature=VLAN_FILTERING)
