"""What the plugins of a cached list were asked for: each one's configuration as libcni hands it over, and typed.

libcni gives each plugin its own object with the list's name and version, and `runtimeConfig` with what it asks for in
`capabilities`. Keys are matched in any capitals, as by Go.
"""

from __future__ import annotations

from cni_cnm.errors import CnmError, InvalidConfig
from cni_cnm.fields import Fields
from cni_cnm.json_text import decoder
from cni_cnm.model import PortMapping
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json
    from cni_cnm.reference.cache import Cached

_decode = decoder()
IPTABLES, NFTABLES = "iptables", "nftables"
ORDER = ("bridge", "portmap", "firewall", "bandwidth", "tuning")
"""Plugins that are understood. Each may be in a list once, and bridge is the first."""
_POLICIES = ("", "open", "same-bridge", "isolated")
_MARK_BIT = 13
_PROTOCOLS = ("tcp", "udp", "sctp")
_TUNED = ("mac", "mtu", "promisc", "allmulti", "txQLen")


class Bridge(NamedTuple):
    name: str = "cni0"
    masquerade: bool = False
    backend: str = ""
    """`iptables` or `nftables`; "" where the plugin chooses. Plugins before 1.6 have only iptables."""
    spoof_check: bool = False
    ipam: str = ""
    """`host-local`, or "" for an interface without addresses."""
    data_dir: str = "/var/lib/cni/networks"


class Portmap(NamedTuple):
    mappings: tuple[PortMapping, ...] = ()
    backend: str = ""
    snat: bool = True
    masq_all: bool = False
    mark_bit: int = _MARK_BIT
    mark_chain: str = ""
    """Of another program, which marks packets for masquerading; "" for the plugin's own."""
    conditions4: tuple[str, ...] = ()
    conditions6: tuple[str, ...] = ()
    """Matches in the backend's words."""


class Firewall(NamedTuple):
    admin_chain: str = "CNI-ADMIN"
    policy: str = ""
    """`same-bridge` or `isolated`; "" for open."""


class Bandwidth(NamedTuple):
    """Bits a second, and bits; 0: no limit that way. As the container sees it."""

    ingress_rate: int = 0
    ingress_burst: int = 0
    egress_rate: int = 0
    egress_burst: int = 0


class Tuning(NamedTuple):
    data_dir: str = "/run/cni/tuning"
    saves: bool = False
    """It changes an attribute of the link, so it has saved the old ones."""


class Configuration(NamedTuple):
    plugins: tuple[Mapping[str, Json], ...] = ()
    """As libcni hands them over, without `prevResult`."""
    bridge: Bridge | None = None
    portmap: Portmap | None = None
    firewall: Firewall | None = None
    bandwidth: Bandwidth | None = None
    tuning: Tuning | None = None
    not_understood: tuple[str, ...] = ()


def parse(cached: Cached) -> Configuration:
    """Never raises: what is wrong is named in `not_understood`."""
    try:
        raw = _decode(cached.config)
        plugins = handed_over(Fields(raw), cached.capability_args)
    except (ValueError, CnmError) as error:
        return Configuration(not_understood=(f"its cached configuration cannot be read: {error}",))
    found: dict[str, Json] = {}
    wrong: list[str] = []
    for number, plugin in enumerate(plugins):
        fields = Fields(plugin, words=True)
        kind = str(plugin.get("type", ""))
        if kind not in ORDER:
            wrong.append(f"the plugin {kind or number} of its list is not one of {', '.join(ORDER)}")
        elif kind in found:
            wrong.append(f"its list has the plugin {kind} twice")
        elif (kind == "bridge") != (number == 0):
            wrong.append("bridge is not the first plugin of its list")
        else:
            try:
                found[kind] = _READERS[kind](fields)
            except CnmError as error:
                wrong.append(f"its plugin {kind}: {error.msg}")
    if "bridge" not in found and not wrong:
        wrong.append("its list has no plugin bridge")
    if "tuning" in found and any(key == "MAC" and value for key, value in cached.cni_args):
        found["tuning"] = found["tuning"]._replace(saves=True)
    bridge = found.get("bridge")
    if bridge is not None and bridge.ipam not in ("", "host-local"):
        wrong.append(f"its addresses are from the IPAM {bridge.ipam}, not from host-local")
    return Configuration(plugins, **found, not_understood=tuple(wrong))


