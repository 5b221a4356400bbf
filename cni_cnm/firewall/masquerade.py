"""Masquerade: packets that an endpoint sends out of its subnet get an address of the host.

map masquerade4, masquerade6    address of the endpoint → goto the chain of its subnet
chain outside_<subnet>          masquerades all but packets within the subnet, multicast and what a set names
chain outside_<subnet>_<source> the same, with that address of the host
set unmasqueraded4, …6          a network's subnet and a destination to which its packets keep their source
"""

from __future__ import annotations

from functools import lru_cache

from cni_cnm.firewall import INET, comment
from cni_cnm.kernel import Element, Transaction
from cni_cnm.model import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni_cnm.kernel import Nft
    from cni_cnm.model import IPInterface, IPNetwork

EXCEPTIONS = ("unmasqueraded4", "unmasqueraded6")

_BASE = f"""\
add table {INET}
add map {INET} masquerade4 {{ type ipv4_addr : verdict; }}
add map {INET} masquerade6 {{ type ipv6_addr : verdict; }}
add set {INET} unmasqueraded4 {{ type ipv4_addr . ipv4_addr; flags interval; }}
add set {INET} unmasqueraded6 {{ type ipv6_addr . ipv6_addr; flags interval; }}
add chain {INET} source_nat {{ type nat hook postrouting priority srcnat; }}
flush chain {INET} source_nat
add rule {INET} source_nat ip saddr vmap @masquerade4
add rule {INET} source_nat ip6 saddr vmap @masquerade6
"""


def add(
    endpoint_id: str,
    label: str,
    addresses: Sequence[IPInterface],
    sources: Sequence[str] = (),
    cluster: Sequence[IPNetwork] = (),
    *,
    of_hosts: bool = False,
) -> Transaction:
    """Masquerade these addresses. The prefix of each is the subnet to which packets are not masqueraded.

    `sources`: addresses that the packets get, at most one of each family; else the kernel chooses. `cluster`: subnets
    of a network of several hosts, at most one of each family, which then count instead. `of_hosts`: one whose
    subnets are not known as a whole; its blocks on other hosts are in the chain `remote_unmasqueraded`.
    """
    owner = comment(endpoint_id, label)
    source = {ip_address(text).version: text for text in sources}
    whole = {subnet.version: subnet for subnet in cluster}
    subnets = [(one, whole.get(one.version) or one.network, source.get(one.version, "")) for one in addresses]
    return Transaction(
        declare=_BASE + "".join(dict.fromkeys(_subnet(subnet, given, of_hosts) for _, subnet, given in subnets)),
        put=tuple(_element(one, subnet, given, owner) for one, subnet, given in subnets),
    )


def add_exceptions(
    network_id: str, name: str, subnets: Iterable[IPNetwork], destinations: Sequence[IPNetwork]
) -> Transaction:
    """Packets from these subnets of a network to the destinations are not masqueraded. None of these may overlap."""
    owner = comment(network_id, name)
    pairs = [(one, other) for one in subnets for other in destinations if one.version == other.version]
    return Transaction(
        _BASE,
        put=tuple(
            Element(INET, f"unmasqueraded{one.version}", f"{_key(one)} . {_key(other)}", comment=owner)
            for one, other in pairs
        ),
    )


def exceptions_of(network_id: str, nft: Nft) -> list[Element]:
    """The elements of a network that `add_exceptions` has put in."""
    found = [element for name in EXCEPTIONS for element in nft.elements(INET, name)]
    return [element for element in found if element.owner == network_id[:12]]


def _key(network: IPNetwork) -> str:
    """As nft lists it."""
    return str(network if network.prefixlen < network.max_prefixlen else network.network_address)


def _element(address: IPInterface, subnet: IPNetwork, source: str, owner: str) -> Element:
    return Element(INET, f"masquerade{address.version}", str(address.ip), f"goto {_chain(subnet, source)}", owner)


@lru_cache(64)
def _chain(subnet: IPNetwork, source: str) -> str:
    """Names in nft cannot have a colon."""
    return f"outside_{subnet}{f'_{source}' if source else ''}".replace(":", "-")


@lru_cache(64)
def _subnet(subnet: IPNetwork, source: str, of_hosts: bool) -> str:
    family, multicast = ("ip", "224.0.0.0/4") if subnet.version == 4 else ("ip6", "ff00::/8")
    chain = _chain(subnet, source)
    remote = f"add rule {INET} {chain} jump remote_unmasqueraded\n" if of_hosts else ""
    return f"""\
{f"add chain {INET} remote_unmasqueraded{chr(10)}" if of_hosts else ""}\
add chain {INET} {chain}
flush chain {INET} {chain}
add rule {INET} {chain} {family} daddr {subnet} return
add rule {INET} {chain} {family} daddr {multicast} return
add rule {INET} {chain} {family} saddr . {family} daddr @unmasqueraded{subnet.version} return
{remote}\
add rule {INET} {chain} {f"snat {family} to {source}" if source else "masquerade"}
"""
