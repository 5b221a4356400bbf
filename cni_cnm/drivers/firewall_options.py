"""Options about the packet filter, the same for every driver whose packets the host routes.

The CNI frontend takes the keys of a block `firewall` out of it and puts them beside the others.
"""

from __future__ import annotations

from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cni_cnm.model import IPNetwork, Json

LABEL_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
LABEL_ICC = "com.docker.network.bridge.enable_icc"
LABEL_MODE4 = "com.docker.network.bridge.gateway_mode_ipv4"
LABEL_MODE6 = "com.docker.network.bridge.gateway_mode_ipv6"
LABEL_INHIBIT = "com.docker.network.bridge.inhibit_ipv4"
LABEL_SOURCE4, LABEL_SOURCE6 = "com.docker.network.host_ipv4", "com.docker.network.host_ipv6"
LABEL_TRUSTED = "com.docker.network.bridge.trusted_host_interfaces"
NAT, UNPROTECTED, ROUTED, CLOSED = "nat", "nat-unprotected", "routed", "isolated"
"""Docker's gateway modes. `isolated` is for internal networks: the bridge has no address."""
DEFAULT_MODES = (NAT, NAT)
"""Of IPv4 and IPv6."""


def masquerade(raw: Fields) -> bool:
    """`ipMasq` of the reference plugins. `ipMasqBackend` is checked and makes no difference: ours is nftables."""
    backend = raw.text("ipMasqBackend")
    if backend not in ("", "iptables", "nftables"):
        raise InvalidConfig(f"ipMasqBackend is {backend!r}, it must be 'iptables' or 'nftables'")
    return raw.flag("ipMasq")


def masquerade_except(raw: Fields) -> tuple[str, ...]:
    """`masqueradeExcept`: networks to which packets keep their source. One that another holds is left out."""
    texts = raw.texts("masqueradeExcept")
    if not texts:
        return ()
    from cni_cnm import validate

    given = dict.fromkeys(validate.require(validate.network, text, raw.name("masqueradeExcept")) for text in texts)
    kept: list[IPNetwork] = []
    for one in sorted(given, key=lambda one: (one.version, int(one.network_address), one.prefixlen)):
        if not kept or not _holds(kept[-1], one):
            kept.append(one)
    return tuple(map(str, filter(set(kept).__contains__, given)))


NEW = ("masquerade_except", "addressless", "sources", "trusted", "outside", "ip_hooks", "metric", "unmanaged")
"""Keys of options that 0.1.0 did not write."""


def without_unset(options: dict[str, Json]) -> Mapping[str, Json]:
    """Options for a record, without a key that 0.1.0 did not write and that has no value."""
    return {key: value for key, value in options.items() if value or key not in NEW}


def _holds(outer: IPNetwork, inner: IPNetwork) -> bool:
    same = outer.version == inner.version and outer.prefixlen <= inner.prefixlen
    return same and inner.network_address in outer


def labelled_ingress(raw: Fields, labels: Fields) -> str:
    """`ingressPolicy` of a network of the CNM profile, whose default follows from Docker's label."""
    return ingress(raw, "same-bridge" if labels.flag(LABEL_ICC, True) else "isolated")


def ingress(raw: Fields, default: str) -> str:
    """`ingressPolicy` (firewall/isolation.py)."""
    given = raw.raw("ingressPolicy")
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


def gateway_modes(labels: Fields, *, internal: bool) -> tuple[str, str]:
    """Docker's labels about who reaches a network from other hosts, for IPv4 and IPv6."""
    modes = _gateway_mode(labels, LABEL_MODE4), _gateway_mode(labels, LABEL_MODE6)
    if CLOSED in modes and not internal:
        raise InvalidConfig(
            f"the gateway mode {CLOSED} is for internal networks only", hint="make the network internal"
        )
    return modes


def _gateway_mode(labels: Fields, label: str) -> str:
    mode = labels.text(label) or NAT
    if mode not in (NAT, UNPROTECTED, ROUTED, CLOSED):
        raise InvalidConfig(f"{label} is {mode!r}, it must be {NAT}, {UNPROTECTED}, {ROUTED} or {CLOSED}")
    return mode


def addressless(labels: Fields, modes: tuple[str, str]) -> tuple[int, ...]:
    """IP versions for which the bridge has no address."""
    inhibited = (4,) if labels.flag(LABEL_INHIBIT) else ()
    return tuple(version for version in (4, 6) if version in (*inhibited, *_versions(modes, CLOSED)))


def sources(labels: Fields) -> tuple[str, ...]:
    """Addresses that packets leave the host with, instead of one that the kernel chooses: at most one a family."""
    found = []
    for version, label in ((4, LABEL_SOURCE4), (6, LABEL_SOURCE6)):
        text = labels.text(label)
        if text:
            from cni_cnm import validate

            address = validate.require(validate.address, text, label)
            if address.version != version:
                raise InvalidConfig(f"{label} is {text}, it must be an IPv{version} address")
            found.append(str(address))
    return tuple(found)


def trusted(labels: Fields) -> tuple[str, ...]:
    """Links of the host from which all ports of a network are reached."""
    from cni_cnm import validate

    names = [name for name in labels.text(LABEL_TRUSTED).split(":") if name]
    return tuple(dict.fromkeys(validate.require(validate.interface_name, name, LABEL_TRUSTED) for name in names))


def routed(policy: str, modes: tuple[str, str] = DEFAULT_MODES) -> tuple[int, ...]:
    """IP versions by which other hosts reach all ports of a network, though other networks do not."""
    return (4, 6) if policy == "routed" else _versions(modes, ROUTED, UNPROTECTED)


def unmasqueraded(modes: tuple[str, str]) -> tuple[int, ...]:
    """IP versions that keep their source address, whatever is said of masquerading."""
    return _versions(modes, ROUTED)


def published_only(policy: str, modes: tuple[str, str] = DEFAULT_MODES) -> tuple[int, ...]:
    """IP versions by which other hosts reach published ports only, in the CNM profile."""
    return () if policy == "open" else tuple(version for version in (4, 6) if version not in routed(policy, modes))


def refuse_internal(policy: str, modes: tuple[str, str] = DEFAULT_MODES) -> None:
    """InvalidConfig for an internal network that other hosts are to reach."""
    if routed(policy, modes):
        raise InvalidConfig(
            "internal and routed contradict each other: nothing outside reaches an internal network",
            hint="remove one of the two",
        )


def _versions(modes: tuple[str, str], *wanted: str) -> tuple[int, ...]:
    return tuple(version for version, mode in zip((4, 6), modes, strict=True) if mode in wanted)


def other_firewalls(raw: Fields) -> dict[str, Json]:
    """`firewalldZone` and `iptablesAdminChainName`, as `zone` and `admin_chain` (firewall/foreign_accept.py)."""
    zone, chain = raw.raw("firewalldZone"), raw.raw("iptablesAdminChainName")
    if not zone and not chain:
        return {}
    from cni_cnm.firewall.foreign_accept import parse_chain
    from cni_cnm.kernel.firewalld import parse_zone

    return {"zone": parse_zone(zone) if zone else "", "admin_chain": parse_chain(chain)}


def with_policy(options: Any, policy: Mapping[str, Json]) -> Any:
    """Options with the policy that keys of the plugin `firewall` ask for."""
    keys = Fields(policy)
    return options._replace(ingress=ingress(keys, "open"), **other_firewalls(keys))


def with_policy_of(options: Any, recorded: Any) -> Any:
    """Options with the policy of others."""
    return options._replace(ingress=recorded.ingress, zone=recorded.zone, admin_chain=recorded.admin_chain)
