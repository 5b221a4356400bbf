"""What bridge, portmap and firewall make in iptables, as rules in the order that they make them.

    nat     CNI-<24 hex>           bridge with ipMasq: POSTROUTING jumps to it for each address
            CNI-HOSTPORT-…         portmap: shared by all pods
            CNI-DN-<21 hex>        portmap: one container's ports; CNI-HOSTPORT-DNAT jumps to it
    filter  CNI-FORWARD            firewall: two rules an address; the chain of the administrator comes first
            CNI-ISOLATION-STAGE-…  firewall: rules of a bridge, which the reference never removes

The shared rules are made before the pod's own. A rule that is there already is not made again.
"""

from __future__ import annotations

from cni_cnm.reference import names
from cni_cnm.reference.rule import XT_FAMILIES, Rule, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.model import EndpointKey, IPInterface, PortMapping
    from cni_cnm.reference.configuration import Portmap

HOST_PORTS, SET_MARK, MASQUERADE_MARKED = "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"
FORWARD, STAGE_1, STAGE_2 = "CNI-FORWARD", "CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"
NEW_COMMENT, OLD_COMMENT = "same-bridge|isolated", "same-bridge"
"""In the comments of isolation: since 1.2, and before."""
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
_PORTS_MAX = 15
"""Of one multiport match."""


def masquerade(key: EndpointKey, addresses: Sequence[IPInterface]) -> Iterator[Rule]:
    """Two addresses of a family share the rule of multicast."""
    chain, comment = names.masquerade_chain(key), _comment(names.masquerade_comment(key))
    for address in addresses:
        table = _nat(address)
        yield Rule(table, chain, f"-d {address.network} {comment} -j ACCEPT")
        yield Rule(table, chain, f"! -d {_MULTICAST[address.version]} {comment} -j MASQUERADE")
        yield Rule(table, "POSTROUTING", f"-s {_host(address)} {comment} -j {chain}")


def ports_shared(portmap: Portmap, address: IPInterface) -> Iterator[Rule]:
    table = _nat(address)
    if portmap.snat and not portmap.mark_chain:
        mark = f"{1 << portmap.mark_bit:#x}"
        yield Rule(table, SET_MARK, f"{_comment('CNI portfwd masquerade mark')} -j MARK --set-xmark {mark}/{mark}")
        yield Rule(table, MASQUERADE_MARKED, f"-m mark --mark {mark}/{mark} -j MASQUERADE")
        comment = _comment("CNI portfwd requiring masquerade")
        yield Rule(table, "POSTROUTING", f"{comment} -j {MASQUERADE_MARKED}", first=True)
    for chain in ("PREROUTING", "OUTPUT"):
        yield Rule(table, chain, f"-m addrtype --dst-type LOCAL -j {HOST_PORTS}")


def ports(key: EndpointKey, portmap: Portmap, address: IPInterface) -> Iterator[Rule]:
    """The chain of the container, and the jumps to it."""
    table, chain = _nat(address), names.ports_chain(key)
    for mapping in portmap.mappings:
        yield from _port(table, chain, portmap, mapping, address)
    conditions = portmap.conditions4 if address.version == 4 else portmap.conditions6
    comment = _comment(names.ports_comment(key))
    for protocol in sorted({mapping.protocol for mapping in portmap.mappings}):
        numbers = [str(mapping.host_port) for mapping in portmap.mappings if mapping.protocol == protocol]
        for start in range(0, len(numbers), _PORTS_MAX):
            listed = ",".join(numbers[start : start + _PORTS_MAX])
            matches = f"-p {protocol} {comment} -m multiport --dports {listed}"
            yield Rule(table, HOST_PORTS, " ".join((matches, *conditions, "-j", chain)))


def _port(table: str, chain: str, portmap: Portmap, mapping: PortMapping, address: IPInterface) -> Iterator[Rule]:
    protocol, host = mapping.protocol, ""
    if mapping.host_ip is not None:
        if mapping.host_ip.version != address.version:
            return
        if not mapping.host_ip.is_unspecified:
            host = f"-d {mapping.host_ip}/{mapping.host_ip.max_prefixlen} "
    port = f"-p {protocol} -m {protocol} --dport {mapping.host_port}"
    if portmap.snat:
        mark = portmap.mark_chain or SET_MARK
        if portmap.masq_all:
            yield Rule(table, chain, f"{host}{port} -j {mark}")
        else:
            yield Rule(table, chain, f"-s {address.network} {host}{port} -j {mark}")
            if address.version == 4:
                yield Rule(table, chain, f"-s 127.0.0.1/32 {host}{port} -j {mark}")
    to = f"[{address.ip}]" if address.version == 6 else str(address.ip)
    yield Rule(table, chain, f"{host}{port} -j DNAT --to-destination {to}:{mapping.container_port}")


def accepts_shared(admin_chain: str, address: IPInterface) -> Iterator[Rule]:
    table = _filter(address)
    yield Rule(table, "FORWARD", f"{_comment('CNI firewall plugin rules')} -j {FORWARD}", first=True)
    comment = _comment("CNI firewall plugin admin overrides")
    yield Rule(table, FORWARD, f"{comment} -j {admin_chain}", first=True)


def accepts(address: IPInterface) -> Iterator[Rule]:
    """No comment and no owner: they are the address's."""
    table, host = _filter(address), _host(address)
    yield Rule(table, FORWARD, f"-d {host} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    yield Rule(table, FORWARD, f"-s {host} -j ACCEPT")


def isolation(bridge: str, policy: str, version: int, words: str = NEW_COMMENT) -> Iterator[Rule]:
    """Of a bridge, in the tables of one IP version. `words`: NEW_COMMENT or OLD_COMMENT."""
    table, shared = f"{XT_FAMILIES[version]} filter", _policy_comment(words)
    own = _policy_comment(policy if words == NEW_COMMENT else words)
    yield Rule(table, "FORWARD", f"{shared} -j {STAGE_1}", first=True)
    yield Rule(table, STAGE_1, f"-i {bridge} ! -o {bridge} {own} -j {STAGE_2}", first=True)
    if policy == "isolated":
        yield Rule(table, STAGE_1, f"-i {bridge} -o {bridge} {own} -j DROP", first=True)
    yield Rule(table, STAGE_1, f"{shared} -j RETURN")
    yield Rule(table, STAGE_2, f"-o {bridge} {shared} -j DROP", first=True)
    yield Rule(table, STAGE_2, f"{shared} -j RETURN")


def _policy_comment(words: str) -> str:
    return _comment(f"CNI firewall plugin rules (ingressPolicy: {words})")


def _comment(text: str) -> str:
    return f"-m comment --comment {quoted(text)}"


def _nat(address: IPInterface) -> str:
    return f"{XT_FAMILIES[address.version]} nat"


def _filter(address: IPInterface) -> str:
    return f"{XT_FAMILIES[address.version]} filter"


def _host(address: IPInterface) -> str:
    return f"{address.ip}/{address.max_prefixlen}"
