"""Which of a sandbox's endpoints is its way out: libnetwork's gateway election, a family at a time.

Order (libnetwork Endpoint.Less): higher priority first, external before internal networks, more gateway families first,
then the network's name. The first that offers a default route of the family has it; IPv4 and IPv6 may differ.
"""

from __future__ import annotations

from typing import NamedTuple

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
    """IP version to endpoint id; a version nobody offers is absent."""
    ranked = sorted(candidates, key=lambda c: (-c.priority, c.internal, -len(c.families), c.network, c.endpoint))
    elected: dict[int, str] = {}
    for candidate in ranked:
        for version in candidate.families:
            elected.setdefault(version, candidate.endpoint)
    return elected
