"""Gateway election of a sandbox."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cnm.sandbox.gateway_election import Candidate, elect

V4, V6, DUAL, NONE = frozenset({4}), frozenset({6}), frozenset({4, 6}), frozenset[int]()


def test_nobody_offers() -> None:
    """Without an offer no default gateway is elected."""
    assert elect([Candidate("e1", "n1", NONE)]) == {}


def test_families_may_differ() -> None:
    """IPv4 and IPv6 may leave by different endpoints."""
    assert elect([Candidate("a", "n1", V4), Candidate("b", "n2", V6)]) == {4: "a", 6: "b"}


def test_order_of_libnetwork() -> None:
    """Priority, then external, then more families, then the network's name."""
    low = Candidate("low", "a", DUAL, priority=-1)
    internal = Candidate("internal", "a", DUAL, internal=True)
    single = Candidate("single", "a", V4)
    later = Candidate("later", "b", DUAL)
    first = Candidate("first", "a", DUAL)
    for members, winner in (
        ([low, internal], "internal"),
        ([internal, single], "single"),
        ([single, later], "later"),
        ([later, first], "first"),
    ):
        assert elect(members)[4] == winner
        assert elect(members[::-1])[4] == winner


candidates = st.builds(
    Candidate,
    st.uuids().map(str),
    st.sampled_from("abc"),
    st.sampled_from([V4, V6, DUAL, NONE]),
    st.integers(-3, 3),
    st.booleans(),
)


@given(st.lists(candidates, max_size=6))
def test_winner_offers_what_it_wins(members: list[Candidate]) -> None:
    """An elected endpoint offers the family, and every family that is offered has an elected endpoint."""
    elected = elect(members)
    by_id = {member.endpoint: member for member in members}
    assert all(version in by_id[winner].families for version, winner in elected.items())
    assert set(elected) == {version for member in members for version in member.families}
