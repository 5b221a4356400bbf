"""What has happened between two samples."""

from __future__ import annotations

from typing import Any

from cni_cnm.kernel.link_traffic import Traffic
from cni_cnm.watch.compare import Drop, drops, events, rates
from cni_cnm.watch.sample import Sample, Seen

FRONT = Seen("a" * 64, "web/front", "shop", "eth0", ("10.9.0.2/24",), "ready", "veth1")
CART = Seen("b" * 64, "web/cart", "shop", "eth0", ("10.9.0.3/24",), "ready", "veth2")


def sample(*endpoints: Seen, **more: Any) -> Sample:
    given = Sample({"shop": "bridge"}, {one.id: one for one in endpoints}, {}, {}, {})
    return given._replace(**more)


def said(before: Sample, after: Sample) -> list[str]:
    return [event.sentence for event in events(before, after)]


def test_nothing() -> None:
    assert said(sample(FRONT), sample(FRONT)) == []
    assert list(drops(sample(), sample())) == []


def test_who_joins_and_leaves() -> None:
    assert said(sample(FRONT), sample(CART)) == ["web/cart joined shop: eth0 10.9.0.3/24", "web/front left shop"]
    assert said(sample(), sample(FRONT._replace(state="pending"))) == ["web/front is pending in shop"]
    assert said(sample(FRONT._replace(state="pending")), sample(FRONT)) == ["web/front joined shop: eth0 10.9.0.2/24"]
    assert said(sample(FRONT), sample(FRONT._replace(state="pending"))) == ["web/front is pending in shop, was ready"]


def test_networks() -> None:
    one, other = sample(networks={"a": "bridge"}), sample(networks={"b": "ptp"})
    assert said(one, other) == ["network b was made, driver ptp", "network a was removed"]


def test_links() -> None:
    """Only of what was there before and is there still: an endpoint that leaves takes its link with it."""
    up = {"veth1": "up", "br0": "up", "veth2": "up"}
    before = sample(FRONT, CART, links=up)
    after = sample(FRONT, links={"veth1": "missing", "br0": "down"})
    assert said(before, after) == ["web/cart left shop", "link br0 is down", "link veth1 of web/front is gone"]


def test_drops() -> None:
    """A counter that was made again begins at 0."""
    before = sample(drops={"isolation": (5, 500), "icc": (3, 300), "spoof": (9, 900)})
    after = sample(drops={"isolation": (19, 1900), "icc": (3, 300), "spoof": (1, 60), "internal": (2, 80)})
    found = list(drops(before, after))
    assert found == [Drop("isolation", 14, 1400), Drop("spoof", 1, 60), Drop("internal", 2, 80)]
    assert found[0].sentence.startswith("dropped by isolation: 14 packets (between two networks")
    assert [Drop("reflection", 1, 1).is_fault, Drop("icc", 1, 1).is_fault] == [False, True]


def test_rates() -> None:
    """What the host's end sends is what the container receives."""
    before = sample(FRONT, CART, traffic={"veth1": Traffic(100, 1, 1000, 10, 0), "veth2": Traffic(9, 9, 9, 9, 9)})
    after = sample(FRONT, CART, traffic={"veth1": Traffic(600, 3, 3000, 30, 4), "veth2": Traffic(1, 1, 1, 1, 0)})
    [front, cart] = rates(before, after, 2.0)
    assert (front.received_bits, front.received_packets, front.sent_bits, front.sent_packets) == (8000, 10, 2000, 1)
    assert (front.bits, front.dropped) == (10000, 4)
    assert cart.bits == 0  # another link of the name: its counters are lower


def test_rates_of_what_was_not_there() -> None:
    """No rate since the beginning of the link, and none without a link on the host."""
    there = {"veth1": Traffic(100, 1, 1000, 10, 0)}
    alone = CART._replace(link="")
    found = list(rates(sample(), sample(FRONT, alone, traffic=there), 1.0))
    assert [(rate.endpoint.container, rate.bits) for rate in found] == [("web/front", 0), ("web/cart", 0)]
