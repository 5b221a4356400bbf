"""Runs the parts: what differs from the records, and putting it right."""

from __future__ import annotations

from typing import Protocol

from cni_cnm.cnm.reconcile import docker_endpoints, endpoints, leases, modes, names, networks, overlaps, packet_filter
from cni_cnm.cnm.reconcile.changed import EVERYTHING
from cni_cnm.cnm.reconcile.difference import Outcome
from cni_cnm.errors import CnmError
from cni_cnm.state import record_reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.reconcile.changed import Changed
    from cni_cnm.cnm.reconcile.difference import Difference


class Part(Protocol):
    """One kind of object of the host. A module is one, too."""

    def compare(self, host: Host, changed: Changed, /) -> Iterator[Difference]:
        """What differs from the records. Takes no lock and writes nothing."""

    def repair(self, host: Host, difference: Difference, /) -> str:
        """Put it right, and return what was done; "" if nothing had to be done any more.

        CnmError if that is not possible, or not allowed: what another program made stays.
        """


PARTS: tuple[Part, ...] = (modes, docker_endpoints, networks, endpoints, leases, names, packet_filter, overlaps)
"""In this order: an endpoint whose container is gone needs nothing, and an endpoint's link needs its bridge."""


def compare(host: Host, changed: Changed = EVERYTHING) -> Iterator[Difference]:
    """What differs from the records. Takes no lock and writes nothing."""
    for part in PARTS:
        yield from (difference for difference in part.compare(host, changed) if difference.found)


def reconcile(host: Host, changed: Changed = EVERYTHING) -> Iterator[Outcome]:
    """Put right what differs from the records. A part that fails does not stop the others.

    Returns what was repaired, and what could not be.
    """
    for part in PARTS:
        try:
            for difference in part.compare(host, changed):  # one repair may put right what the next look finds
                outcome = _repair(host, part, difference)
                if outcome is not None:
                    yield outcome
        except CnmError as error:
            yield Outcome(f"what differs from the records is not known: {error}", "failed")
    for sentence in record_reader.take_notes():
        yield Outcome(sentence, "failed")


def _repair(host: Host, part: Part, difference: Difference) -> Outcome | None:
    if difference.stays:
        return Outcome(difference.sentence, "noted")
    try:
        done = part.repair(host, difference)
    except CnmError as error:
        return Outcome(f"{difference.sentence}; this was not repaired: {error}", "failed")
    return Outcome(f"{difference.sentence}; {done}", "repaired") if done else None
