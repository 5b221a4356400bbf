"""What bridge and portmap make in nftables (from 1.6 on), and macspoofchk, as nft lists it with numbers for symbols.

inet cni_plugins_masquerade    a rule for each address, with hashes of network, interface and container
ip, ip6 cni_hostport           a rule for each published port, with the container's id alone
bridge nat                     macspoofchk: a chain for each interface, and one that has its MAC
"""

from __future__ import annotations

from cni_cnm.reference import names
from cni_cnm.reference.rule import Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.model import EndpointKey, IPInterface
    from cni_cnm.reference.configuration import Portmap

MASQUERADE, SPOOF = "inet cni_plugins_masquerade", "bridge nat"
HOST_PORTS = {4: "ip cni_hostport", 6: "ip6 cni_hostport"}
TABLES = (MASQUERADE, *HOST_PORTS.values(), SPOOF)
ALL_CHAIN, HOST_IP_CHAIN, MASQUERADING = "hostports_all", "hostip_hostports", "masquerading"
"""Chains of HOST_PORTS. The first is of 1.9 and later."""
_IP = {4: "ip", 6: "ip6"}
_LOCAL = "fib daddr type 2"
"""RTN_LOCAL."""
DECLARED = {
    (MASQUERADE, ""): 'comment "Masquerading for plugins from github.com/containernetworking/plugins";',
    (MASQUERADE, "masq_checks"):
        'comment "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet";',
    (MASQUERADE, "postrouting"): "type nat hook postrouting priority 100;",
    (SPOOF, "PREROUTING"): "type filter hook prerouting priority -300; policy accept;",
    **{(table, ""): 'comment "CNI portmap plugin";' for table in HOST_PORTS.values()},
    **{(table, "prerouting"): "type nat hook prerouting priority -100;" for table in HOST_PORTS.values()},
    **{(table, "output"): "type nat hook output priority -100;" for table in HOST_PORTS.values()},
    **{(table, MASQUERADING): "type nat hook postrouting priority 100;" for table in HOST_PORTS.values()},
}  # fmt: skip
"""What a table (without a chain) or a chain is declared with."""
PORT_CHAINS = ("hostports", HOST_IP_CHAIN, MASQUERADING)
"""Of HOST_PORTS: where DEL looks for the container's rules."""


def masquerade_shared() -> Iterator[Rule]:
    yield Rule(MASQUERADE, "postrouting", "ip daddr 224.0.0.0/4 return")
    yield Rule(MASQUERADE, "postrouting", "ip6 daddr ff00::/8 return")
    yield Rule(MASQUERADE, "postrouting", "goto masq_checks")


def masquerade(key: EndpointKey, addresses: Sequence[IPInterface]) -> Iterator[Rule]:
    comment = names.nft_masquerade_comment(key)
    for address in addresses:
        ip = _IP[address.version]
        text = f'{ip} saddr {address.ip} {ip} daddr != {address.network} masquerade comment "{comment}"'
        yield Rule(MASQUERADE, "masq_checks", text)


def ports_shared(portmap: Portmap, version: int, *, older: bool = False) -> Iterator[Rule]:
    """Each ADD of the reference replaces the jumps by those with its own conditions. `older`: of 1.6 to 1.8."""
    table = HOST_PORTS[version]
    conditions = portmap.conditions4 if version == 4 else portmap.conditions6
    if older:
        yield Rule(table, "prerouting", " ".join((*conditions, f"jump {HOST_IP_CHAIN}")))
        yield Rule(table, "prerouting", " ".join((*conditions, "jump hostports")))
        yield Rule(table, "output", " ".join((*conditions, f"jump {HOST_IP_CHAIN}")))
        yield Rule(table, "output", " ".join((*conditions, _LOCAL, "jump hostports")))
        return
    yield Rule(table, ALL_CHAIN, f"jump {HOST_IP_CHAIN}")
    yield Rule(table, ALL_CHAIN, "jump hostports")
    jump = " ".join((*conditions, _LOCAL, f"jump {ALL_CHAIN}"))
    yield Rule(table, "prerouting", jump)
    yield Rule(table, "output", jump)


def ports(key: EndpointKey, portmap: Portmap, address: IPInterface, *, older: bool = False) -> Iterator[Rule]:
    """`older`: those of one host address are in a chain of their own, as 1.6 to 1.8 makes them."""
    table, ip = HOST_PORTS[address.version], _IP[address.version]
    comment = f'comment "{names.nft_ports_comment(key)}"'
    to = f"[{address.ip}]" if address.version == 6 else str(address.ip)
    for mapping in portmap.mappings:
        host = ""
        if mapping.host_ip is not None:
            if mapping.host_ip.version != address.version:
                continue
            if not mapping.host_ip.is_unspecified:
                host = f"{ip} daddr {mapping.host_ip} "
        port = f"{mapping.protocol} dport {mapping.host_port}"
        chain = HOST_IP_CHAIN if host and older else "hostports"
        yield Rule(table, chain, f"{host}{port} dnat to {to}:{mapping.container_port} {comment}")
    if portmap.snat:
        yield Rule(table, MASQUERADING, f"{ip} saddr {address.ip} {ip} daddr {address.ip} masquerade {comment}")
        if address.version == 4:
            yield Rule(table, MASQUERADING, f"ip saddr 127.0.0.1 ip daddr {address.ip} masquerade {comment}")


def spoof_check(key: EndpointKey, host_link: str, mac: str) -> Iterator[Rule]:
    chain, comment = names.spoof_chain(key), f'comment "{names.spoof_comment(key)}"'
    yield Rule(SPOOF, f"{chain}-mac", f"ether saddr {mac} return {comment}")
    yield Rule(SPOOF, f"{chain}-mac", f"drop {comment}")
    yield Rule(SPOOF, chain, f"jump {chain}-mac {comment}")
    yield Rule(SPOOF, "PREROUTING", f'iifname "{host_link}" jump {chain} {comment}')
