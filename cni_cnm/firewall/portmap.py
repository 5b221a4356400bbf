"""Published ports: connections to a port of the host go to an endpoint.

The key in each family N is (address of the host,) protocol and port. Maps with an address are looked up first:

    map portsN_at, rangesN_at    one address of the host   → endpoint's address and port; a range: address
    map portsN, rangesN          every address of the host → the same; a range keeps the port numbers
    map hairpinN                 endpoint's address → goto hairpin_<subnet> or hairpin_all

Only connections to an address of this host are redirected. Those from the endpoint's subnet, from the endpoint itself
and from 127.0.0.1 are masqueraded, or the answer would not pass the host. A connection that another program redirects
to the endpoint is not: the mark `MARK` tells them apart, from the redirection to `hairpin`. Conditions of a network
(`conditionsV4`, `conditionsV6`) have their own maps and chains, named by a digest of their text.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

from cni_cnm.errors import InvalidConfig
from cni_cnm.firewall import INET, comment, drop, drop_counters
from cni_cnm.firewall.portmap_options import PROTOCOLS
from cni_cnm.kernel import Element, Transaction
from cni_cnm.model import PortmapOptions, digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cni_cnm.model import IPAddress, IPInterface, IPNetwork, PortMapping

DEFAULT = PortmapOptions()
MARK = 0x2000
"""The bit of a connection's mark that is set while its first packet is on its way from a published port.

The reference portmap plugin marks packets with the same bit, for the same purpose, so other programs leave it alone.
"""
_UNMARK = f"ct mark set ct mark and {~MARK & 0xFFFFFFFF:#x}"
_FAMILIES = {4: ("ip", "ipv4"), 6: ("ip6", "ipv6")}


def publish(
    endpoint_id: str,
    label: str,
    addresses: Sequence[IPInterface],
    mappings: Sequence[PortMapping],
    options: PortmapOptions = DEFAULT,
) -> Transaction:
    """Publish ports at the endpoint's first address of each family. Another endpoint's port is never replaced."""
    targets = {address.version: address for address in reversed(addresses)}
    if mappings and not targets:
        raise InvalidConfig("the endpoint has no address, so no port can be published")
    owner = comment(endpoint_id, label)
    claim, put = [], []
    for version in sorted(targets):
        target = targets[version]
        suffix, address = _suffix(options), str(target.ip)
        ports = [element for mapping in mappings for element in _elements(mapping, version, address, suffix, owner)]
        claim += ports
        if ports and (chain := _hairpin_chain(target.network, options)):
            put.append(Element(INET, f"hairpin{version}", address, f"goto {chain}", owner))
    declare = _declare(options) + "".join(_hairpin(target.network, options) for target in targets.values())
    return Transaction(declare, put=tuple(put), claim=tuple(claim))


def unpublish(
    endpoint_id: str,
    label: str,
    addresses: Sequence[IPInterface],
    mappings: Sequence[PortMapping],
    options: PortmapOptions = DEFAULT,
) -> Transaction:
    """Unpublish the ports that this endpoint still has. Those of other endpoints stay."""
    published = publish(endpoint_id, label, addresses, mappings, options)
    return Transaction(release=published.claim + published.put)


def streams(
    mappings: Sequence[PortMapping], protocols: Sequence[str] = ("tcp", "udp")
) -> tuple[tuple[int, range], ...]:
    """Protocol and host ports whose tracked streams may have to be deleted (kernel/conntrack.py)."""
    return tuple(
        (PROTOCOLS[mapping.protocol], range(mapping.host_port, mapping.host_port + mapping.size))
        for mapping in mappings
        if mapping.protocol in protocols
    )


def targets(published: Iterable[Element]) -> set[IPAddress]:
    """Addresses that elements of published ports lead to."""
    ports = (element for element in published if element.set.startswith(("ports", "ranges")))
    return {ip_address(element.value.partition(" ")[0]) for element in ports}


def sysctls(bridge: str, options: PortmapOptions = DEFAULT) -> tuple[tuple[str, str], ...]:
    """Sysctls of the host's link to the endpoints that connections from 127.0.0.1 need."""
    return ((f"net/ipv4/conf/{bridge}/route_localnet", "1"),) if options.snat else ()


def _elements(mapping: PortMapping, version: int, address: str, suffix: str, owner: str) -> Iterator[Element]:
    host_ip = mapping.host_ip
    if host_ip is not None and host_ip.version != version:
        return
    at, prefix = "", f"{PROTOCOLS[mapping.protocol]} . "
    if host_ip is not None and not host_ip.is_unspecified:
        at, prefix = "_at", f"{host_ip} . {prefix}"
    first = mapping.host_port
    if mapping.size > 1 and mapping.container_port == first:
        ports = f"{first}-{first + mapping.size - 1}"
        yield Element(INET, f"ranges{version}{at}{suffix}", f"{prefix}{ports}", address, owner)
        return
    for offset in range(mapping.size):
        value = f"{address} . {mapping.container_port + offset}"
        yield Element(INET, f"ports{version}{at}{suffix}", f"{prefix}{first + offset}", value, owner)


