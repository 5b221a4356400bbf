"""The only code that calls the kernel: netlink, nftables, sysctls, namespaces.

The engine above gets `Namespaces`, `Nft` and `ForeignFirewalls` from wiring.py. It never sees a netlink message and
never enters a namespace. Errors are `KernelError` with the kernel's errno and a sentence that names the object.

    contract/      values and protocols, also importable from here: all that the engine uses, but for a few functions
    netns.py       KernelNamespaces: opens namespaces by path or descriptor
    stack.py       KernelStack: links, addresses, routes, sysctls of one namespace     rtnetlink/
    nft.py         KernelNft: elements, rules, tracked connections                     nftables/, conntrack.py
    foreign_firewalls.py    iptables of both kinds, and firewalld
    netlink/       sockets, messages and attributes that all of them share

tests/memory_kernel does the same in memory. tests/contract runs on both.
"""

from __future__ import annotations

from cni_cnm.kernel.contract.element import (
    Counter,
    Element,
    ElementTaken,
    Handle,
    Rule,
    Transaction,
    link_key,
    link_name,
    merge,
)
from cni_cnm.kernel.contract.link import (
    DELETION_GROUP,
    UNICAST_HAIRPIN_GROUP,
    Hardware,
    Link,
    Port,
    PortState,
    Rate,
    Vlan,
)
from cni_cnm.kernel.contract.route import CLUSTER, RouteEntry, RoutingRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.contract.foreign_firewalls import ForeignFirewalls
    from cni_cnm.kernel.contract.namespaces import Namespaces
    from cni_cnm.kernel.contract.nft import Nft, Stream
    from cni_cnm.kernel.contract.stack import Stack

__all__ = [
    "CLUSTER",
    "Counter",
    "DELETION_GROUP",
    "Element",
    "ElementTaken",
    "ForeignFirewalls",
    "Handle",
    "Hardware",
    "Link",
    "Namespaces",
    "Nft",
    "Port",
    "PortState",
    "Rate",
    "RouteEntry",
    "RoutingRule",
    "Rule",
    "Stack",
    "Stream",
    "Transaction",
    "UNICAST_HAIRPIN_GROUP",
    "Vlan",
    "link_key",
    "link_name",
    "merge",
]

_PROTOCOLS = {
    "ForeignFirewalls": "foreign_firewalls",
    "Namespaces": "namespaces",
    "Nft": "nft",
    "Stack": "stack",
}


def __getattr__(name: str) -> object:
    """Protocols are for type checkers: a pod's call loads none of them (0.4 ms)."""
    if name not in _PROTOCOLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.contract.{_PROTOCOLS[name]}"), name)
