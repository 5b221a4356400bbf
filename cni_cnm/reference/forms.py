"""Which form the reference's rules of an attachment have on this host, where the configuration leaves it open.

The plugins choose iptables where they can, and Debian's 1.1.1 knows nothing else, whatever the configuration says. So
the rules themselves decide: those with the attachment's chain, or with its comment.
"""

from __future__ import annotations

from itertools import chain

from cni_cnm.reference import iptables_form, names, nftables_form
from cni_cnm.reference.configuration import IPTABLES, NFTABLES
from cni_cnm.reference.rule import XT_FAMILIES

_HOST_PORTS = frozenset(nftables_form.HOST_PORTS.values())

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.reference.attachment import Attachment
    from cni_cnm.reference.host_rules import HostRules


def with_forms(attachment: Attachment, seen: HostRules) -> Attachment:
    asked, key = attachment.configuration, attachment.key
    masquerade = ports = words = ""
    without_masq_all = older_host_ip = older_jumps = False
    if asked.bridge is not None and asked.bridge.masquerade:
        masquerade = NFTABLES if seen.named(names.nft_masquerade_comment(key)) else IPTABLES
    if asked.portmap is not None and asked.portmap.mappings:
        own = [one for one in seen.named(names.nft_ports_comment(key)) if one.rule.table in _HOST_PORTS]
        ports = NFTABLES if own else IPTABLES
        if ports == IPTABLES and asked.portmap.masq_all and _only_own_subnet(attachment, seen):
            asked, without_masq_all = asked._replace(portmap=asked.portmap._replace(masq_all=False)), True
        older_host_ip = any(one.rule.chain == nftables_form.HOST_IP_CHAIN for one in own)
        older_jumps = bool(own) and not any((table, nftables_form.ALL_CHAIN) in seen.chains for table in _HOST_PORTS)
    if asked.firewall is not None and asked.firewall.policy:
        words = _isolation_words(seen)
    mac = spoof_mac(attachment, seen) if asked.bridge is not None and asked.bridge.spoof_check else ""
    return attachment._replace(
        configuration=asked,
        masquerade=masquerade,
        ports=ports,
        older_host_ip=older_host_ip,
        older_jumps=older_jumps,
        without_masq_all=without_masq_all,
        isolation_words=words,
        spoof_mac=mac,
    )


def as_older_portmap(attachment: Attachment, seen: HostRules) -> Attachment:
    """As a portmap makes its rules that does not know masqAll (iptables), or is of 1.6 to 1.8 (nftables)."""
    asked = attachment.configuration
    if attachment.ports == NFTABLES:
        newer = any((table, nftables_form.ALL_CHAIN) in seen.chains for table in _HOST_PORTS)
        return attachment._replace(older_host_ip=True, older_jumps=not newer)
    if asked.portmap is None:
        return attachment
    return attachment._replace(configuration=asked._replace(portmap=asked.portmap._replace(masq_all=False)))


def _only_own_subnet(attachment: Attachment, seen: HostRules) -> bool:
    """Debian's portmap does not know masqAll: it marks what comes from the container's own subnet."""
    places = [(f"{program} nat", names.ports_chain(attachment.key)) for program in XT_FAMILIES.values()]
    return any(one.rule.text.startswith("-s ") for place in places for one in seen.chains.get(place, ()))


def spoof_mac(attachment: Attachment, seen: HostRules) -> str:
    """What macspoofchk lets through: the MAC that the interface had then. The container's one if the rule is absent."""
    place = nftables_form.SPOOF, f"{names.spoof_chain(attachment.key)}-mac"
    for found in seen.chains.get(place, ()):
        words = found.rule.text.split(" ")
        if words[:2] == ["ether", "saddr"] and len(words) > 3:
            return words[2]
    return attachment.mac


def _isolation_words(seen: HostRules) -> str:
    """As the plugin that is on this host words its comments: the newest, if none was made yet."""
    old = f"(ingressPolicy: {iptables_form.OLD_COMMENT})"
    chains = (seen.chains.get((f"{program} filter", "FORWARD"), ()) for program in XT_FAMILIES.values())
    for found in chain.from_iterable(chains):
        if f"-j {iptables_form.STAGE_1}" in found.rule.text:
            return iptables_form.OLD_COMMENT if old in found.rule.text else iptables_form.NEW_COMMENT
    return iptables_form.NEW_COMMENT
