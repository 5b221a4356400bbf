"""Options of overlay networks: those of a bridge network in the CNM profile, and what all hosts agree on.

    subnet, subnet6     of the whole network; each host gives addresses from blocks of them
    block, block6       prefix length of a block
    vni, port, direct   as in cluster/values.py
    id                  tells the network from a later one of the same name

What is not configured is taken from the network that the hosts have, and then is on record.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cluster import rules
from cni_cnm.drivers import bridge_options
from cni_cnm.drivers.bridge_options import BridgeOptions
from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields, objects
from cni_cnm.model import ip_network
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cni_cnm.model import IpamSpec, IPNetwork, Json, NetworkSpec

KEYS = frozenset(("mtu", "macspoofchk", "enabledad", "portisolation", "hairpinmode", "masqueradeexcept"))
"""Keys of a CNI configuration that the driver reads."""
LABELS = ("block", "block6", "direct", "port", "vni")
AGREED = ("subnet", "subnet6", "block", "block6", "vni", "port", "direct", "id")
"""Fields that are the same on all hosts."""
LONGEST_BLOCK = {4: 30, 6: 126}
"""A block has at least two addresses to give, one of which is the gateway's."""
_BRIDGE_KEYS = KEYS | {"profile", "labels", "ingresspolicy", "firewalldzone", "iptablesadminchainname"}
_RANGE_KEYS = ("rangeStart", "rangeEnd", "gateway")


class OverlayOptions(NamedTuple):
    bridge: BridgeOptions
    """Of the bridge on this host."""
    subnet: str = ""
    subnet6: str = ""
    block: int = 0
    block6: int = 0
    vni: int = 0
    port: int = 0
    direct: str = ""
    id: str = ""

    @property
    def subnets(self) -> tuple[IPNetwork, ...]:
        """IPv4 first."""
        return tuple(map(ip_network, filter(None, (self.subnet, self.subnet6))))

    def to_json(self) -> Mapping[str, Json]:
        """Fields of the bridge that have their default are left out."""
        defaults = BridgeOptions(self.bridge.bridge).to_json()
        bridge = {key: value for key, value in self.bridge.to_json().items() if value != defaults.get(key)}
        return {**self._asdict(), "bridge": {"bridge": self.bridge.bridge, **bridge}}

    @classmethod
    def from_json(cls, raw: Mapping[str, Json]) -> OverlayOptions:
        known = {key: value for key, value in raw.items() if key in cls._fields}
        return cls(**{**known, "bridge": BridgeOptions.from_json(raw["bridge"])})


def parse(network: NetworkSpec) -> OverlayOptions:
    """InvalidConfig names the key that is wrong."""
    if network.options.get("profile") == "reference":
        raise InvalidConfig("an overlay network has no reference profile", hint="leave out profile")
    if network.ipam.type != "host-local":
        raise InvalidConfig(
            f"ipam.type is {network.ipam.type!r}, and addresses of an overlay network are from blocks that its hosts "
            "claim",
            hint="leave out ipam.type",
        )
    labels = Fields(Fields(network.options).mapping("labels"), words=True)
    kept = {key: value for key, value in labels.spelled.items() if key.lower() not in LABELS}
    plain = {key: value for key, value in network.options.items() if key in _BRIDGE_KEYS}
    bridge = bridge_options.parse(network._replace(options={**plain, "labels": kept}))
    if bridge.addressless:
        raise InvalidConfig(
            "the bridge of an overlay network needs its addresses: they are the way to other hosts",
            hint="leave out inhibit_ipv4 and the gateway mode isolated",
        )
    subnets = {subnet.version: subnet for subnet in _subnets(network.ipam)}
    ipv4, ipv6 = subnets.get(4), subnets.get(6)
    return OverlayOptions(
        bridge,
        str(ipv4 or ""),
        str(ipv6 or ""),
        _block(labels, "block", ipv4, 4),
        _block(labels, "block6", ipv6, 6),
        labels.whole("vni", 0, 1, rules.LAST_VNI),
        labels.whole("port", 0, 1, 65535),
        labels.parsed("direct", rules.direct) or "",
    )


def default_block(subnet: IPNetwork) -> int:
    """Prefix length of a block: /24 or /64, of a subnet with fewer than 16 of those a sixteenth."""
    usual = 24 if subnet.version == 4 else 64
    return max(usual, min(subnet.prefixlen + 4, LONGEST_BLOCK[subnet.version]))


def _subnets(ipam: IpamSpec) -> Iterator[IPNetwork]:
    """Those of the whole network, one of each IP version."""
    fields = Fields(ipam.config, "ipam.")
    members = [fields] if "subnet" in fields else []
    for number, raw in enumerate(fields.items("ranges")):
        name = fields.name(f"ranges[{number}]")
        members += objects(raw, name)
    versions = set()
    for member in members:
        for key in _RANGE_KEYS:
            if key in member:
                raise InvalidConfig(
                    f"{member.name(key)} cannot be given for an overlay network: each host has blocks of its own",
                    hint=f"leave out {key}",
                )
        subnet = member.required("subnet", validate.network)
        if subnet.version in versions:
            raise InvalidConfig(
                f"{member.name('subnet')} is a second IPv{subnet.version} subnet, an overlay network has one"
            )
        versions.add(subnet.version)
        yield subnet


def _block(labels: Fields, key: str, subnet: IPNetwork | None, version: int) -> int:
    size = labels.whole(key, 0, 1, LONGEST_BLOCK[version])
    if size and subnet is not None and size < subnet.prefixlen:
        raise InvalidConfig(f"{labels.name(key)} is {size}, and a block cannot be larger than the subnet {subnet}")
    return size
