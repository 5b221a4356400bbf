"""The real Stack: verbs of one network namespace, by rtnetlink and /proc/sys/net."""

from __future__ import annotations

import os
from errno import EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH, ENODEV, ENOENT, EOPNOTSUPP, ERANGE

from cni_cnm.bases import TypeVar
from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel import sysctl
from cni_cnm.kernel.netlink.header import (
    APPEND,
    CREATE_NEW,
    RTM_DELADDR,
    RTM_DELROUTE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTM_SETLINK,
)
from cni_cnm.kernel.netlink.netlink_socket import Later
from cni_cnm.kernel.rtnetlink import addresses, link_deletion, link_ioctls, links, routes
from cni_cnm.kernel.rtnetlink.batch import Batch, Deleting
from cni_cnm.kernel.rtnetlink.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cni_cnm.kernel.contract.link import Bucket, Hardware, Link, Port, PortState, Rate, Vlan
    from cni_cnm.kernel.contract.route import RouteEntry, RoutingRule
    from cni_cnm.kernel.contract.stack import Stack
    from cni_cnm.model import IPAddress, IPInterface

T = TypeVar("T")

VLAN_FILTERING = "bridge VLAN filtering"
_UNREACHABLE = (ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL, EOPNOTSUPP)
"""No route, or one that is unreachable, prohibit or blackhole; no such family."""
MODULES = {"macvlan": "macvlan", "ipvlan": "ipvlan", "vlan": "8021q"}
"""Kinds of links on a parent link, and the kernel module of each."""


