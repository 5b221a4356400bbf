"""What has happened between two samples: events in words, drops by reason, and the rate of each endpoint."""

from __future__ import annotations

from cni_cnm.firewall.drop_reasons import REASONS
from cni_cnm.kernel.link_traffic import Traffic
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.watch.sample import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.watch.sample import Sample, Seen


_HARMLESS = ("reflection",)
"""Reasons of drops that every network with hairpin has."""


class Event(NamedTuple):
    kind: str
    """`joined`, `left`, `state`, `network made`, `network removed`, `link`; or a key of `frontend.events.KINDS`."""
    sentence: str


class Drop(NamedTuple):
    """Packets that one of our rules has dropped meanwhile."""

    reason: str
    packets: int
    bytes: int

    @property
    def is_fault(self) -> bool:
        """False for what is dropped as long as all is well."""
        return self.reason not in _HARMLESS

    @property
    def sentence(self) -> str:
        many = "packet" if self.packets == 1 else "packets"
        return f"dropped by {self.reason}: {self.packets} {many} ({REASONS[self.reason]})"


class Rate(NamedTuple):
    """What an endpoint's container has received and sent, per second."""

    endpoint: Seen
    received_bits: float = 0.0
    received_packets: float = 0.0
    sent_bits: float = 0.0
    sent_packets: float = 0.0
    dropped: int = 0
    """Packets that the link itself has dropped meanwhile."""

    @property
    def bits(self) -> float:
        return self.received_bits + self.sent_bits


def events(before: Sample, after: Sample) -> Iterator[Event]:
    """In the order of cause and effect: networks, endpoints, links."""
    for name in after.networks.keys() - before.networks.keys():
        yield Event("network made", f"network {name} was made, driver {after.networks[name]}")
    for identity, endpoint in sorted(after.endpoints.items()):
        known = before.endpoints.get(identity)
        if known is None or known.state != endpoint.state:
            yield _appeared(endpoint) if known is None else _changed(known, endpoint)
    for identity, endpoint in sorted(before.endpoints.items()):
        if identity not in after.endpoints:
            yield Event("left", f"{_named(endpoint)} left {endpoint.network}")
    for name in before.networks.keys() - after.networks.keys():
        yield Event("network removed", f"network {name} was removed")
    yield from _links(before, after)


def drops(before: Sample, after: Sample) -> Iterator[Drop]:
    """Reasons whose counter has grown. A counter that is lower than before was made again, and begins at 0."""
    for reason, (packets, size) in after.drops.items():
        earlier, earlier_size = before.drops.get(reason, (0, 0))
        if packets < earlier:
            earlier, earlier_size = 0, 0
        if packets > earlier:
            yield Drop(reason, packets - earlier, size - earlier_size)


def rates(before: Sample, after: Sample, seconds: float) -> Iterator[Rate]:
    """Of every endpoint of `after`; 0 where there is no link of the host, or it was not there before."""
    for endpoint in after.endpoints.values():
        earlier, now = before.traffic.get(endpoint.link), after.traffic.get(endpoint.link)
        if earlier is None or now is None or endpoint.id not in before.endpoints or now.sent_bytes < earlier.sent_bytes:
            yield Rate(endpoint)
            continue
        grown = Traffic(*(new - old for new, old in zip(now, earlier, strict=True)))
        # What the host's end sends is what the container receives.
        yield Rate(
            endpoint,
            grown.sent_bytes * 8 / seconds,
            grown.sent_packets / seconds,
            grown.received_bytes * 8 / seconds,
            grown.received_packets / seconds,
            grown.dropped,
        )


def _links(before: Sample, after: Sample) -> Iterator[Event]:
    """Links that were there for the same endpoint or network before, and have another state now."""
    owners = {endpoint.link: _named(endpoint) for endpoint in after.endpoints.values() if endpoint.link}
    for name, state in sorted(after.links.items()):
        known = before.links.get(name)
        if known is not None and known != state:
            owner = f" of {owners[name]}" if name in owners else ""
            what = "is gone" if state == MISSING else f"is {state}"
            yield Event("link", f"link {name}{owner} {what}")


def _appeared(endpoint: Seen) -> Event:
    if endpoint.state != "ready":
        return Event("state", f"{_named(endpoint)} is {endpoint.state} in {endpoint.network}")
    return Event("joined", f"{_named(endpoint)} joined {endpoint.network}: {_where(endpoint)}")


def _changed(known: Seen, endpoint: Seen) -> Event:
    if endpoint.state == "ready":
        return _appeared(endpoint)
    return Event("state", f"{_named(endpoint)} is {endpoint.state} in {endpoint.network}, was {known.state}")


def _named(endpoint: Seen) -> str:
    return endpoint.container or endpoint.id[:12]


def _where(endpoint: Seen) -> str:
    return " ".join(filter(None, (endpoint.ifname, *endpoint.addresses))) or "without an interface"
