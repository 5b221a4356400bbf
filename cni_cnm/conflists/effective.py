"""The configuration of a network that exists: every key its driver reads, as it is in effect, or only what differs.

What `conf show` prints, and what an edit begins with. The names are those of docs/configuration.md.
"""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cni import request
from cni_cnm.cnm.network import network_description
from cni_cnm.conflists.conflist import TYPE
from cni_cnm.drivers import DEFAULT, OVERLAY, drivers
from cni_cnm.drivers.bridge_options import LABEL_NAME, BridgeOptions
from cni_cnm.drivers.firewall_options import (
    CLOSED,
    LABEL_INHIBIT,
    LABEL_MASQUERADE,
    LABEL_MODE4,
    LABEL_MODE6,
    LABEL_SOURCE4,
    LABEL_SOURCE6,
    LABEL_TRUSTED,
)
from cni_cnm.drivers.host_device_options import HostDeviceOptions
from cni_cnm.drivers.overlay_options import KEYS as OVERLAY_KEYS
from cni_cnm.drivers.overlay_options import OverlayOptions
from cni_cnm.drivers.parent_link_options import ParentLinkOptions
from cni_cnm.drivers.ptp_options import PtpOptions
from cni_cnm.drivers.remote import RemoteOptions
from cni_cnm.fields import Fields
from cni_cnm.model import IpamSpec, ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import Json

_SPELLED = {"rangestart": "rangeStart", "rangeend": "rangeEnd", "datadir": "dataDir", "resolvconf": "resolvConf"}
"""Keys of an ipam object that have capitals, which a record does not keep."""


def configuration(record: NetworkRecord) -> dict[str, Json]:
    """Every key of the network, with its value in effect. `options` and `firewall` are objects, as in a file."""
    found: dict[str, Json] = {"driver": record.driver, "internal": record.internal}
    found.update(_of_driver(record.driver, record.options))
    if record.labels:
        found["labels"] = dict(record.labels)
    addresses = _of_ipam(record)
    return {**found, "ipam": addresses} if addresses else found


def shortest(record: NetworkRecord) -> dict[str, Json]:
    """The same without what the network would have anyway. It makes the same network."""
    whole = configuration(record)
    spec = network_description.spec_of(record)
    profile = whole.get("profile", request.CNM)
    plain = spec._replace(options={"profile": profile}, ipam=IpamSpec(spec.ipam.type, whole.get("ipam", {})))
    driver = drivers.get(record.driver)
    usual = _of_driver(record.driver, driver.settled(driver.options(plain), earlier=not record.published_only))
    found = {key: value for key, value in _without(whole, usual).items() if value != {}}
    if record.driver == DEFAULT:
        found.pop("driver", None)
    if not record.internal:
        found.pop("internal", None)
    found.pop("profile", None)
    reference = driver.configuration.reference_keys
    if reference and profile != request.profile_of(Fields(found), driver):
        found["profile"] = profile
    return found


def entry(record: NetworkRecord) -> dict[str, Json]:
    """The plugin of a list that configures the network, for a file."""
    found = shortest(record)
    return {"type": TYPE, "capabilities": dict.fromkeys(capabilities(record), True), **found}


def capabilities(record: NetworkRecord) -> list[str]:
    """What runtimes may request of an endpoint of the network, by the names of CNI's conventions."""
    role = record.role
    wanted = {
        "portMappings": role.outside in ("host", "plugin"),
        "bandwidth": role.outside == "host",
        "ips": has_addresses(record),
        "mac": role.mac != "inherited",
        "dns": True,
        "aliases": True,
        "deviceID": isinstance(record.options, HostDeviceOptions) and not record.options.named,
    }
    return [name for name, served in wanted.items() if served]


def has_addresses(record: NetworkRecord) -> bool:
    return record.ipam_type not in ("", "none")


def _without(whole: Mapping[str, Json], usual: Mapping[str, Json]) -> dict[str, Json]:
    """What differs, also within objects."""
    found: dict[str, Json] = {}
    for key, value in whole.items():
        if isinstance(value, dict) and isinstance(usual.get(key), dict):
            found[key] = _without(value, usual[key])
        elif key not in usual or value != usual[key]:
            found[key] = value
    return found


def _of_driver(driver: str, options: object) -> dict[str, Json]:
    if isinstance(options, BridgeOptions):
        return _of_bridge(options)
    if isinstance(options, OverlayOptions):
        return _of_overlay(options)
    if isinstance(options, PtpOptions):
        return _of_ptp(options)
    if isinstance(options, ParentLinkOptions):
        return _of_parent_link(driver, options)
    if isinstance(options, HostDeviceOptions):
        return _of_host_device(options)
    if isinstance(options, RemoteOptions):
        return {"options": dict(options.generic)}
    return {}


