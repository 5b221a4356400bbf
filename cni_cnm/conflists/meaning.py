"""What the configuration of a network means, in sentences for people. Nothing here is decided, only said."""

from __future__ import annotations

from cni_cnm.cni import request
from cni_cnm.conflists.effective import capabilities, configuration, has_addresses
from cni_cnm.drivers import CHAINED, OVERLAY
from cni_cnm.firewall.isolation import ISOLATED, OPEN, ROUTED, SAME_BRIDGE
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.model import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.fields import Fields
    from cni_cnm.ipam.contract import Ipam
    from cni_cnm.ipam.ranges import Range
    from cni_cnm.model import Json

_REACH = {
    OPEN: "everything that has a route to them: this network does not restrict who reaches its containers",
    SAME_BRIDGE: "containers of this network reach each other; other networks that are isolated do not reach them",
    ISOLATED: "no container reaches another one, within this network or from others; the host reaches them",
    ROUTED: "containers of this network and other hosts reach all ports; other networks of this host do not",
}
_PARENT_MODES = {
    "bridge": "containers reach each other directly, and not the host",
    "private": "containers do not reach each other",
    "vepa": "what containers send each other goes by the physical switch",
    "passthru": "one container has the whole link",
    "l2": "containers reach each other directly, and not the host",
    "l3": "packets are routed by the host's link, without broadcasts",
    "l3s": "packets are routed by the host, which can filter them",
}
_DEVICE_KEYS = ("device", "hwaddr", "kernelpath", "pciBusID")
_WITHOUT = {
    "portMappings": "ports of pods (hostPort) are not published",
    "bandwidth": "limits that pods request are not set",
    "ips": "no runtime can request an address",
    "mac": "no runtime can request a MAC",
    "dns": "name servers of a pod are not in the result",
    "aliases": "other names of a container are not recorded",
    "deviceID": "no runtime can choose the device of a container",
}


def sentences(
    network: ConfiguredNetwork, record: NetworkRecord, config: Fields, pool: Ipam | None
) -> Iterator[tuple[str, str]]:
    """A term and what is true of it, such as `outside` and how containers reach it.

    Args:
        network: as it is configured.
        record: as it would be recorded, or is.
        config: the plugin's part of the file.
        pool: where its addresses come from; None if that is not valid.
    """
    keys = configuration(record)
    profile = request.profile_sentence(config.spelled, config)
    if profile:
        yield "profile", profile.removeprefix("the network is made in the profile ")
    yield "driver", _driver(record, keys)
    yield from (("addresses", sentence) for sentence in _addresses(network, pool))
    if record.driver == CHAINED or network.role.interface == "none":
        return
    if has_addresses(record):
        yield "outside", _outside(record, keys)
        if record.role.outside == "host":
            yield "reached by", _reach(record)
    if record.role.outside != "plugin":
        mtu = keys.get("mtu")
        yield "mtu", f"{mtu} bytes" if mtu else _automatic_mtu(record)
    if network.spec.dns is not None:
        dns = network.spec.dns
        named = ", ".join((*dns.nameservers, *dns.search)) or "nothing"
        yield "dns", f"{named}, for the runtime; nothing is written into the container"


def missing_capabilities(record: NetworkRecord, config: Fields) -> Iterator[str]:
    """A sentence for each capability that the network could serve and the file does not declare."""
    declared = config.mapping("capabilities")
    for name in capabilities(record):
        if declared.get(name) is not True:
            yield f"capabilities has no {name}: {_WITHOUT[name]}"


def unknown_capabilities(config: Fields, known: Collection[str]) -> list[str]:
    return [name for name in config.mapping("capabilities") if name not in known]


