"""Masquerade: packets that an endpoint sends out of its subnet get an address of the host.

map masquerade4, masquerade6    address of the endpoint → goto the chain of its subnet
chain outside_<subnet>          masquerades all but packets within the subnet and multicast
"""

from __future__ import annotations

from cni_cnm.firewall import INET, comment
from cni_cnm.kernel import Element, Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.model import IPInterface, IPNetwork

_BASE = f"""\
add table {INET}
add map {INET} masquerade4 {{ type ipv4_addr : verdict; }}
add map {INET} masquerade6 {{ type ipv6_addr : verdict; }}
add chain {INET} source_nat {{ type nat hook postrouting priority srcnat; }}
flush chain {INET} source_nat
add rule {INET} source_nat ip saddr vmap @masquerade4
add rule {INET} source_nat ip6 saddr vmap @masquerade6
"""


def add(endpoint_id: str, label: str, addresses: Sequence[IPInterface]) -> Transaction:
    """Masquerade these addresses. The prefix of each is the subnet that is not masqueraded."""
    owner = comment(endpoint_id, label)
    subnets = dict.fromkeys(address.network for address in addresses)
    return Transaction(
        declare=_BASE + "".join(map(_subnet, subnets)),
        put=tuple(element._replace(comment=owner) for element in map(_element, addresses)),
    )


def remove(endpoint_id: str, label: str, addresses: Sequence[IPInterface]) -> Transaction:
    """The reverse. Use it only while the endpoint still has the addresses: the address is the whole key."""
    return Transaction(remove=add(endpoint_id, label, addresses).put)


def _element(address: IPInterface) -> Element:
    return Element(INET, f"masquerade{address.version}", str(address.ip), f"goto {_chain(address.network)}")


def _chain(subnet: IPNetwork) -> str:
    """Names in nft cannot have a colon."""
    return f"outside_{str(subnet).replace(':', '-')}"


def _subnet(subnet: IPNetwork) -> str:
    family, multicast = ("ip", "224.0.0.0/4") if subnet.version == 4 else ("ip6", "ff00::/8")
    chain = _chain(subnet)
    return f"""\
add chain {INET} {chain}
flush chain {INET} {chain}
add rule {INET} {chain} {family} daddr {subnet} return
add rule {INET} {chain} {family} daddr {multicast} return
add rule {INET} {chain} masquerade
"""