def _suffix(options: PortmapOptions) -> str:
    conditions = (" ".join(options.conditions4), " ".join(options.conditions6))
    return f"_{digest(*conditions)[:8]}" if any(conditions) else ""


@lru_cache(64)
def _hairpin_chain(subnet: IPNetwork, options: PortmapOptions) -> str:
    if options.masq_all:
        return "hairpin_all"
    return f"hairpin_{str(subnet).replace(':', '-')}" if options.snat else ""


@lru_cache(64)
def _hairpin(subnet: IPNetwork, options: PortmapOptions) -> str:
    """The declaration of the chain that masquerades packets whose answers must pass the host."""
    chain = _hairpin_chain(subnet, options)
    if not chain:
        return ""
    lines = [f"add chain {INET} {chain}", f"flush chain {INET} {chain}"]
    if options.masq_all:
        lines.append(f"add rule {INET} {chain} masquerade")
    else:
        family = _FAMILIES[subnet.version][0]
        lines.append(f"add rule {INET} {chain} {family} saddr {subnet} masquerade")
        if subnet.version == 4:
            lines.append(f"add rule {INET} {chain} ip saddr 127.0.0.0/8 masquerade")
    return "\n".join(lines) + "\n"


@lru_cache(16)
def _declare(options: PortmapOptions) -> str:
    suffix = _suffix(options)
    lines = [f"add table {INET}"]
    for version, (_, kind) in _FAMILIES.items():
        for at, where in (("", ""), ("_at", f"{kind}_addr . ")):
            name, key = f"{version}{at}{suffix}", f"{where}inet_proto . inet_service"
            lines.append(f"add map {INET} ports{name} {{ type {key} : {kind}_addr . inet_service; }}")
            lines.append(f"add map {INET} ranges{name} {{ type {key} : {kind}_addr; flags interval; }}")
        lines.append(f"add map {INET} hairpin{version} {{ type {kind}_addr : verdict; }}")
    published, redirected = f"published{suffix}", f"redirected{suffix}"
    for chain, base in (
        ("loopback", "type filter hook prerouting priority -300;"),
        (f"publish{suffix}", "type nat hook prerouting priority -100;"),
        (f"publish_local{suffix}", "type nat hook output priority -100;"),
        ("hairpin", "type nat hook postrouting priority 100;"),
        (published, ""),
        (redirected, ""),
    ):
        lines.append(f"add chain {INET} {chain}" + (f" {{ {base} }}" if base else ""))
        lines.append(f"flush chain {INET} {chain}")
    lines.append(drop_counters(INET, "loopback").rstrip())
    # route_localnet makes the kernel accept 127/8 from the network, where it must never come from
    lines.append(f'add rule {INET} loopback iifname != "lo" ip daddr 127.0.0.0/8 {drop("loopback")}')
    # other loopback addresses are services of the host (127.0.0.53); the kernel routes nothing from ::1
    local = {4: "ip daddr 127.0.0.0/8 ip daddr != 127.0.0.1", 6: "ip6 daddr ::1"}
    for version, (family, kind) in _FAMILIES.items():
        rule, port = f"add rule {INET} {published}", "meta l4proto . th dport"
        where, number = f"{rule} dnat {family} to {family} daddr . {port} map", f"{version}_at{suffix}"
        lines += [f"{where} @ports{number}", f"{where} @ranges{number}", f"{rule} {local[version]} return"]
        where, number = f"{rule} dnat {family} to {port} map", f"{version}{suffix}"
        lines += [f"{where} @ports{number}", f"{where} @ranges{number}"]
        given = options.conditions4 if version == 4 else options.conditions6
        conditions = " ".join((f"meta nfproto {kind}", *given))
        for chain in ("publish", "publish_local"):
            lines.append(f"add rule {INET} {chain}{suffix} {conditions} fib daddr type local jump {redirected}")
        came = f"meta nfproto {kind} ct status dnat ct mark and {MARK:#x} != 0"
        lines.append(f"add rule {INET} hairpin {came} {_UNMARK} {family} daddr vmap @hairpin{version}")
    # dnat ends the way through these chains, so the last rule is met by what no published port has taken
    for what in (f"ct mark set ct mark or {MARK:#x}", f"jump {published}", _UNMARK):
        lines.append(f"add rule {INET} {redirected} {what}")
    return "\n".join(lines) + "\n"
