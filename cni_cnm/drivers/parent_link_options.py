"""Options of macvlan and ipvlan networks, whose interfaces are made on a link of the host, their parent.

*reference*: the keys of the reference `macvlan` and `ipvlan` plugins. *cnm*: Docker's names (`parent`, `macvlan_mode`,
`ipvlan_mode`, `ipvlan_flag`). Both become one `ParentLinkOptions`.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.drivers import options
from cni_cnm.drivers.options import LABEL_MTU
from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields
from cni_cnm.model import digest
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.model import Json, NetworkSpec

MODES = {"macvlan": ("bridge", "private", "vepa", "passthru"), "ipvlan": ("l2", "l3", "l3s")}
"""The first is the default."""
FLAGS = ("bridge", "private", "vepa")

LABEL_PARENT = "parent"
LABELS = {
    "macvlan": (LABEL_PARENT, "macvlan_mode", LABEL_MTU),
    "ipvlan": (LABEL_PARENT, "ipvlan_mode", "ipvlan_flag", LABEL_MTU),
}
REFERENCE_ONLY = {
    "macvlan": ("master", "mode", "linkInContainer", "bcqueuelen"),
    "ipvlan": ("master", "mode", "linkInContainer"),
}
"""Keys that only the reference profile reads."""
COMMON_KEYS = ("mtu", "enableIPv6", "enabledad")

QUEUE_MAX = 2**32 - 1
_PRIVATE_NAMES = {"macvlan": "dm", "ipvlan": "di"}


class ParentLinkOptions(NamedTuple):
    parent: str = ""
    """"": `private`, or else the link of the default route."""
    private: str = ""
    """Name of a parent of the network's own, that leads nowhere."""
    vlan: bool = False
    """`parent` may name a sub-interface LINK.VLAN that is made if missing."""
    mode: str = ""
    flag: str = ""
    mtu: int = 0
    in_container: bool = False
    """The parent is looked for in the container."""
    default_route: bool = False
    connected: bool = False
    internal: bool = False
    dad: bool = False
    bc_queue: int = 0

    def to_json(self) -> Mapping[str, Json]:
        return self._asdict()

    @classmethod
    def from_json(cls, raw: Mapping[str, Json]) -> ParentLinkOptions:
        return cls(**{key: value for key, value in raw.items() if key in cls._fields})


def parse(kind: str, network: NetworkSpec) -> ParentLinkOptions:
    """`kind` is `macvlan` or `ipvlan`. InvalidConfig names the key that is wrong."""
    raw = Fields(network.options, words=True)
    policy = raw.text("ingressPolicy", "open")
    if policy != "open":
        raise InvalidConfig(
            f"firewall.ingressPolicy is {policy!r}, which needs a bridge, and a {kind} network has none",
            hint="leave it out: what reaches the containers is decided on the physical network",
        )
    parsed = _reference(kind, network) if raw.text("profile") == "reference" else _cnm(kind, network)
    if parsed.parent == "lo":
        raise InvalidConfig(f"lo cannot be the parent of {kind}", hint="name a link that leads somewhere")
    if network.internal and not parsed.parent:
        if parsed.in_container:
            raise InvalidConfig("linkInContainer needs the master named, where the network is internal")
        parsed = parsed._replace(private=f"{_PRIVATE_NAMES[kind]}-{digest(network.name)[:12]}")
    return parsed._replace(internal=network.internal, dad=raw.flag("enabledad"))


def split_vlan(name: str) -> tuple[str, int]:
    """The link and the VLAN that `eth0.50` names; ("", 0) for another name."""
    link, dot, digits = name.rpartition(".")
    fit = dot and link and digits.isascii() and digits.isdigit() and 1 <= int(digits) <= 4094
    return (link, int(digits)) if fit else ("", 0)


def _reference(kind: str, network: NetworkSpec) -> ParentLinkOptions:
    raw = Fields(network.options, words=True)
    options.refuse_labels(raw, kind)
    return ParentLinkOptions(
        parent=raw.parsed("master", validate.interface_name) or "",
        mode=_choice(raw, "mode", MODES[kind]),
        flag="bridge" if kind == "ipvlan" else "",
        mtu=options.mtu(raw, "mtu"),
        in_container=raw.flag("linkInContainer"),
        bc_queue=raw.whole("bcqueuelen", 0, 0, QUEUE_MAX) if kind == "macvlan" else 0,
    )


def _cnm(kind: str, network: NetworkSpec) -> ParentLinkOptions:
    raw = Fields(network.options, words=True)
    labels = options.labels(raw, kind, LABELS[kind], REFERENCE_ONLY[kind])
    mode = _choice(labels, f"{kind}_mode", MODES[kind])
    routed = mode in ("l3", "l3s")
    return ParentLinkOptions(
        parent=labels.parsed(LABEL_PARENT, validate.interface_name) or "",
        vlan=True,
        mode=mode,
        flag=_choice(labels, "ipvlan_flag", FLAGS) if kind == "ipvlan" else "",
        mtu=options.mtu(labels, LABEL_MTU) or options.mtu(raw, "mtu"),
        # A subnet out of the pools has no router on the physical network.
        default_route=not network.internal and (routed or _names_subnet(network)),
        connected=routed,
    )


def _names_subnet(network: NetworkSpec) -> bool:
    config = network.ipam.config
    return network.ipam.type != "host-local" or bool(config.get("subnet") or config.get("ranges"))


def _choice(raw: Fields, key: str, known: Sequence[str]) -> str:
    value = raw.text(key) or known[0]
    if value not in known:
        raise InvalidConfig(f"{key} is {value!r}, it must be one of {', '.join(known)}")
    return value
