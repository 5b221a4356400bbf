"""Options of the bridge driver, in the two profiles.

*reference*: the keys and defaults of the reference `bridge` plugin. *cnm*: a network as Docker's own bridge gives it,
with libnetwork's labels (`com.docker.network.*`). Both become one `BridgeOptions`.
"""

from __future__ import annotations

from typing import NamedTuple

from cni_cnm.drivers import firewall_options
from cni_cnm.drivers import options as read
from cni_cnm.drivers.firewall_options import LABEL_ICC, LABEL_MASQUERADE
from cni_cnm.drivers.options import LABEL_MTU
from cni_cnm.errors import InvalidConfig
from cni_cnm.model import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json, NetworkSpec

LABEL_NAME = "com.docker.network.bridge.name"
LABELS = (LABEL_NAME, LABEL_MASQUERADE, LABEL_MTU, LABEL_ICC)


REFERENCE_ONLY = (
    "bridge", "isGateway", "isDefaultGateway", "forceAddress", "ipMasq", "ipMasqBackend", "hairpinMode", "promiscMode",
)  # fmt: skip
"""Keys that the cnm profile says by labels, or always does: there they are refused, not passed over."""
PORT_KEYS = (
    "vlan", "vlanTrunk", "preserveDefaultVlan", "macspoofchk", "enabledad", "disableContainerInterface",
    "portIsolation",
)  # fmt: skip
"""Keys of the reference plugin that both profiles read."""
REFERENCE_KEYS = frozenset(key.lower() for key in (*REFERENCE_ONLY, *PORT_KEYS))
KEYS = REFERENCE_KEYS | {"mtu", "enableipv6"}


class BridgeOptions(NamedTuple):
    bridge: str
    profile: str = "reference"
    is_gateway: bool = False
    default_gateway: bool = False
    force_address: bool = False
    masquerade: bool = False
    mtu: int = 0
    """0: the kernel's in the reference profile, that of the default route's link in the cnm profile."""
    hairpin: bool = False
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
    """Who reaches the endpoints unasked (firewall/isolation.py)."""
    zone: str = ""
    admin_chain: str = ""
    """`firewalldZone`, `iptablesAdminChainName` (firewall/foreign_accept.py)."""

    @property
    def vlan_filtering(self) -> bool:
        return bool(self.vlan or self.trunk)

    def to_json(self) -> Mapping[str, Json]:
        return {**self._asdict(), "trunk": list(self.trunk)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Json]) -> BridgeOptions:
        known = {key: value for key, value in raw.items() if key in cls._fields}
        return cls(**{**known, "trunk": tuple(raw["trunk"])})


def parse(network: NetworkSpec) -> BridgeOptions:
    parsed = _reference(network) if network.options.get("profile") == "reference" else _cnm(network)
    if parsed.hairpin and parsed.promisc:
        raise InvalidConfig(
            "hairpinMode and promiscMode cannot both be set",
            hint="a promiscuous bridge delivers a port's own frames itself; keep one of the two",
        )
    if not parsed.container_up and network.ipam.type not in ("", "none"):
        raise InvalidConfig(
            "disableContainerInterface leaves the interface down, which an ipam contradicts",
            hint="remove one of the two",
        )
    return parsed


def bridge_name(network: str) -> str:
    """Docker's way: `br-` and the first 12 hex digits of the network's id."""
    return f"br-{digest(network)[:12]}"


def _reference(network: NetworkSpec) -> BridgeOptions:
    raw = network.options
    read.refuse_labels(raw, "bridge")
    default_gateway = read.boolean(raw, "isDefaultGateway", False)
    return BridgeOptions(
        bridge=read.interface_name(raw, "bridge", "cni0"),
        profile="reference",
        is_gateway=default_gateway or read.boolean(raw, "isGateway", False),
        default_gateway=default_gateway and not network.internal,
        force_address=read.boolean(raw, "forceAddress", False),
        masquerade=firewall_options.masquerade(raw) and not network.internal,
        mtu=read.mtu(raw, "mtu"),
        hairpin=read.boolean(raw, "hairpinMode", False),
        promisc=read.boolean(raw, "promiscMode", False),
        internal=network.internal,
        ingress=firewall_options.ingress(raw, "open"),
        **firewall_options.other_firewalls(raw),
        **_port(raw),
    )


def _cnm(network: NetworkSpec) -> BridgeOptions:
    raw = network.options
    labels = read.labels(raw, "bridge", LABELS, REFERENCE_ONLY)
    return BridgeOptions(
        bridge=read.interface_name(labels, LABEL_NAME, bridge_name(network.name)),
        profile="cnm",
        is_gateway=True,
        default_gateway=not network.internal,
        masquerade=read.boolean(labels, LABEL_MASQUERADE, True) and not network.internal,
        mtu=read.mtu(labels, LABEL_MTU) or read.mtu(raw, "mtu"),
        internal=network.internal,
        ingress=firewall_options.labelled_ingress(raw, labels),
        **firewall_options.other_firewalls(raw),
        **_port(raw),
    )


def _port(raw: Mapping[str, Json]) -> dict[str, Json]:
    """Keys about one bridge port, with the same meaning in both profiles."""
    return {
        "vlan": read.number(raw, "vlan", 0, 0, 4094),
        "trunk": _trunk(raw.get("vlantrunk")),
        "keep_default_vlan": read.boolean(raw, "preserveDefaultVlan", False),
        "guard_mac": read.boolean(raw, "macspoofchk", False),
        "dad": read.boolean(raw, "enabledad", False),
        "container_up": not read.boolean(raw, "disableContainerInterface", False),
        "isolated_port": read.boolean(raw, "portIsolation", False),
    }


def _trunk(raw: Json) -> tuple[int, ...]:
    """VLAN ids of `vlanTrunk`: a list of {"id"}, {"minID","maxID"} or both; sorted, each once."""
    if raw is None:
        return ()
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        raise InvalidConfig("vlanTrunk must be a list of objects with id, or minID and maxID")
    ids: set[int] = set()
    for item in raw:
        entry = {str(key).lower(): value for key, value in item.items()}
        low = read.number(entry, "minID", 0, 1, 4094)
        high = read.number(entry, "maxID", 0, 1, 4094)
        if bool(low) != bool(high):
            raise InvalidConfig(f"a range in vlanTrunk needs both minID and maxID: {item}")
        if low > high:
            raise InvalidConfig(f"minID {low} is greater than maxID {high} in vlanTrunk")
        single = read.number(entry, "id", 0, 1, 4094)
        if not (single or low):
            raise InvalidConfig(f"an entry of vlanTrunk names no VLAN: {item}")
        ids.update(range(low, high + 1) if low else ())
        ids.update((single,) if single else ())
    return tuple(sorted(ids))
