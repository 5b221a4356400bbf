"""The keys of a network in effect, one row for each: its value, and where it is from."""

from __future__ import annotations

import json

from cni_cnm.cni import request
from cni_cnm.cnm.network import network_description
from cni_cnm.cnm.network.create_network import network_subnets
from cni_cnm.cnm.records import load_network
from cni_cnm.conflists import effective, folder, new_conflist
from cni_cnm.conflists.conflist import TYPE
from cni_cnm.drivers.bridge_options import BridgeOptions
from cni_cnm.drivers.firewall_options import LABEL_ICC, LABEL_MASQUERADE
from cni_cnm.drivers.host_routing import uplink
from cni_cnm.drivers.options import LABEL_MTU
from cni_cnm.drivers.overlay_options import OverlayOptions
from cni_cnm.drivers.parent_link_options import ParentLinkOptions
from cni_cnm.errors import NoSuchNetwork
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.conflists.conflist import Conflist
    from cni_cnm.model import Json

DEFAULT, CHOSEN, REQUESTED, FOLLOWS = "default", "chosen from the pools", "network create", "follows from other keys"
BY_INTERNAL = "follows from internal"
_OF_OUTSIDE = ("ipMasq", "isDefaultGateway", f"options.{LABEL_MASQUERADE}")
"""Keys that are false in an internal network, whatever a file or a default says."""
_KERNEL_MTU = 1500
"""Of a veth and of a bridge that are made without one."""
_OTHER_NAMES = {
    "mtu": f"options.{LABEL_MTU}",
    "firewall.ingressPolicy": f"options.{LABEL_ICC}",
    "ipam.ranges[0][0].subnet": "ipam.subnet",
    "ipam.ranges[0][0].gateway": "ipam.gateway",
}
"""Keys that a file may have instead."""


def rows(host: Host, network: str, conf_dir: str) -> tuple[list[dict[str, Json]], Sequence[str]]:
    """The rows (`key`, `value`, `source`), and sentences about what is not in effect yet.

    `source` is the file and the line, `default`, `network create`, `chosen from the pools` for a subnet, or what the
    value follows from: other keys, `internal`, or for an MTU that no key names a link.
    NoSuchNetwork if neither a record nor a file of the folder is of the network.
    """
    record = load_network(host.store, network)
    found = folder.of_network(conf_dir, network)
    conflist = found[0] if found else None
    if record is None and conflist is None:
        raise NoSuchNetwork(
            f"there is no network {network!r}, and no file of {conf_dir} configures one",
            hint="`cni-cnm network ls` lists networks",
        )
    notes = [f"{one.path} configures the network, too" for one in found[1:]]
    if conflist is not None and conflist.ours is not None:
        configured = new_conflist.network_of(conflist, conflist.ours)
        if record is None:
            notes.append(f"no container has joined the network {network} yet: this is what {conflist.path} says")
            given = network_description.describe(configured, dict(configured.spec.ipam.config))
            record = given._replace(published_only=True)
        elif not network_description.is_current(record, configured):
            notes.append(
                f"{conflist.path} says something else, which the next container's ADD puts into effect: "
                f"`cni-cnm conf check {conflist.path}`"
            )
    if record is None:
        return [], notes
    whole, differing = effective.configuration(record), effective.shortest(record)
    sources = _Sources(conflist, dict(_flat(differing)))
    head = [{"key": "profile", **_profile(record, conflist, whole)}] if "profile" in whole else []
    flat = {key: value for key, value in _flat(whole) if key != "profile"}
    named = any(key.endswith(".subnet") for key in flat)  # else they are chosen when the first container joins
    for subnet in network_subnets(host, record) if named else ():
        if subnet.key and subnet.gateway is not None:
            at = subnet.key if f"{subnet.key}.subnet" in flat else "ipam"
            flat.setdefault(f"{at}.gateway", str(subnet.gateway.ip))
    keys = {key: (value, sources.of(key)) for key, value in flat.items()}
    if record.internal:
        keys.update({key: (False, BY_INTERNAL) for key in _OF_OUTSIDE if key in keys})
    if flat.get("mtu") == 0:
        keys["mtu"] = _mtu(host, record)
    return [*head, *({"key": key, "value": value, "source": source} for key, (value, source) in keys.items())], notes


def _mtu(host: Host, record: NetworkRecord) -> tuple[int, str]:
    """The MTU that containers of a network get which names none, and where it is from."""
    options = record.options.bridge if isinstance(record.options, OverlayOptions) else record.options
    link = None
    if isinstance(options, ParentLinkOptions):
        link = host.stack.link(options.parent)
    elif isinstance(options, BridgeOptions) and options.profile == request.CNM:
        outside = host.stack.link(options.outside) if options.outside else uplink(host.stack)
        link = host.stack.link(options.bridge) or outside
    return (link.mtu, f"of the link {link.name}") if link is not None else (_KERNEL_MTU, DEFAULT)


class _Sources:
    def __init__(self, conflist: Conflist | None, differing: Mapping[str, Json]) -> None:
        self._conflist = conflist
        self._differing = differing

    def of(self, key: str) -> str:
        """Where the value of a key is from."""
        if self._conflist is not None and self._conflist.ours is not None:
            under = self._conflist.ours.path
            for name in (key, _OTHER_NAMES.get(key, "")):
                line = self._conflist.lines.of(f"{under}.{name}" if under else name, 0) if name else 0
                if line:
                    return f"{self._conflist.path}:{line}"
            if key.endswith(".subnet"):
                return CHOSEN
            return FOLLOWS if key in self._differing else DEFAULT
        return REQUESTED if key in self._differing else DEFAULT


def _profile(record: NetworkRecord, conflist: Conflist | None, whole: Mapping[str, Json]) -> dict[str, Json]:
    given = conflist.ours.given if conflist and conflist.ours else {"type": TYPE, **effective.shortest(record)}
    sentence = request.profile_sentence(given, Fields(given))
    reason = sentence.partition(", ")[2]
    return {"value": whole["profile"], "source": reason if whole["profile"] in sentence else DEFAULT}


def _flat(value: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, Json]]:
    """Keys of objects with where they are: `options.parent`, `ipam.ranges[0][0].subnet`."""
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _flat(inner, f"{prefix}{key}.")
        elif key == "ranges":
            for number, range_set in enumerate(inner):
                for at, member in enumerate(range_set if isinstance(range_set, list) else [range_set]):
                    yield from _flat(member, f"{prefix}ranges[{number}][{at}].")
        else:
            yield f"{prefix}{key}", json.dumps(inner) if isinstance(inner, dict | list) else inner
