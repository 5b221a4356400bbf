"""Compares the rules that an attachment should have with those of the host that are in its chains or name it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from cni_cnm.reference import iptables_form, names, nftables_form
from cni_cnm.reference.rule import XT_FAMILIES, words
from cni_cnm.reference.rules import rules_of, shared_rules_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.reference.attachment import Attachment
    from cni_cnm.reference.host_rules import FoundRule, HostRules


def compare_rules(attachment: Attachment, seen: HostRules) -> list[str]:
    """A sentence for each rule that is missing, unknown or changed."""
    expected = Counter(rule.same() for rule in rules_of(attachment))
    found = list(own_rules(attachment, seen))
    there = Counter(one.rule.same() for one in found)
    texts = {one.rule.same(): one.rule for one in found} | {rule.same(): rule for rule in rules_of(attachment)}
    wrong = [f"its rule {_shown(texts[same])} is missing" for same in expected if same not in there]
    wrong += [f"the rule {_shown(texts[same])} is not one that its plugins make" for same in there - expected]
    if not wrong:
        wrong += _wrong_order(attachment, seen)
    absent = (rule for rule in shared_rules_of(attachment) if not seen.has(rule))
    wrong += [f"the shared rule {_shown(rule)} is missing" for rule in absent]
    chains = {names.masquerade_chain(attachment.key), names.ports_chain(attachment.key)} & seen.elsewhere
    wrong += [f"its chain {chain} is in the other backend of iptables" for chain in sorted(chains)]
    return wrong


def _wrong_order(attachment: Attachment, seen: HostRules) -> Iterator[str]:
    """In its own chains the order counts: a packet is marked before its destination is changed."""
    for place in own_chains(attachment, seen):
        expected = [rule.same() for rule in rules_of(attachment) if (rule.table, rule.chain) == place]
        if expected != [one.rule.same() for one in seen.chains[place]]:
            yield f"the rules of its chain {place[1]} of {place[0]} are in another order"


def own_rules(attachment: Attachment, seen: HostRules) -> Iterator[FoundRule]:
    """Every rule of the host that is this attachment's by its chain, its comment, or an address in CNI-FORWARD."""
    key = attachment.key
    chains = {names.masquerade_chain(key), names.ports_chain(key), names.old_ports_chain(key)}
    spoof = {names.spoof_chain(key), f"{names.spoof_chain(key)}-mac"}
    comments = {
        nftables_form.MASQUERADE: f'comment "{names.nft_masquerade_comment(key)}"',
        nftables_form.SPOOF: f'comment "{names.spoof_comment(key)}"',
    }
    hosts = {f"{one.interface.ip}/{one.interface.max_prefixlen}" for one in attachment.addresses}
    for (table, chain), rules in seen.chains.items():
        for found in rules:
            text = found.rule.text
            if found.rule.is_xt():
                accepts = chain == iptables_form.FORWARD and _names(text, hosts)
                if accepts or chain in chains or _jumps_to(text, chains):
                    yield found
            elif table in comments:
                if text.endswith(comments[table]) or (table == nftables_form.SPOOF and chain in spoof):
                    yield found
            elif attachment.ports and _is_port_rule(attachment, chain, text):
                yield found


def own_chains(attachment: Attachment, seen: HostRules) -> list[tuple[str, str]]:
    """Table and name of each chain that only this attachment has."""
    key = attachment.key
    xt = (names.masquerade_chain(key), names.ports_chain(key), names.old_ports_chain(key))
    wanted = [(f"{program} nat", chain) for program in XT_FAMILIES.values() for chain in xt]
    wanted += [(nftables_form.SPOOF, chain) for chain in (names.spoof_chain(key), f"{names.spoof_chain(key)}-mac")]
    return [place for place in wanted if place in seen.chains]


def _is_port_rule(attachment: Attachment, chain: str, text: str) -> bool:
    """The comment does not name the network: of a container with two, the address says whose the rule is."""
    if not text.endswith(f' comment "{names.nft_ports_comment(attachment.key)}"'):
        return False
    if chain not in nftables_form.PORT_CHAINS:
        return True
    hosts = [one.interface.ip for one in attachment.addresses]
    starts = tuple(f"[{host}]" if host.version == 6 else f"{host}:" for host in hosts)
    return any(word.startswith(starts) or word in map(str, hosts) for word in text.split(" "))


def _jumps_to(text: str, chains: set[str]) -> bool:
    return text.rpartition("-j ")[2] in chains


def _names(text: str, hosts: set[str]) -> bool:
    spelled = list(words(text))
    return any(flag in ("-s", "-d") and value in hosts for flag, value in pairwise(spelled))


def _shown(rule: object) -> str:
    table, chain, text = rule[:3]  # type: ignore[index]
    return f"`{chain} {text}` of {table}"