class KernelStack:
    """Owns the descriptor `fd` of its namespace. `path` is how that was named, "" for the host's."""

    def __init__(self, fd: int, path: str, connection: Connection | None = None) -> None:
        """`connection` given: one of another kind for the same descriptor."""
        self.path = path
        self.deletions: list[int] | None = None
        self.connection = connection or Connection(fd, path)
        self.place = self.connection.place

    @property
    def fd(self) -> int:
        """Descriptor of the namespace, -1 after `close`."""
        return self.connection.fd

    def __enter__(self) -> KernelStack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    def batch(self) -> Batch:
        return Batch(self.connection.socket)

    def cookie(self) -> int:
        return self.connection.socket.namespace_cookie()

    def inode(self) -> int:
        return os.fstat(self.connection.fd).st_ino

    # links -----------------------------------------------------------------
    def link(self, name: str) -> Link | None:
        if not name:
            return None
        try:
            found = self.connection.socket.ask(links.query(name=name), RTM_GETLINK, f"looking for {name}{self.place}")
        except KernelError as error:
            if error.errno != ERANGE:
                raise
            return None  # longer than a name can be
        return self.connection.read(found)

    def link_at(self, index: int) -> Link | None:
        return self.connection.link_at(index)

    def index_of(self, name: str) -> int:
        if not link_ioctls.fits(name):
            link = self.link(name)
            return link.ifindex if link is not None else 0
        self.connection.flush()
        return link_ioctls.index_of(self.connection.socket.fileno(), name)

    def links(self, *, master: int = 0, kind: str = "") -> Sequence[Link]:
        query = links.query(master=master, kind=kind)
        listed: list[Link] = self.connection.socket.dump(
            query, RTM_GETLINK, f"listing the links{self.place}", links.read
        )
        self.connection.names.update((link.ifindex, link.name) for link in listed)
        if kind:  # a kernel that does not have the kind sends all
            return [link for link in listed if link.kind == kind]
        return listed

    def links_and_ports(self) -> Sequence[tuple[Link, Port | None]]:
        listed: list[tuple[Link, Port | None]] = self.connection.socket.dump(
            links.query(), RTM_GETLINK, f"listing the links{self.place}", links.read_with_port
        )
        self.connection.names.update((link.ifindex, link.name) for link, _ in listed)
        return listed

    def add_bridge(
        self, name: str, *, mac: str, mtu: int = 0, vlan_filtering: bool = False, ip_hooks: bool = False
    ) -> None:
        request = links.bridge(name, mac, mtu, vlan_filtering, ip_hooks)
        feature = VLAN_FILTERING if vlan_filtering else "bridge driver"
        self._add_link(request, f"adding the bridge {name}", feature)
        if not vlan_filtering:
            return
        # Older kernels without the feature ignore the attribute.
        made = self.link(name)
        if made is not None and not made.vlan_filtering:
            self.delete_link(made.ifindex)
            raise KernelFeatureMissing(
                f"the bridge {name}{self.place} cannot filter VLANs: this kernel has no {VLAN_FILTERING}",
                hint="leave out the VLAN options of this network",
            )

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
        # After a failure (EXFULL: the bridge is full) the kernel has removed both ends.
        other = _kernel_stack(peer_stack)
        there = other.connection.fd
        request = links.veth(name, mac, mtu, master, peer=peer, peer_mac=peer_mac, peer_namespace=there, up=up)
        port = f" on {self.connection.name(master)}" if master else ""
        sentence = f"adding the veth {name}{port} with its peer {peer}{other.place}{self.place}"
        made = self.connection.socket.make(request, RTM_NEWLINK, sentence, flags=CREATE_NEW, feature="veth driver")
        link = self.connection.read(made)
        return link._replace(master=master) if link is not None else None  # the kernel echoes before it enslaves

    def add_macvlan(
        self, name: str, parent: int, *, mode: str, to: Stack, mac: str = "", mtu: int = 0, bc_queue: int = 0
    ) -> None:
        self._add_on_parent("macvlan", links.macvlan(mode, bc_queue), name, parent, to=to, mac=mac, mtu=mtu)

    def add_ipvlan(self, name: str, parent: int, *, mode: str, flag: str = "bridge", to: Stack, mtu: int = 0) -> None:
        self._add_on_parent("ipvlan", links.ipvlan(mode, flag), name, parent, to=to, mtu=mtu)

    def add_vlan_link(self, name: str, parent: int, vid: int, *, mtu: int = 0) -> None:
        self._add_on_parent("vlan", links.vlan(vid), name, parent, mtu=mtu)

    def _add_on_parent(
        self,
        kind: str,
        data: bytes,
        name: str,
        parent: int,
        *,
        to: Stack | None = None,
        mac: str = "",
        mtu: int = 0,
    ) -> None:
        there = _kernel_stack(to) if to is not None else self
        request = links.on_parent(
            kind, data, name, parent, mac=mac, mtu=mtu, namespace=there.connection.fd if there is not self else -1
        )
        place = there.place if there is not self else ""
        try:
            self._add_link(
                request, f"adding the {kind} {name}{place} on {self.connection.name(parent)}", f"{kind} driver"
            )
        except KernelFeatureMissing as error:
            error.hint = f"`modprobe {MODULES[kind]}` loads it where the kernel was built with it as a module"
            raise

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
        given = (
            *(("name", name), ("mac", mac), ("mtu", mtu), ("master", master), ("txqlen", txqlen), ("group", group)),
            *(("alias", alias), ("arp_notify", arp_notify), ("up", up), ("promisc", promisc), ("allmulti", allmulti)),
        )
        changes = {key: value for key, value in given if value is not None}
        said = Later(lambda: ", ".join([f"{key} {value}" for key, value in changes.items()]))
        sentence = Later(lambda: f"setting {said} of {self.connection.name(index)}")
        self.connection.write(links.change(index, changes), RTM_SETLINK, sentence)

    def move_link(self, index: int, to: Stack, *, name: str = "") -> None:
        other = _kernel_stack(to)
        before = self.link_at(index)
        sentence = f"moving {self.connection.name(index)} to {to.path or 'the host'}"
        try:
            self.connection.control(links.moved(index, other.connection.fd, name), RTM_SETLINK, sentence)
        except KernelError:
            # The kernel moves, then renames (do_setlink): refused for its name, the link is there with the old one.
            moved = other.link(before.name) if before is not None and self.link_at(index) is None else None
            if moved is not None:
                other.move_link(moved.ifindex, self)
            raise

    def hardware(self, folder: str) -> Hardware | None:
        from cni_cnm.kernel import sysfs

        return sysfs.hardware(folder)

    def delete_link(self, index: int) -> None:
        if self.deletions is None:
            self.delete_links([index])
        else:
            self.deletions.append(index)

    def deleting(self) -> Deleting:
        return Deleting(self)

    def delete_links(self, indexes: Sequence[int]) -> None:
        """Delete several links with one wait in the kernel. No error for absent ones; the first failure is raised."""
        link_deletion.delete(self.connection, indexes)

    # bridge ports ----------------------------------------------------------
    def set_port(self, index: int, port: Port, *, group: int | None = None) -> None:
        from cni_cnm.kernel.rtnetlink import bridge_ports

        bridge_ports.set_port(self.connection, index, port, group)

    def port(self, index: int) -> Port:
        from cni_cnm.kernel.rtnetlink import bridge_ports

        return bridge_ports.port(self.connection, index)

    def port_state(self, name: str) -> PortState | None:
        sentence = f"looking for the state of the bridge port {name}{self.place}"
        found = self.connection.socket.ask(links.query(name=name), RTM_GETLINK, sentence)
        return links.port_state(*found) if found is not None else None

    def port_count(self, bridge: str) -> int:
        self.connection.flush()
        return link_ioctls.port_count(self.connection.socket.fileno(), bridge)

    def vlans(self, index: int) -> Sequence[Vlan]:
        from cni_cnm.kernel.rtnetlink import bridge_ports

        return bridge_ports.vlans(self.connection, index)

    def add_vlan(self, index: int, vlan: Vlan) -> None:
        from cni_cnm.kernel.rtnetlink import bridge_ports

        bridge_ports.add_vlan(self.connection, index, vlan)

    def delete_vlan(self, index: int, vid: int) -> None:
        from cni_cnm.kernel.rtnetlink import bridge_ports

        bridge_ports.delete_vlan(self.connection, index, vid)

    # traffic control -------------------------------------------------------
    def add_ifb(self, name: str, *, mtu: int = 0) -> Link | None:
        sentence = f"adding the ifb {name}{self.place}"
        request = links.ifb(name, mtu)
        made = self.connection.socket.make(request, RTM_NEWLINK, sentence, flags=CREATE_NEW, feature="ifb driver")
        return self.connection.read(made)

    def set_rate(self, index: int, rate: Rate | None, *, mtu: int = 0) -> None:
        from cni_cnm.kernel.rtnetlink import traffic_control

        if rate is None:
            traffic_control.remove_limit(self.connection, index)
            return
        if not mtu:
            link = self.link_at(index)
            if link is None:
                raise KernelError(f"there is no {self.connection.name(index)}{self.place}", ENODEV)
            mtu = link.mtu
        traffic_control.limit(self.connection, index, rate, mtu)

    def rate(self, index: int) -> Rate | None:
        from cni_cnm.kernel.rtnetlink import traffic_control

        return traffic_control.rate(self.connection, index)

    def set_bucket(self, index: int, bucket: Bucket) -> None:
        from cni_cnm.kernel.rtnetlink import traffic_control

        traffic_control.set_bucket(self.connection, index, bucket)

    def bucket(self, index: int) -> Bucket | None:
        from cni_cnm.kernel.rtnetlink import traffic_control

        return traffic_control.bucket(self.connection, index)

    def redirect_ingress(self, index: int, to: int) -> None:
        from cni_cnm.kernel.rtnetlink import traffic_control

        if to:
            traffic_control.redirect_ingress(self.connection, index, to)
        else:
            traffic_control.remove_redirection(self.connection, index)

    def redirected(self, index: int) -> int:
        from cni_cnm.kernel.rtnetlink import traffic_control

        return traffic_control.redirected(self.connection, index)

    # addresses and routes --------------------------------------------------
    def addresses(self, index: int) -> Sequence[IPInterface]:
        return self._dump_addresses(index, addresses.read)

    def all_addresses(self, versions: Collection[int] = (4, 6)) -> Sequence[tuple[int, IPInterface]]:
        (version,) = versions if len(versions) == 1 else (0,)
        query, sentence = addresses.query(0, version), f"listing the addresses{self.place}"
        listed: list[tuple[int, IPInterface]] = self.connection.socket.dump(
            query, RTM_GETADDR, sentence, addresses.read_with_link
        )
        # A kernel without IPv6 answers with the addresses of all families.
        return [one for one in listed if one[1].version in versions]

    def local_addresses(self, versions: Collection[int]) -> Sequence[tuple[int, IPAddress]]:
        found: list[tuple[int, IPAddress]] = []
        if 4 in versions:
            sentence = f"listing the local routes{self.place}"
            listed = self.connection.socket.dump(routes.local_query(), RTM_GETROUTE, sentence, routes.read_local)
            found += [one for one in listed if one is not None]
        if 6 in versions:
            found += [(index, address.ip) for index, address in self.all_addresses({6})]
        return found

    def tentative(self, index: int) -> bool:
        return any(self._dump_addresses(index, addresses.tentative))

    def add_address(self, index: int, address: IPInterface, *, dad: bool = False, prefix_route: bool = True) -> None:
        flags = addresses.NODAD if address.version == 6 and not dad else 0
        flags |= 0 if prefix_route else addresses.NOPREFIXROUTE
        request = addresses.message(index, address, flags=flags)
        sentence = f"adding the address {address} to {self.connection.name(index)}"
        self.connection.write(request, RTM_NEWADDR, sentence, flags=CREATE_NEW)

    def delete_address(self, index: int, address: IPInterface) -> None:
        sentence = f"deleting the address {address} of {self.connection.name(index)}"
        self.connection.write(addresses.message(index, address), RTM_DELADDR, sentence)

    def routes(
        self,
        *,
        link: int = 0,
        table: int | None = None,
        versions: Collection[int] = (4, 6),
        protocol: int = 0,
        kind: str = "",
    ) -> Sequence[RouteEntry]:
        found: list[RouteEntry] = []
        for version in versions:
            query = routes.query(version, link=link, table=table, protocol=protocol, kind=kind)
            try:
                sentence = f"listing the routes{self.place}"
                listed = self.connection.socket.dump(query, RTM_GETROUTE, sentence, routes.read)
            except KernelError as error:
                if error.errno in (ENOENT, EOPNOTSUPP):  # no such table; no such family
                    continue
                raise
            # A kernel without IPv6 answers with the routes of all families.
            there = [entry for entry in listed if entry is not None and entry.dst.version == version]
            if protocol:
                found += [entry for entry in there if entry.protocol == protocol]
            else:
                found += [entry for entry in there if entry.kind == kind]
        return found

    def route_link(self, address: IPAddress) -> int:
        try:
            found = self.connection.socket.ask(
                routes.lookup(address), RTM_GETROUTE, f"looking for a route to {address}{self.place}"
            )
        except KernelError as error:
            if error.errno in _UNREACHABLE:
                return 0
            raise
        route = routes.read(*found) if found is not None else None
        return route.link if route is not None else 0

    def add_route(self, route: RouteEntry, *, append: bool = False) -> None:
        sentence = Later(lambda: f"adding {self._route_name(route)}")
        flags = APPEND if append else CREATE_NEW
        self.connection.write(routes.message(route), RTM_NEWROUTE, sentence, flags=flags)

    def delete_route(self, route: RouteEntry) -> None:
        request = routes.message(route, delete=True)
        self.connection.write(request, RTM_DELROUTE, f"deleting {self._route_name(route)}")

    def rules(self) -> Sequence[RoutingRule]:
        from cni_cnm.kernel.rtnetlink import rules

        return rules.rules(self.connection)

    def add_rule(self, rule: RoutingRule) -> None:
        from cni_cnm.kernel.rtnetlink import rules

        rules.add_rule(self.connection, rule)

    def delete_rule(self, rule: RoutingRule) -> None:
        from cni_cnm.kernel.rtnetlink import rules

        rules.delete_rule(self.connection, rule)

    # /proc/sys/net ---------------------------------------------------------
    def sysctl(self, key: str) -> str | None:
        return self.connection.inside(lambda: sysctl.read(key, self.connection.folders))

    def set_sysctls(self, values: Sequence[tuple[str, str]], *, tolerate: bool = False) -> None:
        if values:
            folders = self.connection.folders
            self.connection.inside(lambda: sysctl.write_differing(values, tolerate=tolerate, folders=folders))

    def _add_link(self, request: bytes, sentence: str, feature: str) -> None:
        self.connection.write(request, RTM_NEWLINK, sentence, flags=CREATE_NEW, feature=feature)

    def _dump_addresses(self, index: int, read: Callable[[bytes, int], T]) -> list[T]:
        sentence = f"listing the addresses of {self.connection.name(index)}{self.place}"
        return self.connection.socket.dump(addresses.query(index), RTM_GETADDR, sentence, read)

    def _route_name(self, route: RouteEntry) -> str:
        via = f" via {' and '.join(map(str, (route.gw, *route.also_via)))}" if route.gw is not None else ""
        on = f" on {self.connection.name(route.link)}" if route.link else ""
        return f"the route to {route.dst}{via}{on}"


def _kernel_stack(stack: Stack) -> KernelStack:
    if not isinstance(stack, KernelStack):
        raise TypeError(f"a link cannot cross from the kernel to {type(stack).__name__}")
    return stack
