"""`OverlayStack` in memory: VXLAN devices, neighbours and forwarding entries, with the errors of the kernel."""

from __future__ import annotations

import errno

from cni_cnm.kernel.contract.overlay_stack import FdbEntry, Neighbour, Vxlan
from cni_cnm.kernel.rtnetlink.batch import Attempts
from tests.memory_kernel.space import Device, refuse, require_valid
from tests.memory_kernel.stack import MemoryStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.model import IPAddress


class MemoryOverlayStack(MemoryStack):
    """Neighbours that the kernel finds by itself do not exist here: no packet flows."""

    netlink_port = 0

    def attempting(self) -> Attempts:
        return Attempts(self)

    # VXLAN devices ---------------------------------------------------------
    def add_vxlan(self, name: str, vxlan: Vxlan, *, mac: str = "", mtu: int = 0) -> None:
        def add() -> None:
            self.space.require_free(name)
            require_valid(name, mac, mtu)
            if not 0 <= vxlan.vni < 1 << 24:
                refuse(errno.ERANGE, f"the VNI {vxlan.vni}")
            others = [device.vxlan for device in self.space.devices.values() if device.vxlan is not None]
            if any((one.vni, one.port) == (vxlan.vni, vxlan.port) for one in others):
                refuse(errno.EEXIST, f"the VXLAN device {name}")
            made = self.space.add(name, mac=mac or self._machine.next_mac(), mtu=mtu or 1500, kind="vxlan")
            made.vxlan = vxlan

        self._write(add)

    def vxlan(self, index: int) -> Vxlan | None:
        self.flush()
        device = self.space.devices.get(index)
        return device.vxlan if device is not None else None

    def set_vxlan_local(self, index: int, local: IPAddress) -> None:
        def change() -> None:
            device = self._device(index)
            there = device.vxlan
            assert there is not None
            if there.local is None or there.local.version != local.version:
                refuse(errno.EOPNOTSUPP, f"the source address {local} of {device.link.name}")
            device.vxlan = there._replace(local=local)

        self._write(change)

    # neighbours ------------------------------------------------------------
    def neighbours(self, link: int) -> Sequence[Neighbour]:
        self.flush()
        device = self.space.devices.get(link)
        return list(device.neighbours.values()) if device is not None else []

    def neighbour(self, link: int, address: IPAddress) -> Neighbour | None:
        self.flush()
        return self.space.device(link).neighbours.get(address)

    def add_neighbour(self, entry: Neighbour, *, replace: bool = False) -> None:
        def add() -> None:
            device = self.space.device(entry.link)
            if not device.link.up:
                refuse(errno.EINVAL, f"the neighbour {entry.address} on {device.link.name}")
            if entry.address in device.neighbours and not replace:
                refuse(errno.EEXIST, f"the neighbour {entry.address} on {device.link.name}")
            old = device.neighbours.get(entry.address)
            protocol = entry.protocol or (old.protocol if old is not None else 0)
            device.neighbours[entry.address] = entry._replace(protocol=protocol)

        self._write(add)

    def delete_neighbour(self, link: int, address: IPAddress) -> None:
        def delete() -> None:
            if self.space.device(link).neighbours.pop(address, None) is None:
                refuse(errno.ENOENT, f"the neighbour {address}")

        self._write(delete)

    # forwarding entries ----------------------------------------------------
    def fdb(self, link: int) -> Sequence[FdbEntry]:
        self.flush()
        device = self.space.devices.get(link)
        return list(device.fdb.values()) if device is not None else []

    def fdb_entry(self, link: int, mac: str) -> FdbEntry | None:
        self.flush()
        return self._device(link).fdb.get(mac)

    def add_fdb_entry(self, entry: FdbEntry, *, replace: bool = False) -> None:
        def add() -> None:
            fdb = self._device(entry.link).fdb
            if entry.mac in fdb and not replace:
                refuse(errno.EEXIST, f"the forwarding entry of {entry.mac}")
            old = fdb.get(entry.mac)
            fdb[entry.mac] = entry._replace(external=entry.external and (old is None or old.external))

        self._write(add)

    def delete_fdb_entry(self, entry: FdbEntry) -> None:
        def delete() -> None:
            fdb = self._device(entry.link).fdb
            if entry.mac not in fdb:
                refuse(errno.ENOENT, f"the forwarding entry of {entry.mac}")
            if fdb[entry.mac].to == entry.to:
                del fdb[entry.mac]

        self._write(delete)

    def _device(self, index: int) -> Device:
        device = self.space.device(index)
        return device if device.vxlan is not None else refuse(errno.EOPNOTSUPP, device.link.name)