def _driver(record: NetworkRecord, keys: Mapping[str, Json]) -> str:
    options: Mapping[str, Json] = keys.get("options", {})
    name = record.policy.bridge
    if record.driver in ("bridge", OVERLAY):
        vlan = f", in VLAN {keys['vlan']}" if keys.get("vlan") else ""
        hosts = ", and containers of other hosts reach it by VXLAN or plain routes" if record.driver == OVERLAY else ""
        return f"{record.driver}: each container has a veth on the bridge {name} of this host{vlan}{hosts}"
    if record.driver in ("macvlan", "ipvlan"):
        parent = options.get("parent") or keys.get("master") or "the default route"
        mode = options.get(f"{record.driver}_mode") or keys.get("mode", "")
        mac = "a MAC of its own" if record.driver == "macvlan" else "the MAC of the parent"
        return f"{record.driver}: each container has {mac} on the link of {parent}; {_PARENT_MODES[mode]}"
    if record.driver == "host-device":
        named = next((f"{key} {keys[key]}" for key in _DEVICE_KEYS if key in keys), "its id, which the runtime chooses")
        return f"host-device: the container gets the device of the host with {named}, and gives it back"
    return {
        "ptp": "ptp: each container has a routed veth, without a bridge",
        "null": "null: containers have loopback alone",
        CHAINED: "chained: the plugin before this one makes the interface; this one adds ports, limits and tuning",
    }.get(record.driver, f"{record.driver}: the Docker plugin of that name makes the interfaces")


def _addresses(network: ConfiguredNetwork, pool: Ipam | None) -> Iterator[str]:
    addressing = network.addressing
    if addressing.from_pools:
        both = "an IPv4 and an IPv6 subnet are" if 6 in addressing.versions else "a subnet is"
        yield f"{both} chosen from the default address pools when the first container joins, and kept"
    elif addressing.from_blocks:
        yield "from blocks of the network's subnet that each host claims"
    elif isinstance(pool, HostLocal):
        sets = pool.sets
        for range_set in sets:
            more = " or ".join(_range(one) for one in range_set)
            yield f"{'one' if len(sets) == 1 else 'one each'} from {more}"
        if not sets:
            yield "none unless the runtime requests ranges"
    elif network.spec.ipam.type in ("", "none"):
        yield "none: the interface has no address (layer 2)"
    elif network.spec.ipam.type == "static":
        yield "those that are written in the file, or that a runtime requests"
    else:
        yield f"from the IPAM {network.spec.ipam.type}, which alone knows which"


def _range(given: Range) -> str:
    whole = given.end - given.start + 4 > given.subnet.num_addresses
    first, last = _address(given.start, given), _address(given.end, given)
    part = "" if whole else f" from {first} to {last}"
    gateway = f", gateway {given.gateway}" if given.gateway is not None else ", no gateway"
    many = "more than 4,000,000,000" if given.capacity > 1 << 32 else str(given.capacity)
    return f"{given.subnet}{part} ({many} addresses{gateway})"


def _address(number: int, given: Range) -> str:
    base = ip_address(str(given.subnet.network_address))
    return str(base + (number - int(base)))


def _outside(record: NetworkRecord, keys: Mapping[str, Json]) -> str:
    role, policy = record.role, record.policy
    if record.internal:
        return "nothing outside the network is reached from it: internal is true"
    route = "containers have a default route" if role.default_route else "containers have no default route by it"
    if role.outside == "parent":
        return f"{route}; packets leave by the parent link with the container's own address"
    if role.outside != "host":
        return route
    if not policy.masquerade:
        return f"{route}; packets leave with the container's own address: masquerade is off"
    source = f"the address {' or '.join(policy.sources)}" if policy.sources else "an address of the host"
    kept = ", ".join(map(str, keys.get("masqueradeExcept", ())))
    return f"{route}; packets that leave the subnet get {source}" + (f", except to {kept}" if kept else "")


def _reach(record: NetworkRecord) -> str:
    policy = record.policy
    sentence = _REACH[policy.ingress]
    if policy.published_only and policy.ingress != OPEN:
        sentence += "; other hosts reach published ports only"
    return sentence


def _automatic_mtu(record: NetworkRecord) -> str:
    if record.driver in ("macvlan", "ipvlan"):
        return "that of the parent link"
    if record.driver == "host-device":
        return "that of the device"
    if record.driver == OVERLAY:
        return "that of the link to other hosts, less what VXLAN adds"
    keys = configuration(record)
    return "that of the link of the host's default route" if keys.get("profile") == request.CNM else "1500 bytes"
