"""The real Stack: verbs of one network namespace over one rtnetlink socket opened in it.

The namespace is held by a descriptor (for veth peers, moves and sysctls); the socket is opened by the first
verb that needs it. What a link is called in an error is remembered from the last time it was looked up.
"""

from __future__ import annotations

import os
from errno import ENODEV, ENOENT, EOPNOTSUPP, ERANGE
from typing import Any, TypeVar

from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel import addresses, links, messages, routes, sysctl
from cni_cnm.kernel.batch import Batch, Deleting
from cni_cnm.kernel.netlink_socket import CREATE_NEW, NetlinkSocket
from cni_cnm.kernel.netns import entered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni_cnm.kernel import Link, Port, Rate, RouteEntry, Stack, Vlan
    from cni_cnm.model import IPInterface

T = TypeVar("T")
VLAN_FILTERING = "bridge VLAN filtering"
MODULES = {"macvlan": "macvlan", "ipvlan": "ipvlan", "vlan": "8021q"}
"""Kinds of links on other links: the kernel's module."""
LEAVING = 0x636E6D
"""Reserved link group: what is in it is about to be deleted, by whoever comes first."""


class KernelStack:
    """One network namespace. Owns the descriptor `fd`; `path` is how it was named, "" for the host's."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self.place = f" in {path}" if path else ""
        self._opened: NetlinkSocket | None = None
        self._names: dict[int, str] = {}
        self.leaving: list[int] | None = None

    @property
    def _wire(self) -> NetlinkSocket:
        if self._opened is None:
            self._opened = self._inside(NetlinkSocket)
        return self._opened

    def _inside(self, action: Callable[[], T]) -> T:
        return entered(self.fd, action)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def batch(self) -> Batch:
        return Batch(self._wire)

    def inode(self) -> int:
        return os.fstat(self.fd).st_ino

    # links -----------------------------------------------------------------
    def link(self, name: str) -> Link | None:
        if not name:
            return None
        try:
            found = self._wire.ask(links.query(name=name), messages.RTM_GETLINK, f"looking for {name}{self.place}")
        except KernelError as error:
            if error.errno != ERANGE:
                raise
            return None  # longer than a name can be
        return self._seen(found)

    def link_at(self, index: int) -> Link | None:
        if index <= 0:
            return None
        sentence = f"looking for {self._name(index)}{self.place}"
        return self._seen(self._wire.ask(links.query(index), messages.RTM_GETLINK, sentence))

    def links(self, *, master: int = 0) -> Sequence[Link]:
        query = links.query(master=master)
        listed: list[Link] = self._wire.dump(query, messages.RTM_GETLINK, f"listing the links{self.place}", links.read)
        self._names.update((link.ifindex, link.name) for link in listed)
        return listed

    def add_bridge(self, name: str, *, mac: str, mtu: int = 0, vlan_filtering: bool = False) -> None:
        request = links.bridge(name, mac, mtu, vlan_filtering)
        feature = VLAN_FILTERING if vlan_filtering else "bridge driver"
        self._add_link(request, f"adding the bridge {name}", feature)
        if not vlan_filtering:
            return
        # Older kernels without the feature ignore the attribute.
        made = self.link(name)
        if made is not None and not made.vlan_filtering:
            self.delete_link(made.ifindex)
            self._wire.flush()
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
    ) -> Link | None:
        # With EXFULL (a bridge is full) or any other failure the kernel takes both ends back.
        other = _kernel_stack(peer_stack)
        request = links.veth(name, mac, mtu, master, peer=peer, peer_mac=peer_mac, peer_namespace=other.fd)
        port = f" on {self._name(master)}" if master else ""
        sentence = f"adding the veth {name}{port} with its peer {peer}{other.place}{self.place}"
        made = self._wire.make(request, messages.RTM_NEWLINK, sentence, flags=CREATE_NEW, feature="veth driver")
        link = self._seen(made)
        return link._replace(master=master) if link is not None else None  # the echo is from before it was enslaved

    def add_macvlan(
        self, name: str, parent: int, *, mode: str, to: Stack, mac: str = "", mtu: int = 0, bc_queue: int = 0
    ) -> None:
        self._add_upper("macvlan", links.macvlan(mode, bc_queue), name, parent, to=to, mac=mac, mtu=mtu)

    def add_ipvlan(self, name: str, parent: int, *, mode: str, flag: str = "bridge", to: Stack, mtu: int = 0) -> None:
        self._add_upper("ipvlan", links.ipvlan(mode, flag), name, parent, to=to, mtu=mtu)

    def add_vlan_link(self, name: str, parent: int, vid: int, *, mtu: int = 0) -> None:
        self._add_upper("vlan", [("IFLA_VLAN_ID", vid)], name, parent, mtu=mtu)

    def _add_upper(
        self,
        kind: str,
        data: list[tuple[str, Any]],
        name: str,
        parent: int,
        *,
        to: Stack | None = None,
        mac: str = "",
        mtu: int = 0,
    ) -> None:
        there = _kernel_stack(to) if to is not None else self
        request = links.upper(
            kind, data, name, parent, mac=mac, mtu=mtu, namespace=there.fd if there is not self else -1
        )
        place = there.place if there is not self else ""
        try:
            self._add_link(request, f"adding the {kind} {name}{place} on {self._name(parent)}", f"{kind} driver")
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
    ) -> None:
        attributes = (
            ("IFLA_IFNAME", name),
            ("IFLA_ADDRESS", mac),
            ("IFLA_MTU", mtu),
            ("IFLA_MASTER", master),
            ("IFLA_TXQLEN", txqlen),
            ("IFLA_GROUP", group),
            ("IFLA_IFALIAS", alias),
        )
        change = links.change(index, up=up, promisc=promisc, allmulti=allmulti, attributes=attributes)
        what = {"up": up, **dict(attributes), "promisc": promisc, "allmulti": allmulti}
        given = ", ".join(
            f"{key.removeprefix('IFLA_').lower()} {value}" for key, value in what.items() if value is not None
        )
        self._write(change, messages.RTM_SETLINK, f"setting {given} of {self._name(index)}")

    def move_link(self, index: int, to: Stack, *, name: str = "") -> None:
        other = _kernel_stack(to)
        attributes: list[tuple[str, Any]] = [("IFLA_NET_NS_FD", other.fd)]
        if name:
            attributes.append(("IFLA_IFNAME", name))
        sentence = f"moving {self._name(index)} to {to.path or 'the host'}"
        self._write(links.message(index, attributes), messages.RTM_SETLINK, sentence)

    def delete_link(self, index: int) -> None:
        if self.leaving is None:
            self.delete_links([index])
        else:
            self.leaving.append(index)

    def deleting(self) -> Deleting:
        return Deleting(self)

    def delete_links(self, indexes: Sequence[int]) -> None:
        """Several go as a link group, in one request. Those that are gone are done; the first failure is raised."""
        self._settle()
        if len(indexes) > 1 and self._delete_as_group(indexes):
            return
        failures = [error for index in indexes if (error := self._attempt_delete(index)) is not None]
        if failures:
            raise failures[0]

    def delete_group(self, group: int) -> None:
        """Delete all links of a link group; ENODEV if there are none."""
        request = links.message(0, [("IFLA_GROUP", group)])
        self._control(request, messages.RTM_DELLINK, f"deleting the link group {group:#x}")

    def _delete_as_group(self, indexes: Sequence[int]) -> bool:
        """False if one among them, or another one in the group, cannot be deleted at all, or they are not in it."""
        together = self._put_in_group(indexes, LEAVING)
        try:
            self.delete_group(LEAVING)
        except KernelError as error:
            if error.errno != ENODEV:  # ENODEV: all gone, or gone with the group that another program deletes
                self._put_in_group(indexes, 0)
                return False
        return together

    def _put_in_group(self, indexes: Sequence[int], group: int) -> bool:
        """All are tried, those that are gone are done; False if one is there that may not be in the group."""
        together = True
        for index in indexes:
            request, sentence = links.message(index, [("IFLA_GROUP", group)]), f"setting group of {self._name(index)}"
            try:
                self._control(request, messages.RTM_SETLINK, sentence)
            except KernelError as error:
                together = together and error.errno == ENODEV
        return together

    def _attempt_delete(self, index: int) -> KernelError | None:
        try:
            self._control(links.message(index), messages.RTM_DELLINK, f"deleting {self._name(index)}")
        except KernelError as error:
            return error if error.errno != ENODEV else None
        return None

    # bridge ports ----------------------------------------------------------
    def set_port(self, index: int, port: Port) -> None:
        sentence = f"setting the bridge port {self._name(index)}"
        self._write(links.port_change(index, port), messages.RTM_NEWLINK, sentence)

    def port(self, index: int) -> Port:
        found = self._get(index)
        if found is None:
            raise KernelError(f"there is no {self._name(index)}", ENODEV)
        port = links.port(found)
        if port is None:
            raise KernelError(f"{self._name(index)} is no port of a bridge", EOPNOTSUPP)
        return port

    def vlans(self, index: int) -> Sequence[Vlan]:
        # The kernel has no filter by link for this one.
        found = self._wire.dump(links.vlan_query(), messages.RTM_GETLINK, f"listing the VLANs of {self._name(index)}")
        return [vlan for message in found if message["index"] == index for vlan in links.vlans(message)]

    def add_vlan(self, index: int, vlan: Vlan) -> None:
        self._change_vlan(index, vlan, messages.RTM_SETLINK, f"adding the VLAN {vlan.vid} to {self._name(index)}")

    def delete_vlan(self, index: int, vid: int) -> None:
        from cni_cnm.kernel import Vlan

        self._change_vlan(index, Vlan(vid), messages.RTM_DELLINK, f"deleting the VLAN {vid} of {self._name(index)}")

    # traffic control -------------------------------------------------------
    def add_ifb(self, name: str, *, mtu: int = 0) -> Link | None:
        sentence = f"adding the ifb {name}{self.place}"
        request = links.ifb(name, mtu)
        made = self._wire.make(request, messages.RTM_NEWLINK, sentence, flags=CREATE_NEW, feature="ifb driver")
        return self._seen(made)

    def set_rate(self, index: int, rate: Rate | None, *, mtu: int = 0) -> None:
        from cni_cnm.kernel import tc, token_bucket

        if rate is None:
            self._control(tc.place(index, tc.ROOT), tc.RTM_DELQDISC, f"taking the rate limit off {self._name(index)}")
            return
        if not mtu:
            link = self.link_at(index)
            if link is None:
                raise KernelError(f"there is no {self._name(index)}{self.place}", ENODEV)
            mtu = link.mtu
        request = tc.root(index, token_bucket.bucket(rate, mtu))
        sentence = f"limiting {self._name(index)} to {rate.rate} bit/s"
        self._control(request, tc.RTM_NEWQDISC, sentence, flags=tc.REPLACE, feature="token bucket filter (sch_tbf)")

    def rate(self, index: int) -> Rate | None:
        from cni_cnm.kernel import tc, token_bucket

        # The kernel has no filter by link for this one.
        sentence = f"looking for the rate limit of {self._name(index)}{self.place}"
        found = self._wire.dump(tc.message(index), tc.RTM_GETQDISC, sentence)
        buckets = (tc.bucket(one, index) for one in found)
        return next((token_bucket.rate(bucket) for bucket in buckets if bucket is not None), None)

    def redirect_ingress(self, index: int, to: int) -> None:
        from cni_cnm.kernel import tc

        sentence = f"redirecting what comes in by {self._name(index)} to {self._name(to)}"
        if not to:
            sentence = f"redirecting what comes in by {self._name(index)} no more"
            self._control(tc.place(index, tc.INGRESS), tc.RTM_DELQDISC, sentence)
            return
        self._control(tc.ingress(index), tc.RTM_NEWQDISC, sentence, flags=tc.CREATE, feature="ingress discipline")
        for kind in tc.FILTERS:
            request = tc.redirect(index, to, kind)
            try:
                self._control(
                    request, tc.RTM_NEWTFILTER, sentence, flags=CREATE_NEW, feature="filter that takes all (cls_u32)"
                )
                return
            except KernelFeatureMissing:
                if kind == tc.FILTERS[-1]:
                    raise

    def redirected(self, index: int) -> int:
        from cni_cnm.kernel import tc

        sentence = f"looking for where {self._name(index)} is redirected to{self.place}"
        found = self._wire.dump(tc.filters(index), tc.RTM_GETTFILTER, sentence)
        return next((to for to in map(tc.target, found) if to), 0)

    # addresses and routes --------------------------------------------------
    def addresses(self, index: int) -> Sequence[IPInterface]:
        return self._dump_addresses(index, addresses.read)

    def tentative(self, index: int) -> bool:
        return any(addresses.tentative(found) for found in self._dump_addresses(index))

    def add_address(self, index: int, address: IPInterface, *, dad: bool = False) -> None:
        flags = addresses.NODAD if address.version == 6 and not dad else 0
        request = addresses.message(index, address, flags=flags)
        sentence = f"adding the address {address} to {self._name(index)}"
        self._write(request, messages.RTM_NEWADDR, sentence, flags=CREATE_NEW)

    def delete_address(self, index: int, address: IPInterface) -> None:
        sentence = f"deleting the address {address} of {self._name(index)}"
        self._write(addresses.message(index, address), messages.RTM_DELADDR, sentence)

    def routes(self, *, link: int = 0, table: int | None = None) -> Sequence[RouteEntry]:
        found: list[RouteEntry] = []
        for version in (4, 6):
            query = routes.query(version, link=link, table=table)
            try:
                listed = self._wire.dump(query, messages.RTM_GETROUTE, f"listing the routes{self.place}")
            except KernelError as error:
                if error.errno in (ENOENT, EOPNOTSUPP):  # no such table; no such family
                    continue
                raise
            # A kernel without IPv6 answers with the routes of all families.
            entries = (routes.route(message) for message in listed)
            found += [entry for entry in entries if entry is not None and entry.dst.version == version]
        return found

    def add_route(self, route: RouteEntry) -> None:
        sentence = f"adding {self._route_name(route)}"
        self._write(routes.message(route), messages.RTM_NEWROUTE, sentence, flags=CREATE_NEW)

    def delete_route(self, route: RouteEntry) -> None:
        request = routes.message(route, delete=True)
        self._write(request, messages.RTM_DELROUTE, f"deleting {self._route_name(route)}")

    # /proc/sys/net ---------------------------------------------------------
    def sysctl(self, key: str) -> str | None:
        self._settle()
        return self._inside(lambda: sysctl.read(key))

    def set_sysctls(self, values: Sequence[tuple[str, str]], *, tolerate: bool = False) -> None:
        self._settle()
        if values:
            self._inside(lambda: sysctl.write_differing(values, tolerate=tolerate))

    def _settle(self) -> None:
        # A queued request may make the link whose key is meant.
        if self._opened is not None:
            self._opened.flush()

    def _write(self, message: Any, kind: int, sentence: str, *, flags: int = 0, feature: str = "") -> None:
        self._wire.write(message, kind, f"{sentence}{self.place}", flags=flags, feature=feature)

    def _control(self, message: Any, kind: int, sentence: str, *, flags: int = 0, feature: str = "") -> None:
        # What its answer means would be too late to tell in a batch: of disciplines and filters that it does not have
        # the kernel says ENOENT.
        self._wire.flush()
        try:
            self._write(message, kind, sentence, flags=flags, feature=feature)
            self._wire.flush()
        except KernelError as error:
            if not feature or error.errno != ENOENT:
                raise
            raise KernelFeatureMissing(f"{sentence} failed: this kernel has no {feature}", details=error.msg) from error

    def _add_link(self, message: Any, sentence: str, feature: str) -> None:
        self._write(message, messages.RTM_NEWLINK, sentence, flags=CREATE_NEW, feature=feature)

    def _change_vlan(self, index: int, vlan: Vlan, kind: int, sentence: str) -> None:
        link = self.link_at(index)
        request = links.vlan_change(index, vlan, on_bridge=link is not None and link.kind == "bridge")
        self._write(request, kind, sentence, feature=VLAN_FILTERING)

    def _get(self, index: int) -> Any:
        sentence = f"looking for {self._name(index)}{self.place}"
        return self._wire.get(links.query(index), messages.RTM_GETLINK, sentence)

    def _dump_addresses(self, index: int, read: Callable[[bytes, int], Any] | None = None) -> list[Any]:
        sentence = f"listing the addresses of {self._name(index)}{self.place}"
        return self._wire.dump(addresses.query(index), messages.RTM_GETADDR, sentence, read)

    def _seen(self, found: tuple[bytes, int] | None) -> Link | None:
        if found is None:
            return None
        link = links.read(*found)
        self._names[link.ifindex] = link.name
        return link

    def _name(self, index: int) -> str:
        return self._names.get(index) or f"link {index}"

    def _route_name(self, route: RouteEntry) -> str:
        via = f" via {route.gw}" if route.gw is not None else ""
        on = f" on {self._name(route.link)}" if route.link else ""
        return f"the route to {route.dst}{via}{on}"


def _kernel_stack(stack: Stack) -> KernelStack:
    if not isinstance(stack, KernelStack):
        raise TypeError(f"a link cannot cross from the kernel to {type(stack).__name__}")
    return stack
