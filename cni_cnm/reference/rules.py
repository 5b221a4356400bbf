"""The packet filter's rules of one attachment, in the order that the reference makes them."""

from __future__ import annotations

from cni_cnm.reference import iptables_form, nftables_form
from cni_cnm.reference.configuration import IPTABLES, NFTABLES
from cni_cnm.reference.rule import XT_FAMILIES, Rule, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cni_cnm.model import IPInterface
    from cni_cnm.reference.attachment import Attachment
    from cni_cnm.reference.host_rules import HostRules


def rules_of(attachment: Attachment) -> tuple[Rule, ...]:
    """Its own: no other pod needs them, and the reference's DEL removes them."""
    return tuple(_unique(_own(attachment)))


def shared_rules_of(attachment: Attachment) -> tuple[Rule, ...]:
    """Those that it needs with other pods: the reference's ADD makes what is missing, and its DEL leaves them."""
    return tuple(_unique(_shared(attachment)))


def isolation_of(bridge: str) -> tuple[Rule, ...]:
    """Those of a bridge's isolation, with each policy and in both wordings."""
    made = (
        iptables_form.isolation(bridge, policy, version, wording)
        for version in XT_FAMILIES
        for policy in ("same-bridge", "isolated")
        for wording in (iptables_form.NEW_COMMENT, iptables_form.OLD_COMMENT)
    )
    return tuple(_unique(rule for rules in made for rule in rules if f"-o {bridge} " in rule.text))


def isolated_bridges(seen: HostRules) -> set[str]:
    """The bridges that the host's rules keep other isolated bridges out of."""
    found = set()
    for program in XT_FAMILIES.values():
        for one in seen.chains.get((f"{program} filter", iptables_form.STAGE_2), ()):
            named = words(one.rule.text)
            if next(named, "") == "-o":
                found.add(next(named, ""))
    return found


def port_addresses(attachment: Attachment) -> tuple[IPInterface, ...]:
    """Where published ports lead: the first address of each family."""
    found: dict[int, IPInterface] = {}
    for given in attachment.addresses:
        found.setdefault(given.interface.version, given.interface)
    return tuple(found.values())


def _own(attachment: Attachment) -> Iterator[Rule]:
    key, configuration = attachment.key, attachment.configuration
    addresses = [address.interface for address in attachment.addresses]
    if attachment.spoof_mac:
        yield from nftables_form.spoof_check(key, attachment.host_link, attachment.spoof_mac)
    if attachment.masquerade == IPTABLES:
        yield from iptables_form.masquerade(key, addresses)
    elif attachment.masquerade == NFTABLES:
        yield from nftables_form.masquerade(key, addresses)
    portmap = configuration.portmap
    if portmap is not None and portmap.mappings:
        for address in port_addresses(attachment):
            if attachment.ports == IPTABLES:
                yield from iptables_form.ports(key, portmap, address)
            elif attachment.ports == NFTABLES:
                yield from nftables_form.ports(key, portmap, address, older=attachment.older_host_ip)
    if configuration.firewall is not None:
        for address in addresses:
            yield from iptables_form.accepts(address)


def _shared(attachment: Attachment) -> Iterator[Rule]:
    configuration = attachment.configuration
    if attachment.masquerade == NFTABLES:
        yield from nftables_form.masquerade_shared()
    portmap = configuration.portmap
    if portmap is not None and portmap.mappings:
        for address in port_addresses(attachment):
            if attachment.ports == IPTABLES:
                yield from iptables_form.ports_shared(portmap, address)
            elif attachment.ports == NFTABLES:
                yield from nftables_form.ports_shared(portmap, address.version, older=attachment.older_jumps)
    firewall = configuration.firewall
    if firewall is not None:
        for given in attachment.addresses:
            yield from iptables_form.accepts_shared(firewall.admin_chain, given.interface)
        for version in dict.fromkeys(given.interface.version for given in attachment.addresses):
            if firewall.policy:
                bridge = attachment.interfaces[0].name
                yield from iptables_form.isolation(bridge, firewall.policy, version, attachment.isolation_words)


def _unique(rules: Iterable[Rule]) -> Iterator[Rule]:
    """The reference appends a rule only where it is missing."""
    made = set()
    for rule in rules:
        same = rule.same()
        if same not in made:
            made.add(same)
            yield rule
