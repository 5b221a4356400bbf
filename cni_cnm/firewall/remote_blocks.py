"""Blocks of other hosts, of a network whose subnets are not known as a whole: each block has elements of its own.

    set overlay4, overlay6                  own block . the block, and the reverse
    set overlay_closed4, overlay_closed6    any source . the block
    map overlay_source4, overlay_source6    any source . the block : the gateway on this host
    set unmasqueraded4, unmasqueraded6      own block . the block

The rules are those of overlay.py and masquerade.py. A network with known subnets has one element for all of its blocks.
Here the agent puts them in, as it learns of the blocks. It knows them by the comment.
"""

from __future__ import annotations

from cni_cnm.firewall import INET, comment, isolation, masquerade, overlay
from cni_cnm.kernel import Element
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.firewall import Policy
    from cni_cnm.model import IPInterface, IPNetwork

DECLARATION = overlay.declaration() + masquerade.declaration()
_NAMES = ("overlay", "overlay_closed", "overlay_source", "unmasqueraded")
SETS = tuple(f"{name}{version}" for name in _NAMES for version in (4, 6))
_LABEL = "block of "


class OwnSide(NamedTuple):
    """A network on this host, as far as its elements need it."""

    id: str
    name: str
    policy: Policy
    gateways: tuple[IPInterface, ...]
    """One for each of this host's blocks, with the prefix length of the block."""


def is_block(element: Element) -> bool:
    """Whether `elements` has made it."""
    return element.comment.partition(" ")[2].startswith(_LABEL)


def elements(own: OwnSide, block: IPNetwork) -> Iterator[Element]:
    """What one block of another host needs."""
    owner = comment(own.id, _LABEL + own.name)
    for element in _elements(own, block):
        yield element._replace(comment=owner)


def _elements(own: OwnSide, block: IPNetwork) -> Iterator[Element]:
    policy, version = own.policy, block.version
    anywhere = f"{overlay.ANY[version]} . {block}"
    gateways = [gateway for gateway in own.gateways if gateway.version == version]
    if policy.ingress != isolation.OPEN:
        yield Element(INET, f"overlay_closed{version}", anywhere)
    if gateways:
        yield Element(INET, f"overlay_source{version}", anywhere, str(gateways[0].ip))
    for gateway in gateways:
        if policy.ingress != isolation.ISOLATED:
            yield Element(INET, f"overlay{version}", f"{gateway.network} . {block}")
            yield Element(INET, f"overlay{version}", f"{block} . {gateway.network}")
        excepted = any(other.version == version and block.subnet_of(other) for other in policy.masquerade_except)  # type: ignore[arg-type]
        if policy.masquerade and version not in policy.unmasqueraded and not excepted:
            yield Element(INET, f"unmasqueraded{version}", f"{gateway.network} . {block}")
