"""Messages of traffic control are those of pyroute2, and what is put into them is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from cni_cnm.kernel.contract.link import Bucket
from cni_cnm.kernel.netlink.header import HEADER
from cni_cnm.kernel.rtnetlink import tc
from cni_cnm.kernel.token_bucket import U32
from tests.unit.kernel.rtnetlink.test_links_requests import theirs

INDEXES = st.integers(1, 2**31 - 1)
NUMBERS = st.integers(1, U32)
BUCKETS = st.builds(Bucket, st.integers(1, 2**48), NUMBERS, NUMBERS)
_INFO = 1 << 16 | 0x300
"""Priority 1, all protocols."""


@given(INDEXES)
def test_places_are_those_of_pyroute2(index: int) -> None:
    assert tc.message(index) == theirs(tcmsg, [], index=index)
    assert tc.place(index, tc.ROOT) == theirs(tcmsg, [], index=index, parent=0xFFFFFFFF)
    assert tc.filters(index) == theirs(tcmsg, [], index=index, parent=0xFFFF0000)
    discipline = theirs(tcmsg, [("TCA_KIND", "ingress")], index=index, parent=0xFFFFFFF1, handle=0xFFFF0000)
    assert tc.ingress(index) == discipline


@given(INDEXES, st.builds(Bucket, st.integers(1, U32 - 1), NUMBERS, NUMBERS))
def test_pyroute2_reads_the_same_bucket(index: int, wanted: Bucket) -> None:
    """Up to 34 Gbit/s: pyroute2 has no attribute for more. (As a sender it fills in fields for old kernels.)"""
    message = tcmsg(_answer(tc.root(index, wanted)))
    message.decode()
    assert (message["index"], message["parent"], message["handle"]) == (index, tc.ROOT, 0x10000)
    assert message.get_attr("TCA_KIND") == "tbf"
    found = message.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")
    set_fields = {name: found[name] for name, _ in found.fields if found[name]}
    assert set_fields == {"rate": wanted.rate, "limit": wanted.limit, "buffer": wanted.ticks}


@given(INDEXES, INDEXES)
def test_pyroute2_reads_the_same_redirection(index: int, to: int) -> None:
    for kind, handle, name in (("u32", 0x80000800, "TCA_U32_ACT"), ("matchall", 1, "TCA_MATCHALL_ACT")):
        message = tcmsg(_answer(tc.redirect(index, to, kind)))
        message.decode()
        fields = [message[name] for name in ("index", "parent", "handle", "info")]
        assert fields == [index, 0xFFFF0000, handle, _INFO]
        options = message.get_attr("TCA_OPTIONS")
        first = options.get_attr(name).get_attr("TCA_ACT_PRIO_1")
        assert (message.get_attr("TCA_KIND"), first.get_attr("TCA_ACT_KIND")) == (kind, "mirred")
        found = first.get_attr("TCA_ACT_OPTIONS").get_attr("TCA_MIRRED_PARMS")
        set_fields = {name: found[name] for name, _ in found.fields if found[name]}
        assert set_fields == {"action": 4, "eaction": 1, "ifindex": to}
        if kind == "u32":
            selector = options.get_attr("TCA_U32_SEL")
            (key,) = selector["keys"]
            assert (selector["flags"], selector["nkeys"], key["key_mask"], key["key_val"]) == (1, 1, 0, 0)


@given(INDEXES, BUCKETS)
def test_a_bucket_is_read_back(index: int, wanted: Bucket) -> None:
    """Also at rates of more than 32 bits. Another discipline, or one at another place, is no bucket."""
    assert tc.bucket(_answer(tc.root(index, wanted)), 0) == wanted
    assert tc.bucket(_answer(tc.message(index, parent=tc.ROOT, kind="noqueue")), 0) is None
    assert tc.bucket(_answer(tc.message(index, parent=tc.INGRESS, kind="tbf")), 0) is None
    assert tc.bucket(_answer(tc.message(index, parent=tc.ROOT, kind="tbf")), 0) is None


@pytest.mark.parametrize("kind", tc.FILTERS)
@given(to=INDEXES)
def test_a_redirection_is_read_back(kind: str, to: int) -> None:
    """Both kinds of filter say where they redirect to; other disciplines and filters say nowhere."""
    assert tc.target(_answer(tc.redirect(7, to, kind)), 0) == to
    assert tc.target(_answer(tc.message(7, kind="basic", info=_INFO)), 0) == 0
    assert tc.target(_answer(tc.message(7, kind=kind, info=_INFO)), 0) == 0
    assert tc.target(_answer(tc.redirect(7, to, kind).replace(b"mirred", b"police")), 0) == 0


def _answer(body: bytes) -> bytes:
    """A datagram with the message."""
    return HEADER.pack(HEADER.size + len(body), tc.RTM_NEWQDISC, 0, 1, 0) + body
