"""What the kernel has for another host of the cluster, as `ip` and `bridge` say it, for people who look for a fault.

It is read by pyroute2. All else in this folder packs and reads netlink by itself (decision 20): a fault in that would
hide itself here.
"""

from __future__ import annotations

from ipaddress import ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

    from cni_cnm.model import IPNetwork

_MAIN = 254


def read(blocks: Collection[IPNetwork], mac: str) -> dict[str, list[str]]:
    """The `routes` to its blocks, and the `neighbours` and `forwarding` entries with the MAC of its VXLAN devices."""
    from pyroute2 import IPRoute

    with IPRoute() as kernel:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in kernel.get_links()}
        return {
            "routes": list(_routes(kernel.get_routes(table=_MAIN), blocks, names)),
            "neighbours": list(_entries(kernel.get_neighbours(), mac, "{to} dev {link} lladdr {mac}", names)),
            "forwarding": list(_entries(kernel.fdb("dump"), mac, "{mac} dev {link} dst {to}", names)),
        }


def _routes(messages: Iterator[Any], blocks: Collection[IPNetwork], names: dict[int, str]) -> Iterator[str]:
    for route in messages:
        to = route.get_attr("RTA_DST")
        if to is not None and (dst := ip_network(f"{to}/{route['dst_len']}")) in blocks:
            via = route.get_attr("RTA_GATEWAY")
            yield f"{dst}{f' via {via}' if via else ''} dev {names.get(route.get_attr('RTA_OIF'), '?')}"


def _entries(messages: Iterator[Any], mac: str, shape: str, names: dict[int, str]) -> Iterator[str]:
    for entry in messages:
        if entry.get_attr("NDA_LLADDR") == mac and (to := entry.get_attr("NDA_DST")) is not None:
            yield shape.format(to=to, mac=mac, link=names.get(entry["ifindex"], "?"))
