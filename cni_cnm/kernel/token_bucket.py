"""The parameters of the kernel's token bucket (tbf) for a rate: only the arithmetic.

The kernel keeps a burst as the time its bytes take at the rate: 32 bits, in ticks of 64 ns. A burst longer than 274.8 s
is cut to that (runtimes send 4294967295 bits with any rate). A burst that is too small for the rate is raised to:

    two frames of the link      tbf drops a frame larger than the bucket, and with one frame TCP gets 65 to 90 %
    5 ms of the rate            the queue's timer is late under load, and tokens beyond the burst are lost: with one
                                frame 1 Gbit/s gets 37 %, with 0.5 ms of it 81 %, with 4 ms all
"""

from __future__ import annotations

from cni_cnm.kernel.contract.link import Bucket, Rate

TICK_NS = 64
"""PSCHED_SHIFT is 6 since Linux 2.6.31."""
U32 = 0xFFFFFFFF
NS = 1_000_000_000
LATENCY_NS = 25_000_000
"""The longest time a packet waits once the burst is spent, as in the reference plugin."""
FRAME_HEADER = 18
"""Ethernet with a VLAN tag."""
FLOOR_NS = 5_000_000


def bucket(wanted: Rate, mtu: int) -> Bucket:
    """As `tc qdisc … tbf rate … burst … latency 25ms` computes them; `mtu` is of the link."""
    rate = max(1, wanted.rate // 8)
    floor = max(2 * (mtu + FRAME_HEADER), rate * FLOOR_NS // NS)
    ticks = min(-(-max(wanted.burst // 8, floor) * NS // (rate * TICK_NS)), U32)
    return Bucket(rate, ticks, min(rate * LATENCY_NS // NS + _bytes(rate, ticks), U32))


def rate(found: Bucket) -> Rate:
    """The rate of a bucket."""
    return Rate(found.rate * 8, _bytes(found.rate, found.ticks) * 8)


def kept(wanted: Rate, mtu: int) -> Rate:
    """The rate that reads back after `wanted` was set: in whole bytes, the burst raised, cut and rounded to a tick."""
    return rate(bucket(wanted, mtu))


def _bytes(rate: int, ticks: int) -> int:
    return ticks * TICK_NS * rate // NS
