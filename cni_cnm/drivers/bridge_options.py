"""Options of the bridge driver, in the two profiles.

*reference*: the keys and defaults of the reference `bridge` plugin. *cnm*: a network as Docker's own bridge gives it,
with libnetwork's labels (`com.docker.network.*`). Both become one `BridgeOptions`.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.drivers import firewall_options, options
from cni_cnm.drivers.firewall_options import (
    DEFAULT_MODES,
    LABEL_ICC,
    LABEL_INHIBIT,
    LABEL_MASQUERADE,
    LABEL_MODE4,
    LABEL_MODE6,
    LABEL_SOURCE4,
    LABEL_SOURCE6,
    LABEL_TRUSTED,
)
from cni_cnm.drivers.options import LABEL_MTU
from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields
from cni_cnm.model import digest
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json, NetworkSpec

LABEL_NAME = "com.docker.network.bridge.name"
LABELS = (
    LABEL_NAME, LABEL_MASQUERADE, LABEL_MTU, LABEL_ICC, LABEL_MODE4, LABEL_MODE6, LABEL_INHIBIT, LABEL_SOURCE4,
    LABEL_SOURCE6, LABEL_TRUSTED,
)  # fmt: skip
REFERENCE_ONLY = (
    "bridge", "isGateway", "isDefaultGateway", "forceAddress", "ipMasq", "ipMasqBackend", "promiscMode",
)  # fmt: skip
"""Keys that are refused in the cnm profile: it has labels for them, or always does what they set."""
PORT_KEYS = (
    "vlan", "vlanTrunk", "preserveDefaultVlan", "macspoofchk", "enabledad", "disableContainerInterface",
    "portIsolation", "hairpinMode",
)  # fmt: skip
"""Keys of the reference plugin that both profiles read."""
REFERENCE_KEYS = frozenset(key.lower() for key in (*REFERENCE_ONLY, *PORT_KEYS))
CNM_ONLY = ("noDefaultRoute", "metric", "unmanaged")
"""Keys of the cnm profile, named after options of netavark's bridge driver."""
KEYS = REFERENCE_KEYS | {"mtu", "enableipv6", "masqueradeexcept", *(key.lower() for key in CNM_ONLY)}


METRIC_MAX = 2**32 - 1


class BridgeOptions(NamedTuple):
    bridge: str
    profile: str = "reference"
    is_gateway: bool = False
    default_gateway: bool = False
    force_address: bool = False
    masquerade: bool = False
    mtu: int = 0
    """0: the kernel's default in the reference profile, the default route's link's in the cnm profile."""
    hairpin: bool | None = False
    """None: not configured in the cnm profile, until `settled`."""
    promisc: bool = False
    vlan: int = 0
    trunk: tuple[int, ...] = ()
    keep_default_vlan: bool = False
    guard_mac: bool = False
    dad: bool = False
    container_up: bool = True
    isolated_port: bool = False
    internal: bool = False
    ingress: str = "open"
    """Who may open connections to the endpoints (firewall/isolation.py)."""
    zone: str = ""
    admin_chain: str = ""
    """`firewalldZone`, `iptablesAdminChainName` (firewall/foreign_accept.py)."""
    gateway_modes: tuple[str, str] = DEFAULT_MODES
    """Docker's gateway modes of IPv4 and IPv6."""
    masquerade_except: tuple[str, ...] = ()
    """Networks, as text, to which packets are not masqueraded."""
    addressless: tuple[int, ...] = ()
    """IP versions for which the bridge gets no address, although the network has a gateway."""
    sources: tuple[str, ...] = ()
    """Addresses that masqueraded packets get, at most one of each family; else the kernel chooses."""
    trusted: tuple[str, ...] = ()
    """Links of the host from which all ports are reached."""
    outside: str = ""
    """The host's link to other hosts of the same network (driver overlay): the bridge has its MTU. "" for none."""
    metric: int = 0
    """Of the default routes in containers. 0: they have none, and one endpoint of a container has the default route."""
    unmanaged: bool = False
    """The bridge is another program's: it must exist, gets no address, and its packets no rules."""
    ip_hooks: bool = False
    """Frames between ports pass the packet filter's hooks of IP (driver overlay, where there is a kube-proxy)."""

    @property
    def reflects(self) -> bool:
        """Broadcasts leave by the port they came by, too, as with the reference plugin's `hairpinMode`."""
        return self.profile == "reference" and bool(self.hairpin)

    @property
    def vlan_filtering(self) -> bool:
        return bool(self.vlan or self.trunk)

    def to_json(self) -> Mapping[str, Json]:
        """Without default gateway modes, as 0.1.0 wrote it."""
        raw = {**self._asdict(), "trunk": list(self.trunk), "gateway_modes": list(self.gateway_modes)}
        if self.gateway_modes == DEFAULT_MODES:
            del raw["gateway_modes"]
        return firewall_options.without_unset(raw)

    @classmethod
    def from_json(cls, raw: Mapping[str, Json]) -> BridgeOptions:
        known = {key: value for key, value in raw.items() if key in cls._fields}
        modes = tuple(raw.get("gateway_modes", DEFAULT_MODES))
        lists = {
            key: tuple(known.get(key, ()))
            for key in ("trunk", "masquerade_except", "addressless", "sources", "trusted")
        }
        return cls(**{**known, **lists, "gateway_modes": modes})


