"""Finds the rules of the reference plugins for one container, for a DEL of a pod that they created. Pure.

In iptables, as a script for `iptables-restore --noflush`, from what `iptables-save` prints:

    nat     CNI-<24 hex>        bridge, ipMasq: addresses of the container, jumped to from POSTROUTING
            CNI-DN-<21 hex>     portmap: its published ports, jumped to from CNI-HOSTPORT-DNAT
    filter  CNI-FORWARD         firewall: two rules an address, without an owner

In nftables (nftables backends from 1.6 on, and macspoofchk), by the comments of the rules:

    inet cni_plugins_masquerade    masq_checks: a rule an address; hashes of network, interface and container
    ip, ip6 cni_hostport           hostports, masquerading: published ports; the container's id alone
    bridge nat                     PREROUTING: a jump to cni-br-iface-<id>-<interface>, which jumps to another, …-mac
"""

from __future__ import annotations

from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from cni_cnm.kernel import Rule
    from cni_cnm.model import EndpointKey, IPAddress

_MASQUERADE, _SPOOF = "inet cni_plugins_masquerade", "bridge nat"
_HOST_PORTS = ("ip cni_hostport", "ip6 cni_hostport")
TABLES = (_MASQUERADE, *_HOST_PORTS, _SPOOF)
"""Tables of nftables that may have rules of the reference."""


def chains(network: str, container_id: str) -> frozenset[str]:
    """Chain names as utils.FormatChainName makes them: SHA-512 of network and container id, cut to iptables' limit."""
    from hashlib import sha512  # noqa: TID251 - only where the reference's rules are looked for

    digest = sha512(f"{network}{container_id}".encode()).hexdigest()
    return frozenset((f"CNI-{digest[:24]}", f"CNI-DN-{digest[:21]}", f"CNI-SN-{digest[:21]}"))


def removal(saved: str, own_chains: frozenset[str], addresses: Iterable[str]) -> str:
    """The script that removes them; "" if there are none. `addresses` are those of the container's leases."""
    hosts = {f"{address}/{128 if ':' in address else 32}" for address in addresses}
    script: list[str] = []
    table, found = "", False
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line
            script.append(line)
        elif line == "COMMIT":
            script += [*_drop(own_chains, saved, table), line]
        elif line.startswith("-A ") and _is_of(line.split(), own_chains, hosts):
            script.append(f"-D{line[2:]}")
            found = True
    found = found or any(f":{chain} " in saved for chain in own_chains)
    return "\n".join(script) + "\n" if found else ""


def _is_of(words: list[str], own_chains: frozenset[str], hosts: set[str]) -> bool:
    if words[-2:-1] == ["-j"] and words[-1] in own_chains:
        return True
    named = {value for flag, value in pairwise(words) if flag in ("-s", "-d")}
    return words[1] == "CNI-FORWARD" and bool(named & hosts)


def _drop(own_chains: frozenset[str], saved: str, table: str) -> Iterator[str]:
    section = saved[saved.index(table) :].split("\nCOMMIT", 1)[0]
    for chain in sorted(own_chains):
        if f":{chain} " in section:
            yield f"-F {chain}"
            yield f"-X {chain}"


def names(key: EndpointKey) -> tuple[str, str]:
    """Words in the comments of its nftables rules: hashes (cut SHA-512), or the container's id."""
    from hashlib import sha512  # noqa: TID251 - only for a DEL without a record

    parts = (key.network, f"{key.ifname}:{key.container_id}")
    return "-".join(sha512(part.encode(errors="surrogateescape")).hexdigest()[:16] for part in parts), key.container_id


def own_rules(rules: Sequence[Rule], key: EndpointKey, kept: Collection[IPAddress]) -> tuple[list[Rule], list[str]]:
    """The rules of the container's interface, and the chains (`FAMILY TABLE CHAIN`) of this interface only.

    The rule of a published port does not name its network. If it leads to an address in `kept`, which the container has
    on another interface, it stays.
    """
    label = f"{key.container_id}-{key.ifname}"
    chains = (f"cni-br-iface-{label}", f"cni-br-iface-{label}-mac")
    found = [rule for rule in rules if _is_own(rule, key, label, kept)]
    there = {rule.chain for rule in found if rule.table == _SPOOF}
    return found, [f"{_SPOOF} {chain}" for chain in chains if chain in there]


def _is_own(rule: Rule, key: EndpointKey, label: str, kept: Collection[IPAddress]) -> bool:
    if rule.table == _MASQUERADE:
        return rule.comment.startswith(names(key)[0])
    if rule.table == _SPOOF:
        return rule.comment == f"macspoofchk-{label}"
    return rule.comment == key.container_id and not any(address.packed in rule.expressions for address in kept)
