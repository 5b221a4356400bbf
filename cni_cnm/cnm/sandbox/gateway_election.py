"""Which of a sandbox's endpoints is its default gateway: libnetwork's election, for IPv4 and IPv6 apart.

Order (libnetwork Endpoint.Less): higher priority first, external before internal networks, more IP versions first,
then the network's name. The first endpoint that offers a default route of the IP version is elected.
"""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Candidate(NamedTuple):
    endpoint: str
    network: str
    families: frozenset[int]
    """IP versions it offers a default route for."""
    priority: int = 0
    internal: bool = False


def elect(candidates: Iterable[Candidate]) -> dict[int, str]:
    """IP version to endpoint id. A version that no candidate offers is absent."""
    ranked = sorted(candidates, key=lambda c: (-c.priority, c.internal, -len(c.families), c.network, c.endpoint))
    elected: dict[int, str] = {}
    for candidate in ranked:
        for version in candidate.families:
            elected.setdefault(version, candidate.endpoint)
    return elected
