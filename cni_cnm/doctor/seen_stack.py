"""A Stack that reads links, addresses and routes of the host once, and answers from that.

Comparisons of drivers ask for one link after the other: with 5,000 endpoints that is 15,000 requests.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel.contract.link import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cni_cnm.kernel import Link, Namespaces, RouteEntry, Stack
    from cni_cnm.model import IPAddress, IPInterface

_ENODEV, _EOPNOTSUPP = 19, 95


class SeenStack:
    """Reading verbs of a Stack. Those that are not here ask the kernel."""

    def __init__(self, stack: Stack) -> None:
        self._stack = self.kernel = stack
        self._sysctls: dict[str, str | None] = {}

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._stack, verb)

    @cached_property
    def _ports(self) -> dict[int, Port | None]:
        return {link.ifindex: port for link, port in self._listed}

    @cached_property
    def _listed(self) -> Sequence[tuple[Link, Port | None]]:
        return self._stack.links_and_ports()

    @cached_property
    def by_index(self) -> dict[int, Link]:
        return {link.ifindex: link for link, _ in self._listed}

    @cached_property
    def by_name(self) -> dict[str, Link]:
        return {link.name: link for link, _ in self._listed}

    @cached_property
    def _by_master(self) -> dict[int, list[Link]]:
        found: dict[int, list[Link]] = {}
        for link, _ in self._listed:
            found.setdefault(link.master, []).append(link)
        return found

    @cached_property
    def _addresses(self) -> Sequence[tuple[int, IPInterface]]:
        return self._stack.all_addresses()

    @cached_property
    def _addresses_of(self) -> dict[int, list[IPInterface]]:
        found: dict[int, list[IPInterface]] = {}
        for index, address in self._addresses:
            found.setdefault(index, []).append(address)
        return found

    @cached_property
    def _routes(self) -> Sequence[RouteEntry]:
        return self._stack.routes()

    @cached_property
    def _routes_of(self) -> dict[int, list[RouteEntry]]:
        found: dict[int, list[RouteEntry]] = {}
        for route in self._routes:
            found.setdefault(route.link, []).append(route)
        return found

    def link(self, name: str) -> Link | None:
        return self.by_name.get(name)

    def index_of(self, name: str) -> int:
        link = self.link(name)
        return link.ifindex if link is not None else 0

    def link_at(self, index: int) -> Link | None:
        return self.by_index.get(index)

    def links(self, *, master: int = 0, kind: str = "") -> Sequence[Link]:
        links = self._by_master.get(master, []) if master else list(self.by_index.values())
        return [link for link in links if kind in ("", link.kind)]

    def port(self, index: int) -> Port:
        if index not in self._ports:
            raise KernelError(f"there is no link {index}", _ENODEV)
        port = self._ports[index]
        if port is None:
            raise KernelError(f"{self.by_index[index].name} is no port of a bridge", _EOPNOTSUPP)
        return port

    def addresses(self, index: int) -> Sequence[IPInterface]:
        return self._addresses_of.get(index, [])

    def all_addresses(self, versions: Collection[int] = (4, 6)) -> Sequence[tuple[int, IPInterface]]:
        return [one for one in self._addresses if one[1].version in versions]

    def local_addresses(self, versions: Collection[int]) -> Sequence[tuple[int, IPAddress]]:
        return [(index, address.ip) for index, address in self.all_addresses(versions)]

    def routes(
        self,
        *,
        link: int = 0,
        table: int | None = None,
        versions: Collection[int] = (4, 6),
        protocol: int = 0,
        kind: str = "",
    ) -> Sequence[RouteEntry]:
        if table is not None or protocol or kind:
            return self._stack.routes(link=link, table=table, versions=versions, protocol=protocol, kind=kind)
        routes = self._routes_of.get(link, []) if link else self._routes
        return [route for route in routes if route.dst.version in versions]

    def sysctl(self, key: str) -> str | None:
        if key not in self._sysctls:
            self._sysctls[key] = self._stack.sysctl(key)
        return self._sysctls[key]


class SeenNamespaces:
    """Namespaces whose host is a `SeenStack`. Containers are opened as they are."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._namespaces, verb)

    def host(self) -> Stack:
        return cast("Stack", SeenStack(self._namespaces.host()))


def has_kind(stack: Stack, kind: str) -> bool:
    """Whether the kernel has links of this kind. Asks for one on a link that does not exist, so none is made."""
    nowhere = (1 << 31) - 2
    stack = getattr(stack, "kernel", stack)
    try:
        if kind == "ipvlan":
            stack.add_ipvlan("cni-cnm-probe", nowhere, mode="l2", to=stack)
        elif kind == "vlan":
            stack.add_vlan_link("cni-cnm-probe", nowhere, 1)
        else:
            stack.add_macvlan("cni-cnm-probe", nowhere, mode="bridge", to=stack)
    except KernelFeatureMissing:
        return False
    except KernelError:
        return True
    return True