def handed_over(config: Fields, capability_args: Mapping[str, Json]) -> tuple[Mapping[str, Json], ...]:
    """What libcni sends to each plugin of a list, or to the only one. InvalidConfig if it is neither."""
    listed = config.objects("plugins") if "plugins" in config else [config]
    common = {key: config.raw(key) for key in ("cniVersion", "name") if key in config}
    sent = []
    for plugin in listed:
        wanted = {key for key, value in plugin.mapping("capabilities").items() if value is True}
        given = {key: value for key, value in capability_args.items() if key in wanted}
        sent.append({**plugin.spelled, **common, **({"runtimeConfig": given} if given else {})})
    return tuple(sent)


def _bridge(fields: Fields) -> Bridge:
    ipam = fields.object("ipam")
    masquerade = fields.flag("ipMasq") and bool(ipam.text("type"))
    return Bridge(
        fields.text("bridge") or "cni0",
        masquerade,
        fields.text("ipMasqBackend"),
        fields.flag("macspoofchk"),
        ipam.text("type"),
        ipam.text("dataDir") or "/var/lib/cni/networks",
    )


def _portmap(fields: Fields) -> Portmap:
    chain = fields.text("externalSetMarkChain")
    return Portmap(
        tuple(map(_mapping, fields.object("runtimeConfig").objects("portMappings"))),
        fields.text("backend"),
        fields.flag("snat", True),
        fields.flag("masqAll"),
        fields.whole("markMasqBit", _MARK_BIT, 0, 31),
        chain,
        fields.texts("conditionsV4"),
        fields.texts("conditionsV6"),
    )


def _mapping(fields: Fields) -> PortMapping:
    protocol = fields.text("protocol")
    if protocol not in _PROTOCOLS:
        raise fields.wrong("protocol", f"one of {', '.join(_PROTOCOLS)}")
    host_port = fields.whole("hostPort", 0, 1, 65535)
    container_port = fields.whole("containerPort", 0, 1, 65535)
    if not host_port or not container_port:
        raise InvalidConfig("a port mapping has no hostPort or no containerPort")
    return PortMapping(protocol, host_port, container_port, fields.address("hostIP"))


def _firewall(fields: Fields) -> Firewall:
    policy = fields.text("ingressPolicy")
    if policy not in _POLICIES:
        raise fields.wrong("ingressPolicy", f"one of {', '.join(_POLICIES[1:])}")
    return Firewall(fields.text("iptablesAdminChainName") or "CNI-ADMIN", "" if policy == "open" else policy)


def _bandwidth(fields: Fields) -> Bandwidth:
    keys = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")
    given = fields if any(key in fields for key in keys) else fields.object("runtimeConfig").object("bandwidth")
    return Bandwidth(*(given.whole(key, 0, 0) for key in keys))


def _tuning(fields: Fields) -> Tuning:
    args = fields.object("args").object("cni")
    saves = any(_changes(source, key) for source in (fields, args) for key in _TUNED)
    saves |= bool(fields.object("runtimeConfig").text("mac"))
    return Tuning(fields.text("dataDir") or "/run/cni/tuning", saves)


def _changes(fields: Fields, key: str) -> bool:
    """promisc false, an MTU of 0 and an empty MAC change nothing; allmulti false and a queue of 0 do."""
    return key in fields and (key in ("allmulti", "txQLen") or bool(fields.raw(key)))


_READERS = {
    "bridge": _bridge,
    "portmap": _portmap,
    "firewall": _firewall,
    "bandwidth": _bandwidth,
    "tuning": _tuning,
}
