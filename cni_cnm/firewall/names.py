"""Names: port 53 of a network's gateways answers on the network's own link alone, also beside published ports 53.

    set gateways4, gateways6             gateways of networks whose names are answered
    set gateways_at4, gateways_at6       the link . its gateway
    chain names                          drops questions to a gateway by any other link, the host's lo too
    chain names_first                    before all published ports: such a question stays as it is

A translation to the same address is one: the kernel looks for no other, whichever program has it.
"""

from __future__ import annotations

from cni_cnm.firewall import INET, comment, drop, drop_counters
from cni_cnm.kernel import Element, Transaction, link_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.model import IPInterface

_QUESTION = "meta l4proto { tcp, udp } th dport 53"
_DECLARE = f"""\
add table {INET}
add set {INET} gateways4 {{ type ipv4_addr; }}
add set {INET} gateways6 {{ type ipv6_addr; }}
add set {INET} gateways_at4 {{ type ifname . ipv4_addr; }}
add set {INET} gateways_at6 {{ type ifname . ipv6_addr; }}
{drop_counters(INET, "names")}\
add chain {INET} names {{ type filter hook input priority 0; }}
flush chain {INET} names
add rule {INET} names {_QUESTION} ip daddr @gateways4 iifname . ip daddr != @gateways_at4 {drop("names")}
add rule {INET} names {_QUESTION} ip6 daddr @gateways6 iifname . ip6 daddr != @gateways_at6 {drop("names")}
add chain {INET} names_first {{ type nat hook prerouting priority -101; }}
flush chain {INET} names_first
add rule {INET} names_first iifname . ip daddr @gateways_at4 {_QUESTION} dnat ip to ip daddr
add rule {INET} names_first iifname . ip6 daddr @gateways_at6 {_QUESTION} dnat ip6 to ip6 daddr
"""


def add_network(network_id: str, name: str, link: str, gateways: Sequence[IPInterface]) -> Transaction:
    """The elements of a network whose gateways are on this link of the host."""
    owner = comment(network_id, name)
    put = []
    for gateway in gateways:
        version, address = gateway.version, str(gateway.ip)
        put.append(Element(INET, f"gateways{version}", address, comment=owner))
        put.append(Element(INET, f"gateways_at{version}", f"{link_key(link)} . {address}", comment=owner))
    return Transaction(_DECLARE, tuple(put))
