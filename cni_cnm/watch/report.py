"""Looks at the host in a row, and what each of them has to report."""

from __future__ import annotations

from time import localtime, monotonic, sleep, strftime

from cni_cnm.frontend.events import NETWORK_MADE, NETWORK_REMOVED, Reader
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.watch import compare, sample
from cni_cnm.watch.compare import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.watch.compare import Drop, Rate


class Report(NamedTuple):
    """What has happened since the report before."""

    time: str
    rates: Sequence[Rate]
    """By how much was sent and received, the most first."""
    drops: Sequence[Drop]
    events: Sequence[Event]


def reports(host: Host, networks: Sequence[str], interval: float, count: int) -> Iterator[Report]:
    """One report after each `interval` seconds, `count` of them; 0: without end."""
    logged = Reader(host.settings.run_dir)
    before, since, number = sample.read(host, networks), monotonic(), 0
    while not count or number < count:
        sleep(interval)
        after, now = sample.read(host, networks), monotonic()
        rates = sorted(
            compare.rates(before, after, now - since), key=lambda rate: (-rate.bits, rate.endpoint.container)
        )
        yield Report(
            strftime("%H:%M:%S", localtime()),
            sorted(rates, key=lambda rate: (-rate.bits, rate.endpoint.container)),
            tuple(compare.drops(before, after)),
            (*compare.events(before, after), *_new(logged, networks)),
        )
        before, since, number = after, now, number + 1


def _new(logged: Reader, networks: Sequence[str]) -> Iterator[Event]:
    """What the service has noted, but for what two samples show. Of other networks nothing, of the whole host all."""
    for event in logged.new():
        if event.kind not in (NETWORK_MADE, NETWORK_REMOVED) and (not networks or event.network in ("", *networks)):
            yield Event(event.kind, event.sentence)


def bits(number: float) -> str:
    """A rate for people: `1.2 Mbit/s`."""
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bit/s" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} Gbit/s"
