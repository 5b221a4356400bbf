"""Options of ptp networks, in the two profiles.

*reference*: the keys of the reference `ptp` plugin. *cnm*: a network as Docker's would be, with Docker's labels as far
as they are not about a bridge. Both become one `PtpOptions`.
"""

from __future__ import annotations

from cni_cnm.drivers import firewall_options, options
from cni_cnm.drivers.firewall_options import LABEL_ICC, LABEL_MASQUERADE
from cni_cnm.drivers.options import LABEL_MTU
from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields
from cni_cnm.model import digest
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json, NetworkSpec

LABELS = (LABEL_MASQUERADE, LABEL_MTU, LABEL_ICC)
REFERENCE_ONLY = ("ipMasq", "ipMasqBackend")
REFERENCE_KEYS = frozenset(key.lower() for key in REFERENCE_ONLY)
KEYS = REFERENCE_KEYS | {"mtu", "enableipv6", "masqueradeexcept"}
_GROUPS = 0x40000000
"""Link groups from here on are our networks'. Administrators number theirs from 1."""


class PtpOptions(NamedTuple):
    group: int
    """Of the endpoints' links on the host (IFLA_GROUP): by it the packet filter knows the network."""
    mtu: int = 0
    """0: the kernel's, 1500."""
    masquerade: bool = False
    default_route: bool = False
    internal: bool = False
    ingress: str = "open"
    zone: str = ""
    admin_chain: str = ""
    published_only: bool = False
    """Other hosts reach published ports only, unless `ingress` says more: the CNM profile."""
    masquerade_except: tuple[str, ...] = ()
    """Networks, as text, to which packets are not masqueraded."""

    def to_json(self) -> Mapping[str, Json]:
        return firewall_options.without_unset(self._asdict())

    @classmethod
    def from_json(cls, raw: Mapping[str, Json]) -> PtpOptions:
        known = {key: value for key, value in raw.items() if key in cls._fields}
        return cls(**{**known, "masquerade_except": tuple(known.get("masquerade_except", ()))})


def parse(network: NetworkSpec) -> PtpOptions:
    """InvalidConfig names the key that is wrong, or that there is no IPAM."""
    if network.ipam.type in ("", "none"):
        raise InvalidConfig(
            "a ptp network needs an ipam: its packets are routed by address", hint='"ipam": {"type": "host-local", …}'
        )
    raw = Fields(network.options, words=True)
    reference = raw.text("profile") == "reference"
    if reference:
        options.refuse_labels(raw, "ptp")
        mtu, masquerade = options.mtu(raw, "mtu"), firewall_options.masquerade(raw)
        ingress, default_route = firewall_options.ingress(raw, "open"), False
    else:
        labels = options.labels(raw, "ptp", LABELS, REFERENCE_ONLY)
        mtu = options.mtu(labels, LABEL_MTU) or options.mtu(raw, "mtu")
        masquerade = labels.flag(LABEL_MASQUERADE, True)
        ingress = firewall_options.labelled_ingress(raw, labels)
        default_route = not network.internal
    if network.internal:
        firewall_options.refuse_internal(ingress)
    return PtpOptions(
        group_of(network.name),
        mtu,
        masquerade and not network.internal,
        default_route,
        network.internal,
        ingress,
        published_only=not reference,
        **firewall_options.other_firewalls(raw),
        masquerade_except=firewall_options.masquerade_except(raw),
    )


def group_of(network: str) -> int:
    """The link group of a network, from its name."""
    return _GROUPS | int(digest("ptp", network)[:8], 16) & (_GROUPS - 1)
