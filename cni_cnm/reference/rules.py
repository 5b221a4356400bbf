"""The packet filter's rules of one attachment, in the order that the reference makes them."""

from __future__ import annotations

from cni_cnm.reference import iptables_form, nftables_form
from cni_cnm.reference.configuration import IPTABLES, NFTABLES
from cni_cnm.reference.rule import Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cni_cnm.model import IPInterface
    from cni_cnm.reference.attachment import Attachment


def rules_of(attachment: Attachment) -> tuple[Rule, ...]:
    """Its own: no other pod needs them, and the reference's DEL removes them."""
    return tuple(_unique(_own(attachment)))


def shared_rules_of(attachment: Attachment) -> tuple[Rule, ...]:
    """Those that it needs with other pods: the reference's ADD makes what is missing, and its DEL leaves them."""
    return tuple(_unique(_shared(attachment)))


def isolation_of(attachment: Attachment) -> tuple[Rule, ...]:
    """Of the shared rules those of its bridge's isolation."""
    link = f"-o {attachment.bridge} "
    return tuple(rule for rule in shared_rules_of(attachment) if rule.is_xt() and link in rule.text)


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
