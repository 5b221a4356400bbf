"""One network namespace in memory: devices, addresses, routes and sysctls, by the kernel's rules.

Missing are IPv6 link-local addresses (the kernel adds them when a link gets a carrier), local and multicast routes, and
duplicate address detection: a test sets `Device.tentative`.
"""

from __future__ import annotations

import errno
from ipaddress import ip_interface
from os import strerror

from cni_cnm.errors import KernelError
from cni_cnm.kernel import Hardware, Link, Port, RouteEntry, RoutingRule, Vlan
from cni_cnm.kernel.contract.link import Bucket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.contract.overlay_stack import FdbEntry, Neighbour, Vxlan
    from cni_cnm.model import IPAddress, IPInterface

PORTS_MAX = 1023
KERNEL = 2
"""RTPROT_KERNEL."""
MTU_MIN, MTU_MAX = 68, 65535

_SYSCTLS = {
    "net/ipv4/ip_forward": "0",
    "net/ipv4/ip_nonlocal_bind": "0",
    "net/ipv4/ip_unprivileged_port_start": "1024",
    "net/ipv4/tcp_syncookies": "1",
    "net/core/somaxconn": "4096",
}
_SYSCTLS_OF_LINKS = {
    "net/ipv4/conf": {
        **dict.fromkeys(("accept_local", "arp_announce", "arp_filter", "arp_ignore", "arp_notify"), "0"),
        **dict.fromkeys(("forwarding", "promote_secondaries", "proxy_arp", "route_localnet", "rp_filter"), "0"),
        "send_redirects": "1",
    },
    "net/ipv6/conf": {
        **dict.fromkeys(("accept_dad", "accept_ra", "accept_redirects", "autoconf", "enhanced_dad"), "1"),
        "ndisc_notify": "0",
        **dict.fromkeys(("addr_gen_mode", "disable_ipv6", "forwarding", "keep_addr_on_down", "proxy_ndp"), "0"),
    },
}


class Device:
    """A link. Its name and its namespace may change."""

    def __init__(self, space: Space, link: Link) -> None:
        self.space = space
        self.link = link
        self.other_end: Device | None = None
        self.lower: Device | None = None
        """The parent of a macvlan, ipvlan or VLAN; it may be in another namespace."""
        self.uppers: list[Device] = []
        self.vid = 0
        self.addresses: list[IPInterface] = []
        self.unrouted: list[IPInterface] = []
        """Addresses without a route to their subnet."""
        self.port = Port()
        self.vlans: list[Vlan] = []
        self.tentative = False
        self.bucket: Bucket | None = None
        self.redirect: Device | None = None
        self.vxlan: Vxlan | None = None
        self.neighbours: dict[IPAddress, Neighbour] = {}
        self.fdb: dict[str, FdbEntry] = {}