def parse(network: NetworkSpec) -> BridgeOptions:
    parsed = _reference(network) if network.options.get("profile") == "reference" else _cnm(network)
    if parsed.hairpin and parsed.promisc:
        raise InvalidConfig(
            "hairpinMode and promiscMode cannot both be set",
            hint="a promiscuous bridge delivers a port's own frames itself; keep one of the two",
        )
    if not parsed.container_up and network.ipam.type not in ("", "none"):
        raise InvalidConfig(
            "disableContainerInterface leaves the interface down, and an ipam needs it up",
            hint="remove one of the two",
        )
    if parsed.internal:
        firewall_options.refuse_internal(parsed.ingress, parsed.gateway_modes)
    return parsed


def bridge_name(network: str) -> str:
    """As Docker names it: `br-` and the first 12 hex digits of the network's id."""
    return f"br-{digest(network)[:12]}"


def _reference(network: NetworkSpec) -> BridgeOptions:
    raw = Fields(network.options, words=True)
    options.refuse_labels(raw, "bridge")
    for key in CNM_ONLY:
        if key in raw:
            raise InvalidConfig(
                f"{key} is a key of the cnm profile, beside keys of the reference bridge plugin",
                hint='use either those keys, or "profile": "cnm"',
            )
    default_gateway = raw.flag("isDefaultGateway")
    return BridgeOptions(
        bridge=raw.parsed("bridge", validate.new_interface_name) or "cni0",
        profile="reference",
        is_gateway=default_gateway or raw.flag("isGateway"),
        default_gateway=default_gateway and not network.internal,
        force_address=raw.flag("forceAddress"),
        masquerade=firewall_options.masquerade(raw) and not network.internal,
        masquerade_except=firewall_options.masquerade_except(raw),
        mtu=options.mtu(raw, "mtu"),
        promisc=raw.flag("promiscMode"),
        internal=network.internal,
        ingress=firewall_options.ingress(raw, "open"),
        **firewall_options.other_firewalls(raw),
        **_port(raw, hairpin=False),
    )


def _cnm(network: NetworkSpec) -> BridgeOptions:
    raw = Fields(network.options, words=True)
    labels = options.labels(raw, "bridge", LABELS, REFERENCE_ONLY)
    modes = firewall_options.gateway_modes(labels, internal=network.internal)
    unmanaged = raw.flag("unmanaged")
    if unmanaged and not labels.text(LABEL_NAME):
        raise InvalidConfig(
            f"unmanaged is set, and {LABEL_NAME} is missing", hint="name the bridge, which has to exist"
        )
    no_default_route = network.internal or raw.flag("noDefaultRoute")
    return BridgeOptions(
        bridge=labels.parsed(LABEL_NAME, validate.new_interface_name) or bridge_name(network.name),
        profile="cnm",
        is_gateway=not unmanaged,
        default_gateway=not no_default_route,
        metric=raw.whole("metric", 0, 0, METRIC_MAX),
        unmanaged=unmanaged,
        masquerade=labels.flag(LABEL_MASQUERADE, True) and not network.internal and not unmanaged,
        masquerade_except=firewall_options.masquerade_except(raw),
        mtu=options.mtu(labels, LABEL_MTU) or options.mtu(raw, "mtu"),
        internal=network.internal,
        ingress="open" if unmanaged else firewall_options.labelled_ingress(raw, labels),
        gateway_modes=modes,
        addressless=firewall_options.addressless(labels, modes),
        sources=firewall_options.sources(labels),
        trusted=firewall_options.trusted(labels),
        **firewall_options.other_firewalls(raw),
        **_port(raw, hairpin=None),
    )


def _port(raw: Fields, *, hairpin: bool | None) -> dict[str, Json]:
    """Keys about one bridge port, with the same meaning in both profiles. `hairpin`: the default of `hairpinMode`."""
    return {
        "hairpin": raw.flag("hairpinMode") if "hairpinMode" in raw else hairpin,
        "vlan": raw.whole("vlan", 0, 0, 4094),
        "trunk": _trunk(raw),
        "keep_default_vlan": raw.flag("preserveDefaultVlan"),
        "guard_mac": raw.flag("macspoofchk"),
        "dad": raw.flag("enabledad"),
        "container_up": not raw.flag("disableContainerInterface"),
        "isolated_port": raw.flag("portIsolation"),
    }


def _trunk(raw: Fields) -> tuple[int, ...]:
    """VLAN ids of `vlanTrunk`: a list of {"id"}, {"minID","maxID"} or both; sorted, each once."""
    ids: set[int] = set()
    for entry in raw.objects("vlanTrunk"):
        low = entry.whole("minID", 0, 1, 4094)
        high = entry.whole("maxID", 0, 1, 4094)
        if bool(low) != bool(high):
            raise InvalidConfig(f"{entry.name('minID')} and maxID must be given together")
        if low > high:
            raise entry.wrong("minID", f"at most maxID, which is {high}")
        single = entry.whole("id", 0, 1, 4094)
        if not (single or low):
            raise InvalidConfig(f"{entry.name('id')} is missing, and so are minID and maxID")
        ids.update(range(low, high + 1) if low else ())
        ids.update((single,) if single else ())
    return tuple(sorted(ids))