def _of_bridge(given: BridgeOptions) -> dict[str, Json]:
    port = {
        "hairpinMode": bool(given.hairpin),
        "vlan": given.vlan,
        "vlanTrunk": [{"id": vid} for vid in given.trunk],
        "preserveDefaultVlan": given.keep_default_vlan,
        "macspoofchk": given.guard_mac,
        "enabledad": given.dad,
        "disableContainerInterface": not given.container_up,
        "portIsolation": given.isolated_port,
    }
    common = {"mtu": given.mtu, **port, "masqueradeExcept": list(given.masquerade_except), **_firewall(given)}
    if given.profile == request.REFERENCE:
        keys = {
            "bridge": given.bridge,
            "isGateway": given.is_gateway,
            "isDefaultGateway": given.default_gateway,
            "forceAddress": given.force_address,
            "ipMasq": given.masquerade,
            "promiscMode": given.promisc,
        }
        return {"profile": request.REFERENCE, **keys, **common}
    sources = {ip_address(text).version: text for text in given.sources}
    labels = {
        LABEL_NAME: given.bridge,
        LABEL_MASQUERADE: given.masquerade,
        LABEL_MODE4: given.gateway_modes[0],
        LABEL_MODE6: given.gateway_modes[1],
        LABEL_INHIBIT: 4 in given.addressless and given.gateway_modes[0] != CLOSED,
        LABEL_SOURCE4: sources.get(4, ""),
        LABEL_SOURCE6: sources.get(6, ""),
        LABEL_TRUSTED: ":".join(given.trusted),
    }
    return {"profile": request.CNM, "options": labels, **common}


def _of_overlay(given: OverlayOptions) -> dict[str, Json]:
    bridge = _of_bridge(given.bridge)
    shown = {key: value for key, value in bridge.items() if key.lower() in (*OVERLAY_KEYS, "firewall")}
    agreed = {"block": given.block, "block6": given.block6, "vni": given.vni, "port": given.port}
    labels = {key: value for key, value in {**agreed, "direct": given.direct}.items() if value}
    return {"options": {**bridge["options"], **labels}, **shown}


def _of_ptp(given: PtpOptions) -> dict[str, Json]:
    common = {"mtu": given.mtu, "masqueradeExcept": list(given.masquerade_except), **_firewall(given)}
    if not given.published_only:
        return {"profile": request.REFERENCE, "ipMasq": given.masquerade, **common}
    return {"profile": request.CNM, "options": {LABEL_MASQUERADE: given.masquerade}, **common}


def _of_parent_link(driver: str, given: ParentLinkOptions) -> dict[str, Json]:
    common = {"mtu": given.mtu, "enabledad": given.dad}
    if given.vlan:
        flag = {"ipvlan_flag": given.flag} if driver == "ipvlan" else {}
        labels = {"parent": given.parent, f"{driver}_mode": given.mode, **flag}
        return {"profile": request.CNM, "options": labels, **common}
    keys = {"master": given.parent, "mode": given.mode, "linkInContainer": given.in_container}
    queue = {"bcqueuelen": given.bc_queue} if driver == "macvlan" else {}
    return {"profile": request.REFERENCE, **keys, **queue, **common}


def _of_host_device(given: HostDeviceOptions) -> dict[str, Json]:
    keys = ("device", given.device), ("hwaddr", given.hwaddr), ("kernelpath", given.kernelpath), ("pciBusID", given.pci)
    return {key: value for key, value in keys if value}


def _firewall(given: BridgeOptions | PtpOptions) -> dict[str, Json]:
    block = {
        "ingressPolicy": given.ingress,
        "firewalldZone": given.zone,
        "iptablesAdminChainName": given.admin_chain,
    }
    return {"firewall": block}


def _of_ipam(record: NetworkRecord) -> dict[str, Json]:
    """The ipam object, with capitals. Of an overlay network the subnets of all hosts, not this host's blocks."""
    if record.driver == OVERLAY:
        subnets = drivers.get(record.driver).all_subnets(record.options)
        return {"ranges": [[{"subnet": str(subnet)}] for subnet in subnets]}
    if not record.ipam_type:
        return {}
    kept = {key: value for key, value in record.ipam.items() if key not in ipam.allocated(record.ipam)}
    named = {} if record.ipam_type == _usual_ipam(record) and "type" not in kept else {"type": record.ipam_type}
    return {**named, **_spelled({key: value for key, value in kept.items() if key != "type"})}


def _usual_ipam(record: NetworkRecord) -> str:
    """The type of IPAM that a configuration has if it names none."""
    keys = _of_driver(record.driver, record.options)
    usual = keys.get("profile", request.CNM) == request.CNM and drivers.get(record.driver).configuration.addresses
    return "host-local" if usual else ""


def _spelled(value: Json) -> Json:
    if isinstance(value, dict):
        return {_SPELLED.get(key, key): _spelled(inner) for key, inner in value.items()}
    return [_spelled(inner) for inner in value] if isinstance(value, list | tuple) else value
