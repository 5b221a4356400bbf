"""Options of the bridge driver, in the two profiles.

*reference*: the keys and defaults of the reference `bridge` plugin. *cnm*: a network as Docker's own bridge gives it,
with libnetwork's labels (`com.docker.network.*`). Both become one `BridgeOptions`.
"""

from __future__ import annotations

from typing import NamedTuple

from cni_cnm.drivers import options as read
from cni_cnm.errors import InvalidConfig
from cni_cnm.model import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json, NetworkSpec

MTU_LOW, MTU_HIGH = 68, 65535

LABEL_NAME = "com.docker.network.bridge.name"
LABEL_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
LABEL_MTU = "com.docker.network.driver.mtu"
LABEL_ICC = "com.docker.network.bridge.enable_icc"
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
    if raw.get("labels"):
        raise InvalidConfig(
            "options are given beside keys of the reference bridge plugin",
            hint='use either those keys, or options with "profile": "cnm"',
        )
    default_gateway = read.boolean(raw, "isDefaultGateway", False)
    backend = read.text(raw, "ipMasqBackend")
    if backend not in ("", "iptables", "nftables"):
        raise InvalidConfig(f"ipMasqBackend is {backend!r}, it must be 'iptables' or 'nftables'")
    return BridgeOptions(
        bridge=read.interface_name(raw, "bridge", "cni0"),
        profile="reference",
        is_gateway=default_gateway or read.boolean(raw, "isGateway", False),
        default_gateway=default_gateway and not network.internal,
        force_address=read.boolean(raw, "forceAddress", False),
        masquerade=read.boolean(raw, "ipMasq", False) and not network.internal,
        mtu=_mtu(raw, "mtu"),
        hairpin=read.boolean(raw, "hairpinMode", False),
        promisc=read.boolean(raw, "promiscMode", False),
        internal=network.internal,
        ingress=_ingress(raw, "open"),
        **_others(raw),
        **_port(raw),
    )


def _cnm(network: NetworkSpec) -> BridgeOptions:
    raw = network.options
    for key in REFERENCE_ONLY:
        if raw.get(key.lower()) is not None:
            raise InvalidConfig(
                f"{key} is a key of the reference bridge plugin, which the cnm profile does not read",
                hint="leave out profile to use those keys, or say it with options",
            )
    labels = {str(key).lower(): value for key, value in (raw.get("labels") or {}).items()}
    for label in labels:
        if label.startswith("com.docker.network.") and label not in LABELS:
            raise InvalidConfig(
                f"the bridge driver does not know the option {label}", hint=f"known: {', '.join(LABELS)}"
            )
    return BridgeOptions(
        bridge=read.interface_name(labels, LABEL_NAME, bridge_name(network.name)),
        profile="cnm",
        is_gateway=True,
        default_gateway=not network.internal,
        masquerade=read.boolean(labels, LABEL_MASQUERADE, True) and not network.internal,
        mtu=_mtu(labels, LABEL_MTU) or _mtu(raw, "mtu"),
        internal=network.internal,
        ingress=_ingress(raw, "same-bridge" if read.boolean(labels, LABEL_ICC, True) else "isolated"),
        **_others(raw),
        **_port(raw),
    )


def _ingress(raw: Mapping[str, Json], default: str) -> str:
    """`ingressPolicy`, which the door takes out of the block `firewall`."""
    given = raw.get("ingresspolicy")
    if given is None:
        return default
    from cni_cnm.firewall.isolation import ISOLATED, parse_policy

    policy = parse_policy(given)
    if default == ISOLATED and policy != ISOLATED:
        raise InvalidConfig(
            f"ingressPolicy is {policy!r} and {LABEL_ICC} is false, which contradict each other",
            hint="leave out one of the two",
        )
    return policy


def _others(raw: Mapping[str, Json]) -> dict[str, Json]:
    """What other firewalls call things, which the door takes out of the block `firewall`."""
    zone, chain = raw.get("firewalldzone"), raw.get("iptablesadminchainname")
    if not zone and not chain:
        return {}
    from cni_cnm.firewall.foreign_accept import parse_chain
    from cni_cnm.kernel.firewalld import parse_zone

    return {"zone": parse_zone(zone) if zone else "", "admin_chain": parse_chain(chain)}


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


def _mtu(raw: Mapping[str, Json], key: str) -> int:
    value = read.number(raw, key, 0, 0, MTU_HIGH)
    if value and value < MTU_LOW:
        raise InvalidConfig(f"{key} is {value}, it must be 0 (automatic) or between {MTU_LOW} and {MTU_HIGH}")
    return value


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