class Space:
    """One namespace. `devices` by index; `routes` of all tables, with `completed` values."""

    def __init__(self, inode: int) -> None:
        self.inode = inode
        self.devices: dict[int, Device] = {}
        self.routes: list[RouteEntry] = []
        self.rules: list[RoutingRule] = []
        self.hardware: dict[str, Hardware] = {}
        """By its folder in sysfs."""
        self.sysctls = dict(_SYSCTLS)
        for name in ("all", "default"):
            self._add_sysctls(name, _SYSCTLS_OF_LINKS)
        self._last_index = 0
        self.add("lo", mac="00:00:00:00:00:00", mtu=65536, kind="")

    # devices ---------------------------------------------------------------
    def device(self, index: int) -> Device:
        found = self.devices.get(index)
        return found if found is not None else refuse(errno.ENODEV, f"link {index}")

    def named(self, name: str) -> Device | None:
        return next((device for device in self.devices.values() if device.link.name == name), None)

    def ports(self, master: int) -> list[Device]:
        return [device for device in self.devices.values() if device.link.master == master]

    def require_free(self, name: str) -> None:
        if len(name) > 15:
            refuse(errno.ERANGE, f"the link {name}")
        if name in (".", "..") or any(c in "/:" or c.isspace() for c in name):
            refuse(errno.EINVAL, f"the link {name}")
        if self.named(name) is not None:
            refuse(errno.EEXIST, f"the link {name}")

    def add(self, name: str, *, mac: str, mtu: int, kind: str, vlan_filtering: bool = False) -> Device:
        index = self._free_index(self._last_index + 1)
        link = Link(index, name, kind, mac.lower(), mtu, txqlen=1000, vlan_filtering=vlan_filtering)
        device = self.devices[index] = Device(self, link)
        defaults = {
            family: {key: self.sysctls[f"{family}/default/{key}"] for key in keys}
            for family, keys in _SYSCTLS_OF_LINKS.items()
        }
        self._add_sysctls(name, defaults)
        if kind == "bridge":
            device.vlans = [Vlan(1, pvid=True, untagged=True)]
        return device

    def remove(self, device: Device) -> None:
        """Remove a device with its addresses and sysctls. Ports of a bridge are released."""
        for port in self.ports(device.link.ifindex):
            self.release(port)
        self.down(device)
        del self.devices[device.link.ifindex]
        for key in [key for key in self.sysctls if f"/conf/{device.link.name}/" in key]:
            del self.sysctls[key]
        device.addresses.clear()

    def adopt(self, device: Device, name: str) -> None:
        """Add a device from another namespace: down, without addresses, with its old index if that is free."""
        index = device.link.ifindex if device.link.ifindex not in self.devices else self._free_index(1)
        device.link = device.link._replace(ifindex=index, name=name, master=0, up=False)
        device.space = self
        device.port, device.vlans = Port(), []
        device.bucket = device.redirect = None
        self.devices[index] = device
        self._add_sysctls(name, _SYSCTLS_OF_LINKS)

    def rename(self, device: Device, name: str) -> None:
        old, new = f"/conf/{device.link.name}/", f"/conf/{name}/"
        self.sysctls = {key.replace(old, new): value for key, value in self.sysctls.items()}
        device.link = device.link._replace(name=name)

    def enslave(self, device: Device, master: int) -> None:
        if device.link.master == master:
            return
        bridge = self.devices.get(master)
        if bridge is None:
            refuse(errno.EINVAL, f"{device.link.name} on link {master}")
        elif bridge.link.kind != "bridge":
            refuse(errno.EOPNOTSUPP, f"{device.link.name} on {bridge.link.name}, which is no bridge")
        elif device.link.kind == "bridge":
            refuse(errno.ELOOP, f"{device.link.name} on {bridge.link.name}")
        elif device.link.name == "lo":
            refuse(errno.EINVAL, f"lo on {bridge.link.name}")
        elif len(self.ports(master)) >= PORTS_MAX:
            refuse(errno.EXFULL, f"{device.link.name} on {bridge.link.name}")
        self.release(device)
        device.link = device.link._replace(master=master)
        device.vlans = [Vlan(1, pvid=True, untagged=True)]

    def release(self, device: Device) -> None:
        device.link = device.link._replace(master=0)
        device.port, device.vlans = Port(), []

    def up(self, device: Device) -> None:
        if device.link.kind == "vlan" and device.lower is not None and not device.lower.link.up:
            refuse(errno.ENETDOWN, device.link.name)
        if not device.link.up:
            device.link = device.link._replace(up=True)
            for address in device.addresses:
                self._connect(device, address)

    def down(self, device: Device) -> None:
        """Removes its routes and neighbours, and its IPv6 addresses unless keep_addr_on_down is set."""
        if not device.link.up:
            return
        name, index = device.link.name, device.link.ifindex
        device.link = device.link._replace(up=False)
        self.routes = [route for route in self.routes if route.link != index]
        device.neighbours.clear()
        if self.sysctls.get(f"net/ipv6/conf/{name}/keep_addr_on_down", "0") == "0":
            device.addresses = [address for address in device.addresses if address.version == 4]

    # addresses -------------------------------------------------------------
    def add_address(self, device: Device, address: IPInterface, prefix_route: bool = True) -> None:
        six = address.version == 6
        if six and self.sysctls[f"net/ipv6/conf/{device.link.name}/disable_ipv6"] != "0":
            refuse(errno.EACCES, f"{address} on {device.link.name}")
        if any(old == address or (six and old.ip == address.ip) for old in device.addresses):
            refuse(errno.EEXIST, f"{address} on {device.link.name}")
        device.addresses.append(ip_interface(address))
        if not prefix_route:
            device.unrouted.append(address)
        if device.link.up:
            self._connect(device, address)

    def delete_address(self, device: Device, address: IPInterface) -> None:
        """With an IPv4 address go the later ones of its subnet, unless they are promoted."""
        name, index = device.link.name, device.link.ifindex
        if address not in device.addresses:
            refuse(errno.EADDRNOTAVAIL, f"{address} on {name}")
        subnet = [other for other in device.addresses if other.network == address.network]
        promoted = address.version == 6 or self.sysctls[f"net/ipv4/conf/{name}/promote_secondaries"] != "0"
        gone = [address] if promoted or subnet[0] != address else subnet
        device.addresses = [other for other in device.addresses if other not in gone]
        if not any(other.network == address.network for other in device.addresses):
            self.routes = [
                route for route in self.routes if (route.dst, route.link, route.gw) != (address.network, index, None)
            ]
        local = {other.ip for device in self.devices.values() for other in device.addresses}
        self.routes = [route for route in self.routes if route.src is None or route.src in local]

    def _connect(self, device: Device, address: IPInterface) -> None:
        if address in device.unrouted:
            return
        if address.version == 4:
            if address.network.prefixlen == 32:
                return
            route = RouteEntry(address.network, link=device.link.ifindex, src=address.ip, protocol=KERNEL)
        else:
            route = RouteEntry(address.network, link=device.link.ifindex, priority=256, protocol=KERNEL)
        if not any(r.dst == route.dst and r.link == route.link and r.gw is None for r in self.routes):
            self.routes.append(route)

    # routes ----------------------------------------------------------------
    def add_route(self, route: RouteEntry, *, append: bool = False) -> None:
        """`route` is `completed`."""
        what = f"the route to {route.dst}"
        link = route.link
        if link and link not in self.devices:
            refuse(errno.ENODEV, what)
        if route.kind:
            link = 0
        elif route.gw is not None:
            link = link if route.onlink else self._link_to(route.gw, link)
            if not link:
                refuse(errno.ENETUNREACH if route.dst.version == 4 else errno.EHOSTUNREACH, what)
        elif not link:
            refuse(errno.ENODEV, what)
        elif not self.devices[link].link.up:
            refuse(errno.ENETDOWN, what)
        local = {address.ip for device in self.devices.values() for address in device.addresses}
        # An own address as gateway is refused for IPv6 only.
        gw = route.gw if route.dst.version == 6 else None
        if (route.src is not None and route.src not in local) or (gw is not None and gw in local):
            refuse(errno.EINVAL, what)
        alike = [old for old in self.routes if _identity(old) == _identity(route)]
        if route.dst.version == 4:
            equal = any(old == route._replace(link=link) for old in alike)
        else:  # two routes by one gateway are refused there
            equal = any((old.gw, old.also_via) == (route.gw, route.also_via) for old in alike)
        if equal or (alike and not append):
            refuse(errno.EEXIST, what)
        self.routes.append(route._replace(link=link))

    def delete_route(self, route: RouteEntry, *, any_priority: bool) -> None:
        for at, old in enumerate(self.routes):
            if (
                (old.dst, old.table) == (route.dst, route.table)
                and (any_priority or old.priority == route.priority)
                and route.gw in (None, old.gw)
                and route.link in (0, old.link)
                and route.protocol in (None, old.protocol)
            ):
                del self.routes[at]
                return
        refuse(errno.ESRCH, f"the route to {route.dst}")

    def _link_to(self, gateway: IPAddress, link: int) -> int:
        """Index of the link that reaches the gateway by a route without gateway; 0 if there is none."""
        if gateway.version == 6 and gateway.is_link_local:
            return link
        on_link = (r for r in self.routes if r.gw is None and r.dst.version == gateway.version)
        return next((r.link for r in on_link if gateway in r.dst and link in (0, r.link)), 0)

    def _add_sysctls(self, name: str, values: dict[str, dict[str, str]]) -> None:
        for family, keys in values.items():
            self.sysctls.update((f"{family}/{name}/{key}", value) for key, value in keys.items())

    def _free_index(self, start: int) -> int:
        while start in self.devices:
            start += 1
        self._last_index = max(self._last_index, start)
        return start


