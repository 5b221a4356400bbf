"""Which networks clash is found without comparing all of them."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cluster.etcd.networks import clash_of
from cni_cnm.cluster.etcd.taken import Taken
from cni_cnm.cluster.values import OverlayNetwork
from tests.cluster.examples import network


def inside(base: str, sizes: range) -> st.SearchStrategy[str]:
    """Networks of these prefix lengths, in the one of the first length at `base`."""
    first = ip_address(base)
    return st.sampled_from(sizes).flatmap(
        lambda size: st.integers(0, (1 << size - sizes[0]) - 1).map(
            lambda number: f"{first + (number << first.max_prefixlen - size)}/{size}"
        )
    )


networks = st.builds(
    lambda name, four, six, vni: network(name, four, six, vni=vni, sizes=(30, 126)),
    st.sampled_from("abcdef"), inside("10.0.0.0", range(20, 29)), inside("fd00::", range(112, 119)), st.integers(1, 9),
)  # fmt: skip


@given(st.lists(st.tuples(networks, st.booleans()), max_size=20))
def test_it_names_those_that_clash(steps: list[tuple[OverlayNetwork, bool]]) -> None:
    taken, known = Taken(), dict[str, OverlayNetwork]()
    for one, removed in steps:
        clashing = {name for name, other in known.items() if name != one.name and clash_of(one, other)}
        assert set(taken.clashing(one)) == clashing
        if one.name in known and (removed or not clashing):
            taken.remove(known.pop(one.name))
        if not removed and not clashing:
            known[one.name] = one
            taken.add(one)
