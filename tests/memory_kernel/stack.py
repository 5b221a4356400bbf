"""`Stack` in memory: the verbs of one namespace, with the errors of the kernel."""

from __future__ import annotations

import errno
from typing import Any

from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel import token_bucket
from cni_cnm.kernel.contract.route import MAIN, completed
from cni_cnm.kernel.rtnetlink.batch import Batch, Deleting
from tests.memory_kernel.machine import Machine
from tests.memory_kernel.parent_links import place
from tests.memory_kernel.space import Device, Space, delete, refuse, require_valid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cni_cnm.kernel import Hardware, Link, Port, PortState, Rate, RouteEntry, RoutingRule, Stack, Vlan
    from cni_cnm.kernel.contract.link import Bucket
    from cni_cnm.model import IPAddress, IPInterface


class MemoryStack:
    def __init__(self, machine: Machine, space: Space, path: str) -> None:
        self.path = path
        self.space = space
        self._machine = machine
        self._queue: list[Callable[[], None]] = []
        self._depth = 0
        self.deletions: list[int] | None = None
        self.failures: list[Exception] | None = None

    def __enter__(self) -> MemoryStack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._queue.clear()

    def batch(self) -> Batch:
        return Batch(self)

    def cookie(self) -> int:
        return self.space.inode

    def inode(self) -> int:
        return self.space.inode

    # links -----------------------------------------------------------------
    def link(self, name: str) -> Link | None:
        self.flush()
        device = self.space.named(name)
        return _shown(device) if device is not None else None

    def link_at(self, index: int) -> Link | None:
        self.flush()
        device = self.space.devices.get(index)
        return _shown(device) if device is not None else None

    def index_of(self, name: str) -> int:
        link = self.link(name)
        return link.ifindex if link is not None else 0

    def links(self, *, master: int = 0, kind: str = "") -> Sequence[Link]:
        self.flush()
        devices = self.space.ports(master) if master else self.space.devices.values()
        return [_shown(device) for device in devices if kind in ("", device.link.kind)]

    def links_and_ports(self) -> Sequence[tuple[Link, Port | None]]:
        return [(link, self.port(link.ifindex) if self._on_bridge(link) else None) for link in self.links()]

    def _on_bridge(self, link: Link) -> bool:
        master = self.link_at(link.master) if link.master else None
        return master is not None and master.kind == "bridge"

    def port_count(self, bridge: str) -> int:
        link = self.link(bridge)
        return len(self.links(master=link.ifindex)) if link is not None and link.kind == "bridge" else 0

    def add_bridge(
        self, name: str, *, mac: str, mtu: int = 0, vlan_filtering: bool = False, ip_hooks: bool = False
    ) -> None:
        def add() -> None:
            self.space.require_free(name)
            if vlan_filtering and not self._machine.vlan_filtering:
                raise KernelFeatureMissing(f"the bridge {name}: this kernel has no bridge VLAN filtering")
            require_valid(name, mac, mtu)
            address = mac or self._machine.next_mac()
            device = self.space.add(name, mac=address, mtu=mtu or 1500, kind="bridge", vlan_filtering=vlan_filtering)
            device.link = device.link._replace(ip_hooks=ip_hooks)

        self._write(add)

    def add_veth(
        self,
        name: str,
        *,
        peer: str,
        peer_stack: Stack,
        mtu: int = 0,
        mac: str = "",
        peer_mac: str = "",
        master: int = 0,
        up: bool = False,
    ) -> Link | None:
        there = _memory_stack(peer_stack).space

        def add() -> None:
            self.space.require_free(name)
            there.require_free(peer)
            if there is self.space and name == peer:
                refuse(errno.EEXIST, f"the link {peer}")
            require_valid(name, mac, mtu)
            require_valid(peer, peer_mac, mtu)
            fresh = self._machine.next_mac
            other = there.add(peer, mac=peer_mac or fresh(), mtu=mtu or 1500, kind="veth")
            this = self.space.add(name, mac=mac or fresh(), mtu=mtu or 1500, kind="veth")
            this.other_end, other.other_end = other, this
            if up:
                self.space.up(this)
            if master:
                try:
                    self.space.enslave(this, master)
                except KernelError:
                    delete(this)
                    raise

        batched = self._depth > 0
        self._write(add)
        return None if batched else self.link(name)

    def add_macvlan(
        self,
        name: str,
        parent: int,
        *,
        mode: str,
        to: Stack,
        mac: str = "",
        mtu: int = 0,
        bc_queue: int = 0,
    ) -> None:
        self._add_on_parent("macvlan", name, parent, to=to, mac=mac, mtu=mtu, mode=mode)

    def add_ipvlan(self, name: str, parent: int, *, mode: str, flag: str = "bridge", to: Stack, mtu: int = 0) -> None:
        self._add_on_parent("ipvlan", name, parent, to=to, mtu=mtu, mode=mode, flag=flag)

    def add_vlan_link(self, name: str, parent: int, vid: int, *, mtu: int = 0) -> None:
        self._add_on_parent("vlan", name, parent, to=self, mtu=mtu, vid=vid)

    def _add_on_parent(
        self,
        kind: str,
        name: str,
        parent: int,
        *,
        to: Stack,
        mac: str = "",
        mtu: int = 0,
        mode: str = "",
        flag: str = "",
        vid: int = 0,
    ) -> None:
        there = _memory_stack(to).space

        def add() -> None:
            if kind in self._machine.missing:
                raise KernelFeatureMissing(
                    f"adding the {kind} {name} failed: this kernel has no {kind} driver", hint="`modprobe` loads it"
                )
            there.require_free(name)
            require_valid(name, mac, mtu)
            lower = self.space.device(parent)
            place(lower, there, name, kind, mac or self._machine.next_mac(), mtu, mode, flag, vid)

        self._write(add)

    def set_link(
        self,
        index: int,
        *,
        up: bool | None = None,
        name: str | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        master: int | None = None,
        promisc: bool | None = None,
        allmulti: bool | None = None,
        txqlen: int | None = None,
        group: int | None = None,
        alias: str | None = None,
        arp_notify: bool | None = None,
    ) -> None:
        plain = {"promisc": promisc, "allmulti": allmulti, "txqlen": txqlen, "group": group, "alias": alias}
        given: dict[str, Any] = {key: value for key, value in plain.items() if value is not None}

        def change() -> None:
            device = self.space.device(index)
            require_valid(device.link.name, mac or "", mtu or 0)
            if name is not None and name != device.link.name:
                self.space.require_free(name)
                self.space.rename(device, name)
            if master == 0:
                self.space.release(device)
            elif master is not None:
                self.space.enslave(device, master)
            sizes = {"mac": mac.lower() if mac else None, "mtu": mtu}
            given.update((key, value) for key, value in sizes.items() if value is not None)
            device.link = device.link._replace(**given)
            if arp_notify is not None:
                self.space.sysctls[f"net/ipv4/conf/{device.link.name}/arp_notify"] = str(int(arp_notify))
            for upper in device.uppers if mtu is not None else ():
                upper.link = upper.link._replace(mtu=min(upper.link.mtu, mtu or 0))
            if up is not None:
                (self.space.up if up else self.space.down)(device)

        self._write(change)

    def move_link(self, index: int, to: Stack, *, name: str = "") -> None:
        there = _memory_stack(to).space

        def move() -> None:
            device = self.space.device(index)
            if device.link.kind == "bridge" or device.link.name == "lo":
                refuse(errno.EINVAL, device.link.name)
            if there is self.space and name in ("", device.link.name):
                return
            there.require_free(name or device.link.name)
            self.space.remove(device)
            there.adopt(device, name or device.link.name)

        self._write(move)

    def hardware(self, folder: str) -> Hardware | None:
        return self.space.hardware.get(folder)

    def delete_link(self, index: int) -> None:
        if self.deletions is None:
            self.delete_links([index])
        else:
            self.deletions.append(index)

    def deleting(self) -> Deleting:
        return Deleting(self)

    def delete_links(self, indexes: Sequence[int]) -> None:
        self.flush()
        found = [device for index in indexes if (device := self.space.devices.get(index)) is not None]
        for device in found:
            if device.link.name != "lo":
                delete(device)
        if any(device.link.name == "lo" for device in found):
            refuse(errno.EOPNOTSUPP, "lo")

    # bridge ports ----------------------------------------------------------
    def set_port(self, index: int, port: Port, *, group: int | None = None) -> None:
        def change() -> None:
            device = self._port(index)
            device.port = port
            if group is not None:
                device.link = device.link._replace(group=group)

        self._write(change)

    def port(self, index: int) -> Port:
        self.flush()
        return self._port(index).port

    def port_state(self, name: str) -> PortState | None:
        self.flush()
        device = self.space.named(name)
        if device is None or not device.link.master:
            return None
        if not device.link.up:
            return "disabled"
        return "forwarding" if device.other_end is None or device.other_end.link.up else "disabled"

    def vlans(self, index: int) -> Sequence[Vlan]:
        self.flush()
        device = self.space.devices.get(index)
        return list(device.vlans) if device is not None and self._machine.vlan_filtering else []

    def add_vlan(self, index: int, vlan: Vlan) -> None:
        def add() -> None:
            device = self._vlan_device(index)
            if not 0 < vlan.vid < 4095:
                refuse(errno.EINVAL, f"the VLAN {vlan.vid}")
            others = [old for old in device.vlans if old.vid != vlan.vid]
            if vlan.pvid:
                others = [old._replace(pvid=False) for old in others]
            device.vlans = sorted([*others, vlan])

        self._write(add)

    def delete_vlan(self, index: int, vid: int) -> None:
        def delete() -> None:
            device = self._vlan_device(index)
            if all(vlan.vid != vid for vlan in device.vlans):
                refuse(errno.ENOENT, f"the VLAN {vid}")
            device.vlans = [vlan for vlan in device.vlans if vlan.vid != vid]

        self._write(delete)

    # traffic control -------------------------------------------------------
    def add_ifb(self, name: str, *, mtu: int = 0) -> Link | None:
        def add() -> None:
            self.space.require_free(name)
            require_valid(name, "", mtu)
            self.space.up(self.space.add(name, mac=self._machine.next_mac(), mtu=mtu or 1500, kind="ifb"))

        batched = self._depth > 0
        self._write(add)
        return None if batched else self.link(name)

    def set_rate(self, index: int, rate: Rate | None, *, mtu: int = 0) -> None:
        self.flush()
        device = self.space.device(index)
        if rate is None and device.bucket is None:
            refuse(errno.ENOENT, f"the rate limit of {device.link.name}")
        device.bucket = token_bucket.bucket(rate, mtu or device.link.mtu) if rate is not None else None

    def rate(self, index: int) -> Rate | None:
        found = self.bucket(index)
        return token_bucket.rate(found) if found is not None else None

    def set_bucket(self, index: int, bucket: Bucket) -> None:
        self.flush()
        self.space.device(index).bucket = bucket

    def bucket(self, index: int) -> Bucket | None:
        self.flush()
        device = self.space.devices.get(index)
        return device.bucket if device is not None else None

    def redirect_ingress(self, index: int, to: int) -> None:
        self.flush()
        device = self.space.device(index)
        if bool(to) is bool(device.redirect):
            refuse(errno.EEXIST if to else errno.ENOENT, f"the redirection of {device.link.name}")
        device.redirect = self.space.device(to) if to else None

    def redirected(self, index: int) -> int:
        self.flush()
        device = self.space.devices.get(index)
        target = device.redirect if device is not None else None
        return target.link.ifindex if target is not None and target in self.space.devices.values() else 0

    # addresses and routes --------------------------------------------------
    def addresses(self, index: int) -> Sequence[IPInterface]:
        self.flush()
        return list(self.space.device(index).addresses)

    def all_addresses(self, versions: Collection[int] = (4, 6)) -> Sequence[tuple[int, IPInterface]]:
        self.flush()
        every = [(index, address) for index, device in self.space.devices.items() for address in device.addresses]
        return [(index, address) for index, address in every if address.version in versions]

    def local_addresses(self, versions: Collection[int]) -> Sequence[tuple[int, IPAddress]]:
        return [(index, address.ip) for index, address in self.all_addresses(versions)]

    def tentative(self, index: int) -> bool:
        self.flush()
        return self.space.device(index).tentative

    def add_address(self, index: int, address: IPInterface, *, dad: bool = False, prefix_route: bool = True) -> None:
        self._write(lambda: self.space.add_address(self.space.device(index), address, prefix_route))

    def delete_address(self, index: int, address: IPInterface) -> None:
        self._write(lambda: self.space.delete_address(self.space.device(index), address))

    def routes(
        self,
        *,
        link: int = 0,
        table: int | None = None,
        versions: Collection[int] = (4, 6),
        protocol: int = 0,
        kind: str = "",
    ) -> Sequence[RouteEntry]:
        self.flush()
        wanted = None if table in (None, 0, MAIN) else table
        there = [r for r in self.space.routes if r.table == wanted and link in (0, r.link)]
        there = [r for r in there if (r.protocol == protocol if protocol else r.kind == kind)]
        return [r for r in there if r.dst.version in versions]

    def route_link(self, address: IPAddress) -> int:
        self.flush()
        ways = [route for route in self.space.routes if route.table is None and address in route.dst]
        best = max(ways, key=lambda route: (route.dst.prefixlen, -(route.priority or 0)), default=None)
        return best.link if best else 0

    def add_route(self, route: RouteEntry, *, append: bool = False) -> None:
        self._write(lambda: self.space.add_route(completed(route), append=append))

    def delete_route(self, route: RouteEntry) -> None:
        self._write(lambda: self.space.delete_route(completed(route), any_priority=not route.priority))

    def rules(self) -> Sequence[RoutingRule]:
        self.flush()
        return list(self.space.rules)

    def add_rule(self, rule: RoutingRule) -> None:
        self._write(lambda: self.space.rules.insert(0, rule))

    def delete_rule(self, rule: RoutingRule) -> None:
        def delete() -> None:
            if rule not in self.space.rules:
                refuse(errno.ENOENT, f"the rule from {rule.source}")
            self.space.rules.remove(rule)

        self._write(delete)

    # /proc/sys/net ---------------------------------------------------------
    def sysctl(self, key: str) -> str | None:
        self.flush()
        return self.space.sysctls.get(key)

    def set_sysctls(self, values: Sequence[tuple[str, str]], *, tolerate: bool = False) -> None:
        self.flush()
        for key, value in values:
            known = self.space.sysctls.get(key)
            if known is not None and known.split() == value.split():
                continue
            if known is not None:
                self.space.sysctls[key] = value
            elif not tolerate:
                refuse(errno.ENOENT, f"the sysctl {key} cannot be set to {value!r}")

    def begin(self) -> int:
        self._depth += 1
        return len(self._queue)

    def end(self, keep: int | None) -> None:
        self._depth -= 1
        if keep is not None:
            del self._queue[keep:]
        if not self._depth:
            self.flush()

    def flush(self) -> None:
        queue, self._queue = self._queue, []
        failures: list[Exception] = []
        for action in queue:
            try:
                action()
            except (KernelError, KernelFeatureMissing) as error:
                failures.append(error)
        if failures and self.failures is not None:
            self.failures += failures
        elif failures:
            raise failures[0]

    def _write(self, action: Callable[[], None]) -> None:
        self._queue.append(action)
        if not self._depth:
            self.flush()

    def _port(self, index: int) -> Device:
        device = self.space.device(index)
        return device if device.link.master else refuse(errno.EOPNOTSUPP, device.link.name)

    def _vlan_device(self, index: int) -> Device:
        device = self.space.device(index)
        if not self._machine.vlan_filtering or not (device.link.master or device.link.kind == "bridge"):
            raise KernelFeatureMissing(f"{device.link.name}: this kernel has no bridge VLAN filtering")
        return device


def _shown(device: Device) -> Link:
    peer = device.other_end or device.lower
    return device.link._replace(peer=peer.link.ifindex) if peer is not None else device.link


def _memory_stack(stack: Stack) -> MemoryStack:
    if not isinstance(stack, MemoryStack):
        raise TypeError(f"a link cannot cross from memory to {type(stack).__name__}")
    return stack