def require_valid(name: str, mac: str, mtu: int) -> None:
    """Refuse what the kernel's drivers refuse of a link."""
    if mtu and not MTU_MIN <= mtu <= MTU_MAX:
        refuse(errno.EINVAL, f"the MTU {mtu} of {name}")
    if not mac:
        return
    octets = [int(part, 16) for part in mac.split(":")] if mac.count(":") == 5 else []
    if len(octets) != 6 or max(octets) > 255:
        refuse(errno.EINVAL, f"the MAC {mac} of {name}")
    if octets[0] & 1 or not any(octets):
        refuse(errno.EADDRNOTAVAIL, f"the MAC {mac} of {name}")


def delete(device: Device) -> None:
    """The device, what is on it, and the other end if it is a veth. No error if another deletion removed it."""
    if device.space.devices.get(device.link.ifindex) is not device:
        return
    for upper in list(device.uppers):
        delete(upper)
    if device.lower is not None:
        device.lower.uppers.remove(device)
    device.space.remove(device)
    other = device.other_end
    if other is not None:
        device.other_end = other.other_end = None
        other.space.remove(other)


def refuse(number: int, what: str) -> Device:
    """Raise. The return type lets an expression end with a call of it."""
    raise KernelError(f"{what}: {strerror(number)}", number)


def _identity(route: RouteEntry) -> tuple[object, ...]:
    return route.dst, route.priority, route.table
