"""Finds the attachments of the reference plugins on this host, and compares each with what the host has.

Where they are is in libcni's cache. What follows from a file there is what the plugins made; the packet filter, links,
leases and files of the host must be exactly that, or the attachment says what is not understood.
"""

from __future__ import annotations

from collections import Counter

from cni_cnm.errors import CnmError, InvalidNamespace, NamespaceGone
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.reference import cache, configuration, host_rules, leases, limits, names, result, saved_tuning
from cni_cnm.reference.attachment import Attachment
from cni_cnm.reference.compare import compare_rules
from cni_cnm.reference.forms import with_forms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.kernel import Namespaces, Stack
    from cni_cnm.model import Address
    from cni_cnm.reference.cache import Cached
    from cni_cnm.reference.host_rules import HostRules
    from cni_cnm.reference.result import Result


class Discovered(NamedTuple):
    attachments: tuple[Attachment, ...]
    rules: HostRules
    """The packet filter that they were compared with."""
    unreadable: tuple[str, ...] = ()
    """Files of the cache that are not understood, one sentence each."""


def read_all(namespaces: Namespaces, folder: str = cache.FOLDER) -> Discovered:
    """One pass over the host, in the calling thread's network namespace. CnmError where the host cannot be read."""
    found, wrong = cache.read_all(folder)
    seen = host_rules.read()
    with namespaces.host() as stack:
        attachments = tuple(look(cached, namespaces, stack, seen) for cached in found)
    return Discovered(_with_shared_addresses(attachments), seen, tuple(wrong))


def look(cached: Cached, namespaces: Namespaces, stack: Stack, seen: HostRules) -> Attachment:
    """What the plugins have made of one attachment, compared with the host. `stack`, `seen`: the host's."""
    asked = configuration.parse(cached)
    attachment = Attachment(cached, asked, not_understood=asked.not_understood)
    if asked.not_understood or asked.bridge is None:
        return attachment
    try:
        given = result.parse(cached.result)
    except CnmError as error:
        return attachment._replace(not_understood=(f"its cached {error.msg}",))
    attachment = with_forms(_with_result(attachment, given), seen)
    wrong = [
        *_wrong_in_container(attachment, namespaces),
        *_wrong_on_host(attachment, stack),
        *leases.missing(attachment.key, asked.bridge, [address.interface.ip for address in attachment.addresses]),
    ]
    attachment = attachment._replace(limits=_limits(attachment, stack, wrong), tuning=_tuning(attachment, wrong))
    return attachment._replace(not_understood=(*wrong, *compare_rules(attachment, seen)))


def _with_result(attachment: Attachment, given: Result) -> Attachment:
    """The bridge's part of the result: container's interface, addresses, host's end of the veth."""
    key, bridge = attachment.key, attachment.bridge
    mac = next((one.mac for one in given.interfaces if one.name == key.ifname and one.sandbox), "")
    host_links = [one.name for one in given.interfaces if not one.sandbox and one.name not in (bridge, names.ifb(key))]
    return attachment._replace(
        interfaces=given.interfaces,
        mac=mac,
        host_link=host_links[0] if host_links else "",
        addresses=_addresses(key.ifname, given),
    )


def _addresses(ifname: str, given: Result) -> tuple[Address, ...]:
    """Those of the container's interface, as portmap finds them."""
    kept = []
    for address, index in zip(given.addresses, given.of, strict=True):
        if index is not None and 0 <= index < len(given.interfaces):
            link = given.interfaces[index]
            if link.name != ifname or not link.sandbox:
                continue
        kept.append(address)
    return tuple(kept)


def _wrong_in_container(attachment: Attachment, namespaces: Namespaces) -> list[str]:
    ifname = attachment.key.ifname
    in_result = (one.sandbox for one in attachment.interfaces if one.name == ifname and one.sandbox)
    netns = attachment.cached.netns or next(in_result, "")  # libcni before 1.2 keeps it in the result alone
    if not netns:
        return ["its cached file names no network namespace"]
    try:
        target = namespaces.open(netns)
    except (NamespaceGone, InvalidNamespace) as error:
        return [error.msg]
    with target:
        link = target.link(ifname)
        if link is None or link.kind != "veth":
            return [f"{ifname} in {netns} is {'missing' if link is None else 'no veth'}"]
        there = {address.ip for address in target.addresses(link.ifindex)}
    missing = [str(one.interface.ip) for one in attachment.addresses if one.interface.ip not in there]
    return [f"{ifname} in {netns} does not have the address {ip}" for ip in missing]


def _wrong_on_host(attachment: Attachment, stack: Stack) -> list[str]:
    name, bridge = attachment.host_link, stack.link(attachment.bridge)
    link = stack.link(name) if name else None
    if link is None or link.kind != "veth":
        return [f"the host's end of its veth, {name or 'which its result does not name'}, is missing"]
    if bridge is None or bridge.kind != "bridge":
        return [f"its bridge {attachment.bridge} is missing"]
    return [] if link.master == bridge.ifindex else [f"{name} is not a port of {attachment.bridge}"]


def _limits(attachment: Attachment, stack: Stack, wrong: list[str]) -> limits.Limits | None:
    """What the host has, which must be what bandwidth makes."""
    ifb, asked = names.ifb(attachment.key), attachment.configuration.bandwidth
    expected = limits.wanted(asked, attachment.host_link, ifb) if asked is not None else None
    found = limits.read(stack, attachment.host_link, ifb)
    if found != expected:
        wrong.append(f"the rate limits of {attachment.host_link} are not those that bandwidth makes")
    return found


def _tuning(attachment: Attachment, wrong: list[str]) -> saved_tuning.SavedTuning | None:
    asked = attachment.configuration.tuning
    if asked is None or not asked.saves:
        return None
    place = saved_tuning.path(attachment.key, asked.data_dir)
    try:
        saved = saved_tuning.read(place)
    except CnmError as error:
        wrong.append(error.msg)
        return None
    if saved is None:
        wrong.append(f"{place}, which tuning restores from, is missing")
    return saved


def _with_shared_addresses(attachments: Sequence[Attachment]) -> tuple[Attachment, ...]:
    """firewall's rules are an address's: of two containers with one address it is not known whose they are."""
    used = Counter(address.interface.ip for one in attachments for address in one.addresses)
    checked = []
    for one in attachments:
        twice = [str(address.interface.ip) for address in one.addresses if used[address.interface.ip] > 1]
        reasons = tuple(f"another cached container has its address {ip}, too" for ip in twice)
        checked.append(one._replace(not_understood=(*one.not_understood, *reasons)))
    return tuple(checked)
