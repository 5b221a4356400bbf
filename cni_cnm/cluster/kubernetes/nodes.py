"""One Node of Kubernetes, as far as it is believed. What it says is untrusted input: every value is checked.

A Node is a host of the network once its agent has announced it. The underlay addresses are believed only if the Node's
status has them, too, and its block is what Kubernetes has given it: its podCIDRs.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cluster import value_json
from cni_cnm.cluster.kubernetes import announcement
from cni_cnm.errors import CnmError, DecodeFailed, shown
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cluster.kubernetes.announcement import Announcement, Terms
    from cni_cnm.cluster.values import ClusterHost
    from cni_cnm.model import IPAddress, IPNetwork, Json

_ADDRESS_TYPES = ("InternalIP", "ExternalIP")
_TIME_DIGITS, _YOUNGEST = 14, 10**14
_LENGTH_MIN = {4: 16, 6: 48}
"""Prefix length of a block. A Node has a few hundred pods, and a larger block may hold other things than pods."""
_ADDRESSES_MAX = 100
"""Of one Node: more are not looked at."""


class Node(NamedTuple):
    """What is used of a Node."""

    name: str
    created: int
    """When the API server made it, as the digits of RFC 3339 in UTC: they are in order of time."""
    alive: bool
    subnets: tuple[IPNetwork, ...]
    """Its podCIDRs, IPv4 first; empty if it has none, or none that can be used."""
    host: ClusterHost | None
    """None: it is not announced, or not believed."""
    terms: Terms | None
    wrong: str = ""
    """A sentence: what of it is left out, and why."""
    outdated: bool = False
    """This host's own Node, announced with other settings than this host has now."""

    @property
    def age(self) -> tuple[int, str]:
        """Sorts the oldest Node first, on all hosts alike."""
        return self.created, self.name


def read(raw: Json) -> Node:
    """DecodeFailed if it has no usable name; what else is wrong, is left out."""
    meta, spec, status = (part(raw, key) for key in ("metadata", "spec", "status"))
    name = validate.require(validate.network_name, meta.get("name"), "the name of a Node", DecodeFailed)
    said: Announcement | None = None
    subnets: tuple[IPNetwork, ...] = ()
    wrong = ""
    try:
        subnets = pod_subnets(name, spec)
        said = announced(name, meta)
        if said is not None:
            require_addresses(said, addresses(status))
    except CnmError as error:
        said, wrong = None, error.msg
    host, terms = said or (None, None)
    return Node(name, _created(meta.get("creationTimestamp")), _alive(status), subnets, host, terms, wrong)


def pod_subnets(name: str, spec: Json) -> tuple[IPNetwork, ...]:
    """The Node's podCIDRs, IPv4 first; empty if it has none. DecodeFailed for other than one of each IP version."""
    given = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    found = [
        validate.require(value_json.cluster_subnet, text, f"a podCIDR of Node {name}", DecodeFailed)
        for text in (given if isinstance(given, list) else [given])
    ]
    if len({each.version for each in found}) != len(found):
        shown_all = ", ".join(map(str, found[:5]))
        raise DecodeFailed(f"the podCIDRs of Node {name} are {shown_all}: more than one of an IP version")
    for each in found:
        if each.prefixlen > each.max_prefixlen - value_json.LEAST_HOST_BITS:
            raise DecodeFailed(f"the podCIDR {each} of Node {name} has no room for a gateway and a pod")
        least = _LENGTH_MIN[each.version]
        if each.prefixlen < least:
            raise DecodeFailed(f"the podCIDR {each} of Node {name} is too large for one Node: /{least} is the largest")
    return tuple(sorted(found, key=lambda each: each.version))


def announced(name: str, meta: Json) -> Announcement | None:
    """What the Node's agent has written; None if it has not. DecodeFailed if it cannot be read."""
    content = part(meta, "annotations").get(announcement.ANNOTATION)
    if content is None:
        return None
    if not isinstance(content, str):
        raise DecodeFailed(f"the annotation {announcement.ANNOTATION} of Node {name} is {shown(content)}, not a text")
    return announcement.read(name, content)


def addresses(status: Json) -> frozenset[IPAddress]:
    """Where the Node says it is reached."""
    given = status.get("addresses")
    found = set()
    for each in given[:_ADDRESSES_MAX] if isinstance(given, list) else ():
        text = each.get("address") if isinstance(each, dict) and each.get("type") in _ADDRESS_TYPES else None
        if isinstance(text, str) and validate.accepts(validate.address, text):
            found.add(validate.address(text))
    return frozenset(found)


def require_addresses(said: Announcement, there: frozenset[IPAddress]) -> None:
    """DecodeFailed if the Node announces an address that its status does not have."""
    for address in said.host.addresses:
        if address not in there:
            raise DecodeFailed(
                f"Node {said.host.name} announces the address {address}, and its status has {_listed(there)}"
            )


def _listed(there: frozenset[IPAddress]) -> str:
    return ", ".join(sorted(map(str, there))[:5]) or "no address"


def _alive(status: Json) -> bool:
    """Kubernetes sets Ready to Unknown when the kubelet's lease has run out."""
    conditions: Sequence[Json] = status.get("conditions") or ()
    if not isinstance(conditions, list):
        return True
    ready = [each.get("status") for each in conditions if isinstance(each, dict) and each.get("type") == "Ready"]
    return "Unknown" not in ready


def part(raw: Json, key: str) -> Json:
    """An object in an object; empty if it is none."""
    found = raw.get(key) if isinstance(raw, dict) else None
    return found if isinstance(found, dict) else {}


def _created(given: Json) -> int:
    """A Node without a time is the youngest."""
    digits = "".join(filter(str.isdigit, given)) if isinstance(given, str) and given.isascii() else ""
    return int(digits) if len(digits) == _TIME_DIGITS else _YOUNGEST
