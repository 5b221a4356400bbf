"""The arithmetic of token buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.kernel import Rate
from cni_cnm.kernel.contract.link import Bucket
from cni_cnm.kernel.token_bucket import LATENCY_NS, NS, TICK_NS, U32, bucket, kept

RATES = st.integers(8, 2**50)
BURSTS = st.integers(0, 2**36)
MTUS = st.integers(68, 65535)


@given(RATES, BURSTS, MTUS)
def test_bucket_holds_the_burst(rate: int, burst: int, mtu: int) -> None:
    """A bucket that is neither raised nor cut holds the burst, and less than a tick and a byte more."""
    made = bucket(Rate(rate, burst), mtu)
    held = made.ticks * TICK_NS * made.rate / NS
    if made.ticks < U32:
        assert held >= burst // 8 * (1 - 1e-9)
    least = max(2 * (mtu + 18), made.rate / 200)
    assert made.ticks == U32 or held >= least * 0.999 - 1
    if burst // 8 >= least:
        assert held <= burst // 8 + made.rate * TICK_NS / NS + 1


@given(RATES, BURSTS, MTUS)
def test_bucket_fits_the_kernel(rate: int, burst: int, mtu: int) -> None:
    """Every field fits its 32 bits, and the queue takes the burst and 25 ms of the rate."""
    made = bucket(Rate(rate, burst), mtu)
    assert 0 < made.ticks <= U32
    assert 0 < made.limit <= U32
    expected = made.rate * LATENCY_NS // NS + made.ticks * TICK_NS * made.rate // NS
    assert made.limit == min(expected, U32)


@given(RATES, BURSTS, MTUS)
def test_kept_is_kept(rate: int, burst: int, mtu: int) -> None:
    """What the kernel keeps of a rate it keeps when it is set again, and never less than was asked unless cut."""
    once = kept(Rate(rate, burst), mtu)
    assert kept(once, mtu) == once
    assert once.rate == rate // 8 * 8
    assert once.burst >= burst // 8 * 8 or bucket(Rate(rate, burst), mtu).ticks == U32


def test_bursts_of_runtimes_are_cut() -> None:
    """The 512 MiB that runtimes send are cut to 274.8 s of 1 Mbit/s, and fit from 15.6 Mbit/s on."""
    assert kept(Rate(1_000_000, 4294967295), 1500).burst // 8 == 34359738
    assert kept(Rate(16_000_000, 4294967295), 1500).burst // 8 == 4294967295 // 8


def test_bucket_as_tc_computes_it() -> None:
    """`tc qdisc add … tbf rate 1mbit burst 32kb latency 25ms`: 262.144 ms in ticks, a limit of 35893 bytes."""
    assert bucket(Rate(1_000_000, 32768 * 8), 1500) == Bucket(125_000, 4_096_000, 3125 + 32768)
