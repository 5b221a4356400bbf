"""One container's interface as the reference plugins made it, with what of it is not understood."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple
from cni_cnm.reference.configuration import Configuration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import Address, EndpointKey, Interface
    from cni_cnm.reference.cache import Cached
    from cni_cnm.reference.limits import Limits
    from cni_cnm.reference.saved_tuning import SavedTuning


class Attachment(NamedTuple):
    cached: Cached
    """libcni's file, with the list's own text."""
    configuration: Configuration
    """What the list asked of each plugin."""
    interfaces: tuple[Interface, ...] = ()
    """Of the result: the bridge first."""
    host_link: str = ""
    """The host's end of the veth."""
    mac: str = ""
    """Of the container's interface, as the result has it."""
    addresses: tuple[Address, ...] = ()
    """Those of the container's interface, in the result's order."""
    masquerade: str = ""
    """`iptables` or `nftables`: where its rules are; "" without."""
    ports: str = ""
    """The same, of published ports."""
    older_host_ip: bool = False
    """Its ports of one host address are in a chain of their own in nftables, as portmap 1.6 to 1.8 makes them."""
    older_jumps: bool = False
    """The tables of published ports in nftables are those of portmap 1.6 to 1.8."""
    without_masq_all: bool = False
    """Its portmap does not know `masqAll`, which was asked for: plugins before 1.3, in iptables."""
    spoof_mac: str = ""
    """What macspoofchk lets through; "" without."""
    isolation_words: str = ""
    """How the plugin that made the bridge's isolation words its comments; "" without a policy."""
    limits: Limits | None = None
    tuning: SavedTuning | None = None
    """What the plugin tuning restores on DEL."""
    not_understood: tuple[str, ...] = ()
    """Why nothing here changes it: one sentence for each reason. Empty: all of it is as the reference makes it."""

    @property
    def key(self) -> EndpointKey:
        return self.cached.key

    @property
    def bridge(self) -> str:
        return self.configuration.bridge.name if self.configuration.bridge else ""

    @property
    def older_portmap(self) -> bool:
        return self.without_masq_all or self.older_host_ip or self.older_jumps
