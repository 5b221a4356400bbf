"""Compares the rules that an attachment should have with those of the host that are in its chains or name it."""

from __future__ import annotations

from collections import Counter

from cni_cnm.reference import names, nftables_form
from cni_cnm.reference.rule import XT_FAMILIES
from cni_cnm.reference.rules import rules_of, shared_rules_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.reference.attachment import Attachment
    from cni_cnm.reference.host_rules import FoundRule, HostRules
    from cni_cnm.reference.rule import Rule


def compare_rules(attachment: Attachment, seen: HostRules) -> list[str]:
    """A sentence for each rule that is missing, unknown or changed."""
    chains = {names.masquerade_chain(attachment.key), names.ports_chain(attachment.key)} & seen.elsewhere
    if chains:
        return [f"its chain {chain} is in the other backend of iptables" for chain in sorted(chains)]
    expected = Counter(rule.same() for rule in rules_of(attachment))
    found = own_rules(attachment, seen)
    there = Counter(one.rule.same() for one in found)
    texts = {one.rule.same(): one.rule for one in found} | {rule.same(): rule for rule in rules_of(attachment)}
    wrong = [f"its rule {_shown(texts[same])} is missing" for same in expected if same not in there]
    wrong += [f"the rule {_shown(texts[same])} is not one that its plugins make" for same in there - expected]
    if not wrong:
        wrong += _wrong_order(attachment, seen)
    absent = (rule for rule in shared_rules_of(attachment) if not seen.has(rule))
    wrong += [f"the shared rule {_shown(rule)} is missing" for rule in absent]
    return wrong


def _wrong_order(attachment: Attachment, seen: HostRules) -> Iterator[str]:
    """In its own chains the order counts: a packet is marked before its destination is changed."""
    for place in own_chains(attachment, seen):
        expected = [rule.same() for rule in rules_of(attachment) if (rule.table, rule.chain) == place]
        if expected != [one.rule.same() for one in seen.chains[place]]:
            yield f"the rules of its chain {place[1]} of {place[0]} are in another order"


def own_rules(attachment: Attachment, seen: HostRules) -> list[FoundRule]:
    """Every rule of the host that is this attachment's by its chain, its comment, or an address in CNI-FORWARD."""
    key = attachment.key
    found = [one for place in own_chains(attachment, seen) for one in seen.chains[place]]
    for chain in (names.masquerade_chain(key), names.ports_chain(key), names.old_ports_chain(key)):
        found += seen.named(chain)
    for address in attachment.addresses:
        found += seen.named(f"{address.interface.ip}/{address.interface.max_prefixlen}")
    found += seen.named(names.nft_masquerade_comment(key))
    found += seen.named(names.spoof_comment(key))
    if attachment.ports:
        found += [one for one in seen.named(names.nft_ports_comment(key)) if _is_port_rule(attachment, one.rule)]
    return list({id(one): one for one in found}.values())


def own_chains(attachment: Attachment, seen: HostRules) -> list[tuple[str, str]]:
    """Table and name of each chain that only this attachment has."""
    key = attachment.key
    xt = (names.masquerade_chain(key), names.ports_chain(key), names.old_ports_chain(key))
    wanted = [(f"{program} nat", chain) for program in XT_FAMILIES.values() for chain in xt]
    wanted += [(nftables_form.SPOOF, chain) for chain in (names.spoof_chain(key), f"{names.spoof_chain(key)}-mac")]
    return [place for place in wanted if place in seen.chains]


def _is_port_rule(attachment: Attachment, rule: Rule) -> bool:
    """The comment does not name the network: of a container with two, the address says whose the rule is."""
    if rule.chain not in nftables_form.PORT_CHAINS:
        return rule.table in nftables_form.HOST_PORTS.values()
    hosts = [one.interface.ip for one in attachment.addresses]
    starts = tuple(f"[{host}]" if host.version == 6 else f"{host}:" for host in hosts)
    return any(word.startswith(starts) or word in map(str, hosts) for word in rule.text.split(" "))


def _shown(rule: object) -> str:
    table, chain, text = rule[:3]  # type: ignore[index]
    return f"`{chain} {text}` of {table}"
