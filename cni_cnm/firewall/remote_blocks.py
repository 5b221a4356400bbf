"""Blocks of other hosts, of a network whose subnets are not known as a whole (Kubernetes): the agent's part.

    set remote4_24, remote6_64…   the blocks of other hosts that are reached, by IP version and prefix length
    chain remote_blocks           first in `overlay`: packets between these blocks and this host's own
    chain remote_sources          first in `overlay_source`: what enters such a block from elsewhere gets the gateway's
                                  address
    chain remote_unmasqueraded    in the chains that masquerade this host's blocks: not to other hosts' blocks

They do what overlay.py does with one subnet. A set has no intervals: so a block that comes or goes costs the same
however many there are. The chains have rules for each prefix length, as the agent declares them. A host has one such
network.
"""

from __future__ import annotations

from cni_cnm.firewall import INET, comment, drop, isolation, overlay
from cni_cnm.kernel import Element
from cni_cnm.model import ip_network
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cni_cnm.firewall import Policy
    from cni_cnm.model import IPInterface, IPNetwork

    Length = tuple[int, int]
    """IP version and prefix length."""

PREFIX = "remote"
"""Begins the names of the sets and chains."""
CHAINS = ("remote_blocks", "remote_sources", "remote_unmasqueraded")
_FAMILY = {4: "ip", 6: "ip6"}
_ZERO = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - nothing is bound
EMPTY = "".join(f"add chain {INET} {chain}\nflush chain {INET} {chain}\n" for chain in CHAINS)
"""Chains without rules."""


class OwnSide(NamedTuple):
    """A network on this host, as far as its rules need it."""

    id: str
    name: str
    policy: Policy
    gateways: tuple[IPInterface, ...]
    """One for each of this host's blocks, with the prefix length of the block."""


def length_of(block: IPNetwork) -> Length:
    return block.version, block.prefixlen


def element(own: OwnSide, block: IPNetwork) -> Element:
    key = str(block.network_address)
    return Element(INET, _set(length_of(block)), key, comment=comment(own.id, own.name))


def declaration(own: OwnSide, lengths: Collection[Length]) -> str:
    """The sets and the rules, for blocks of these lengths."""
    ordered = sorted(lengths)
    sets = (f"add set {INET} {_set(length)} {{ type ipv{length[0]}_addr; }}\n" for length in ordered)
    rules = [rule for length in ordered for rule in _within(own, length)]
    rules.append("remote_blocks ct status dnat return")
    rules += [rule for length in ordered for rule in (*_closed(own, length), *_nat(own, length))]
    added = (f"add rule {INET} {rule}\n" for rule in rules)
    return "".join((overlay.declaration(), EMPTY, *sets, *added))


def rule_counts(text: str) -> dict[str, int]:
    """How many rules a declaration gives each chain."""
    return {chain: text.count(f"add rule {INET} {chain} ") for chain in CHAINS}


def _set(length: Length) -> str:
    version, prefix_length = length
    return f"{PREFIX}{version}_{prefix_length}"


def _within(own: OwnSide, length: Length) -> Iterator[str]:
    """None where the endpoints of the network do not reach each other."""
    family, blocks = _FAMILY[length[0]], _own_blocks(own, length)
    if blocks and own.policy.ingress != isolation.ISOLATED:
        for packets in (
            f"{family} saddr {blocks} {_remote('daddr', length)}",
            f"{_remote('saddr', length)} {family} daddr {blocks}",
        ):
            yield f"remote_blocks {packets} fib saddr . iif oif missing {drop('overlay_source')}"
            yield f"remote_blocks {packets} accept"


def _closed(own: OwnSide, length: Length) -> Iterator[str]:
    """None of a network that all networks reach. What is redirected to a published port goes on in `isolation`."""
    if own.policy.ingress != isolation.OPEN:
        version, to = length[0], _remote("daddr", length)
        for others, kind in (("iifname @networks", "iifname"), ("iifgroup @groups", "iifgroup")):
            opened = f"overlay_open{'_groups' if kind == 'iifgroup' else ''}{version}"
            yield (f"remote_blocks {others} {to} {_FAMILY[version]} daddr . {kind} != @{opened} {drop('isolation')}")


def _nat(own: OwnSide, length: Length) -> Iterator[str]:
    family, blocks, remote = _FAMILY[length[0]], _own_blocks(own, length), _remote("daddr", length)
    if blocks:
        gateway = next(one for one in own.gateways if one.version == length[0])
        yield f"remote_sources {family} saddr {blocks} {remote} accept"
        yield f"remote_sources {remote} snat {family} to {gateway.ip}"
    yield f"remote_unmasqueraded {remote} accept"


def _own_blocks(own: OwnSide, length: Length) -> str:
    """Of this IP version; "" if this host has none."""
    found = [str(gateway.network) for gateway in own.gateways if gateway.version == length[0]]
    return f"{{ {', '.join(found)} }}" if found else ""


def _remote(side: str, length: Length) -> str:
    """Matches packets whose source or destination is in a block of another host."""
    return f"{_FAMILY[length[0]]} {side} & {_mask(length)} @{_set(length)}"


def _mask(length: Length) -> str:
    version, prefix_length = length
    return str(ip_network(f"{_ZERO[version]}/{prefix_length}").netmask)
