"""Options about the packet filter, the same for every driver whose packets the host routes.

The CNI frontend takes the keys of a block `firewall` out of it and puts them beside the others.
"""

from __future__ import annotations

from cni_cnm.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.fields import Fields
    from cni_cnm.model import Json

LABEL_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
LABEL_ICC = "com.docker.network.bridge.enable_icc"


def masquerade(raw: Fields) -> bool:
    """`ipMasq` of the reference plugins. `ipMasqBackend` is checked and makes no difference: ours is nftables."""
    backend = raw.text("ipMasqBackend")
    if backend not in ("", "iptables", "nftables"):
        raise InvalidConfig(f"ipMasqBackend is {backend!r}, it must be 'iptables' or 'nftables'")
    return raw.flag("ipMasq")


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


def other_firewalls(raw: Fields) -> dict[str, Json]:
    """`firewalldZone` and `iptablesAdminChainName`, as `zone` and `admin_chain` (firewall/foreign_accept.py)."""
    zone, chain = raw.raw("firewalldZone"), raw.raw("iptablesAdminChainName")
    if not zone and not chain:
        return {}
    from cni_cnm.firewall.foreign_accept import parse_chain
    from cni_cnm.kernel.firewalld import parse_zone

    return {"zone": parse_zone(zone) if zone else "", "admin_chain": parse_chain(chain)}
