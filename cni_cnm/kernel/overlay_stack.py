"""The real `OverlayStack`: VXLAN devices, neighbours and forwarding entries, by the connection of a `KernelStack`."""

from __future__ import annotations

from errno import ENODEV, ENOENT

from cni_cnm.errors import KernelError
from cni_cnm.kernel.netlink.header import (
    CREATE_NEW,
    CREATE_OR_REPLACE,
    RTM_DELNEIGH,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
)
from cni_cnm.kernel.netlink.netlink_socket import Later
from cni_cnm.kernel.rtnetlink import links, neighbours, vxlan
from cni_cnm.kernel.rtnetlink.batch import Attempts
from cni_cnm.kernel.stack import KernelStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.kernel.contract.overlay_stack import FdbEntry, Neighbour, Vxlan
    from cni_cnm.model import IPAddress


class KernelOverlayStack(KernelStack):
    """Made as a `KernelStack`."""

    @property
    def netlink_port(self) -> int:
        """Of its socket: notifications name it as the cause of this stack's changes."""
        return self.connection.socket.port

    def attempting(self) -> Attempts:
        return Attempts(self.connection.socket)

    # VXLAN devices ---------------------------------------------------------
    def add_vxlan(self, name: str, vxlan_: Vxlan, *, mac: str = "", mtu: int = 0) -> None:
        request = vxlan.created(name, vxlan_, mac, mtu)
        sentence = f"adding the VXLAN device {name}{self.place}"
        self.connection.socket.write(request, RTM_NEWLINK, sentence, flags=CREATE_NEW, feature="VXLAN driver")

    def vxlan(self, index: int) -> Vxlan | None:
        sentence = f"looking for {self.connection.name(index)}{self.place}"
        found = self.connection.socket.ask(links.query(index), RTM_GETLINK, sentence) if index > 0 else None
        return vxlan.read(*found) if found is not None else None

    def set_vxlan_local(self, index: int, local: IPAddress) -> None:
        there = self.vxlan(index)
        name = self.connection.name(index)
        if there is None:
            raise KernelError(f"there is no VXLAN device {name}{self.place}", ENODEV)
        request = vxlan.moved(index, there.vni, local)
        self.connection.write(request, RTM_NEWLINK, f"setting the source address {local} of {name}")

    # neighbours ------------------------------------------------------------
    def neighbours(self, link: int) -> Sequence[Neighbour]:
        sentence = f"listing the neighbours on {self.connection.name(link)}{self.place}"
        query = neighbours.neighbour_query(link)
        listed = self.connection.socket.dump(query, RTM_GETNEIGH, sentence, neighbours.read_neighbour)
        return [entry for entry in listed if entry is not None]

    def neighbour(self, link: int, address: IPAddress) -> Neighbour | None:
        found = self._ask(neighbours.named_neighbour(link, address), f"looking for the neighbour {address}")
        return neighbours.read_neighbour(*found) if found is not None else None

    def add_neighbour(self, entry: Neighbour, *, replace: bool = False) -> None:
        sentence = Later(lambda: f"adding the neighbour {entry.address} on {self.connection.name(entry.link)}")
        flags = CREATE_OR_REPLACE if replace else CREATE_NEW
        self.connection.write(neighbours.neighbour(entry), RTM_NEWNEIGH, sentence, flags=flags)

    def delete_neighbour(self, link: int, address: IPAddress) -> None:
        sentence = f"deleting the neighbour {address} on {self.connection.name(link)}"
        self.connection.write(neighbours.named_neighbour(link, address), RTM_DELNEIGH, sentence)

    # forwarding entries ----------------------------------------------------
    def fdb(self, link: int) -> Sequence[FdbEntry]:
        sentence = f"listing the forwarding entries of {self.connection.name(link)}{self.place}"
        return self.connection.socket.dump(
            neighbours.fdb_query(link), RTM_GETNEIGH, sentence, neighbours.read_fdb_entry
        )

    def fdb_entry(self, link: int, mac: str) -> FdbEntry | None:
        found = self._ask(neighbours.named_fdb_entry(link, mac), f"looking for the forwarding entry of {mac}")
        return neighbours.read_fdb_entry(*found) if found is not None else None

    def add_fdb_entry(self, entry: FdbEntry, *, replace: bool = False) -> None:
        sentence = Later(lambda: f"adding {self._entry_name(entry)}")
        flags = CREATE_OR_REPLACE if replace else CREATE_NEW
        self.connection.write(neighbours.fdb_entry(entry), RTM_NEWNEIGH, sentence, flags=flags)

    def delete_fdb_entry(self, entry: FdbEntry) -> None:
        self.connection.write(neighbours.fdb_entry(entry), RTM_DELNEIGH, f"deleting {self._entry_name(entry)}")

    def _entry_name(self, entry: FdbEntry) -> str:
        return f"the forwarding entry of {entry.mac} to {entry.to} on {self.connection.name(entry.link)}"

    def _ask(self, body: bytes, sentence: str) -> tuple[bytes, int] | None:
        try:
            return self.connection.socket.ask(body, RTM_GETNEIGH, f"{sentence}{self.place}")
        except KernelError as error:
            if error.errno != ENOENT:
                raise
            return None
