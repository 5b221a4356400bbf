"""Stack: one network namespace and its verbs. The real one is kernel/stack.py."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AbstractContextManager

    from cni_cnm.kernel.contract.link import Bucket, Hardware, Link, Port, PortState, Rate, Vlan
    from cni_cnm.kernel.contract.route import RouteEntry, RoutingRule
    from cni_cnm.model import IPAddress, IPInterface


class Stack(Protocol):
    """One network namespace and its verbs. Used by one thread at a time.

    Verbs raise `KernelError` with the kernel's errno and a sentence that names the object. Inside `batch()` writing
    verbs are queued. They are sent when the block ends or a reading verb is called. The kernel tries all of them, then
    the first failure is raised.
    """

    path: str
    """The path it was opened by, or "" for the process's own namespace."""

    def __enter__(self) -> Stack:
        """Itself. It is closed at the end of the block."""

    def __exit__(self, *_: object) -> None: ...
    def close(self) -> None: ...
    def batch(self) -> AbstractContextManager[None]: ...
    def cookie(self) -> int:
        """A number that no other namespace has until the next boot (SO_NETNS_COOKIE); 0 before Linux 5.14."""

    def inode(self) -> int:
        """Identity of the namespace: its inode number in nsfs."""

    # links -----------------------------------------------------------------
    def link(self, name: str) -> Link | None:
        """The link of that name, None if there is none."""

    def index_of(self, name: str) -> int:
        """The index of the link of that name, 0 if there is none. Much cheaper than `link`."""

    def link_at(self, index: int) -> Link | None: ...
    def links(self, *, master: int = 0, kind: str = "") -> Sequence[Link]:
        """All links, or those with that master, or of that kind. The kernel sends no others."""

    def links_and_ports(self) -> Sequence[tuple[Link, Port | None]]:
        """All links, each with its flags as a port of a bridge; None for a link that is none. One dump."""

    def add_bridge(
        self, name: str, *, mac: str, mtu: int = 0, vlan_filtering: bool = False, ip_hooks: bool = False
    ) -> None:
        """Add a bridge, down. A MAC is required: a bridge without one changes its address with its ports.

        `ip_hooks`: frames between its ports pass the packet filter's hooks of IPv4 and IPv6, as with
        bridge-nf-call-iptables 1. It has no effect while br_netfilter is not loaded.
        """

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
        """Add a veth pair in one request: `name` here, which may be `up` at once, and `peer` in `peer_stack`, down.

        `mac` and `master` (index of its bridge) are of the end here, `peer_mac` of the peer. EEXIST if a name is taken.
        Returns the end here, as `link` does; None in a batch, and on kernels before 6.2, which do not report it.
        """

    def add_macvlan(
        self, name: str, parent: int, *, mode: str, to: Stack, mac: str = "", mtu: int = 0, bc_queue: int = 0
    ) -> None:
        """Add a macvlan on a link of this namespace. It is created down, in `to` (which may be this stack itself).

        Without `mtu` it gets the parent's. `passthru` always has the parent's MAC. `bc_queue`: number of broadcast
        packets that may wait, 0 for the kernel's default. EINVAL on lo, beside a passthru, for a second link in that
        mode, and for an MTU above the parent's; EBUSY on a bridge's port; EEXIST if the name is taken.
        """

    def add_ipvlan(self, name: str, parent: int, *, mode: str, flag: str = "bridge", to: Stack, mtu: int = 0) -> None:
        """Add an ipvlan, as `add_macvlan` does. It has the parent's MAC.

        All ipvlans of a parent get the mode and flag of the last one. KernelFeatureMissing where the kernel has no
        ipvlan.
        """

    def add_vlan_link(self, name: str, parent: int, vid: int, *, mtu: int = 0) -> None:
        """Add an 802.1Q sub-interface of a link, down. EEXIST if the name or the parent's VLAN is taken.

        KernelFeatureMissing where the kernel has no 802.1Q.
        """

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
        """Change the attributes that are not None, in one request. `master` 0 releases the link from its bridge.

        `arp_notify` is the sysctl of that name, which a container's /proc/sys need not be opened for. The kernel sets
        it after `up`.
        """

    def move_link(self, index: int, to: Stack, *, name: str = "") -> None:
        """Move a link to another namespace. A link whose move is refused stays where it is.

        It takes the kernel 14 ms, so drivers create links where they stay.
        """

    def hardware(self, folder: str) -> Hardware | None:
        """The device at a folder of sysfs, such as `bus/pci/devices/0000:00:03.0`; None if there is none."""

    def delete_link(self, index: int) -> None:
        """Delete a link and wait until it is gone (15 to 20 ms in the kernel). No error if absent.

        In a batch it is not queued: it is sent at once, after what is queued.
        """

    def deleting(self) -> AbstractContextManager[None]:
        """Links deleted inside the block are deleted together at its end. The first failure is raised there."""

    def set_port(self, index: int, port: Port, *, group: int | None = None) -> None:
        """The flags of a port, and with them its link group. EOPNOTSUPP for a link that is no port."""

    def port(self, index: int) -> Port: ...
    def port_state(self, name: str) -> PortState | None:
        """What a bridge does with the packets of a port. Asking makes the kernel update it (from Linux 6.8).

        None for a link that is missing, or no port of a bridge.
        """

    def port_count(self, bridge: str) -> int:
        """How many ports the bridge of that name has. The cost does not grow with the links of the namespace."""

    def vlans(self, index: int) -> Sequence[Vlan]: ...
    def add_vlan(self, index: int, vlan: Vlan) -> None:
        """KernelFeatureMissing where the kernel has no bridge VLAN filtering."""

    def delete_vlan(self, index: int, vid: int) -> None: ...

    # traffic control: never queued, sent at once after what is queued --------
    def add_ifb(self, name: str, *, mtu: int = 0) -> Link | None:
        """Add an ifb, up: the target of `redirect_ingress`. EEXIST if the name is taken. This one is queued in a batch.

        Returns the link as `add_veth` does.
        """

    def set_rate(self, index: int, rate: Rate | None, *, mtu: int = 0) -> None:
        """Limit what leaves by a link; an older limit is replaced. None removes the limit, ENOENT if there is none.

        `mtu` is the link's, where the caller knows it. A burst that is too small for the rate is raised, and
        one that the kernel cannot store is reduced (kernel/token_bucket.py). `rate` reads the result.
        """

    def rate(self, index: int) -> Rate | None:
        """What `set_rate` set, as the kernel keeps it; None if the link has no limit."""

    def set_bucket(self, index: int, bucket: Bucket) -> None:
        """Limit what leaves by a link, with these very parameters; an older limit is replaced."""

    def bucket(self, index: int) -> Bucket | None:
        """The parameters of the limit, also of another program's; None if the link has none."""

    def redirect_ingress(self, index: int, to: int) -> None:
        """Send everything that arrives at a link out of another one. EEXIST if it is redirected already.

        `to` 0 removes the redirection, ENOENT if there is none.
        """

    def redirected(self, index: int) -> int:
        """Index of the link that arriving packets are redirected to. 0 if there is none, or that link is gone."""

    # addresses and routes --------------------------------------------------
    def addresses(self, index: int) -> Sequence[IPInterface]: ...
    def all_addresses(self, versions: Collection[int] = (4, 6)) -> Sequence[tuple[int, IPInterface]]:
        """Those of all links, each with its link's index."""

    def local_addresses(self, versions: Collection[int]) -> Sequence[tuple[int, IPAddress]]:
        """The same without prefix lengths. For IPv4 the cost grows with the addresses, not with the links."""

    def tentative(self, index: int) -> bool:
        """Whether duplicate address detection runs for any IPv6 address of the link."""

    def add_address(self, index: int, address: IPInterface, *, dad: bool = False, prefix_route: bool = True) -> None:
        """EEXIST if the link has it. Without `dad` an IPv6 address is usable at once (IFA_F_NODAD).

        Without `prefix_route` the kernel adds no route to the address's subnet (IFA_F_NOPREFIXROUTE).
        """

    def delete_address(self, index: int, address: IPInterface) -> None: ...
    def routes(
        self,
        *,
        link: int = 0,
        table: int | None = None,
        versions: Collection[int] = (4, 6),
        protocol: int = 0,
        kind: str = "",
    ) -> Sequence[RouteEntry]:
        """Routes of `versions` and of one `kind`: of `table`, None for the main one; of `link`, 0 for all links.

        With `protocol` those of that program alone, of every kind.
        """

    def route_link(self, address: IPAddress) -> int:
        """Index of the link by which packets to an address leave; 0 if there is no route. Nothing is sent."""

    def add_route(self, route: RouteEntry, *, append: bool = False) -> None:
        """EEXIST if one of the same destination, priority and table exists.

        With `append` an IPv4 route is added behind that one, and EEXIST means that it is equal.
        """

    def delete_route(self, route: RouteEntry) -> None:
        """ESRCH if absent. With a protocol only a route of that program is deleted."""

    def rules(self) -> Sequence[RoutingRule]:
        """The routing rules of both IP versions."""

    def add_rule(self, rule: RoutingRule) -> None:
        """It is asked before those that are there. An equal one that is there is another rule."""

    def delete_rule(self, rule: RoutingRule) -> None:
        """ENOENT if absent."""

    # /proc/sys/net ---------------------------------------------------------
    def sysctl(self, key: str) -> str | None:
        """Value of `net/…` (slashes: `net/ipv4/ip_forward`) in this namespace, stripped; None if there is none."""

    def set_sysctls(self, values: Sequence[tuple[str, str]], *, tolerate: bool = False) -> None:
        """Write those that differ, in order. KernelError names the key.

        A missing key is ENOENT, a read-only one EROFS or EACCES. A key that already has the value is not written.
        With `tolerate` such keys are skipped: for settings that a kernel without the feature does not need.
        """
