"""What every Stack promises about rates, and about what comes in being redirected."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel import Link, Rate
from cni_cnm.kernel.contract.link import Bucket
from cni_cnm.kernel.netlink import header, netlink_socket
from cni_cnm.kernel.token_bucket import kept
from tests.contract.conftest import World
from tests.memory_kernel.stack import MemoryStack

MBIT = 1_000_000
U32 = 4294967295
"""Bits of burst that runtimes send with any rate."""


def ifb(world: World, name: str = "bwp0", mtu: int = 0) -> Link:
    try:
        world.host.add_ifb(name, mtu=mtu)
    except KernelFeatureMissing as error:
        pytest.skip(str(error))
    link = world.host.link(name)
    assert link is not None
    return link


@pytest.mark.parametrize(
    ("given", "mtu"),
    [
        (Rate(8, 8), 1500),
        (Rate(123, 456), 1500),
        (Rate(MBIT, 1), 1500),
        (Rate(MBIT, MBIT), 1500),
        (Rate(MBIT, 4 * MBIT), 9000),
        (Rate(MBIT, U32), 1500),
        (Rate(100 * MBIT, U32), 1500),
        (Rate(40_000 * MBIT, 400 * MBIT), 65535),
        (Rate(400_000 * MBIT, U32), 1500),
    ],
)
def test_rate_reads_back_as_kept(world: World, given: Rate, mtu: int) -> None:
    """A rate reads back as the arithmetic says the kernel keeps it, from 8 bit/s to 400 Gbit/s."""
    near, _ = world.pair()
    world.host.set_link(near.ifindex, mtu=mtu)
    assert world.host.rate(near.ifindex) is None
    world.host.set_rate(near.ifindex, given)
    assert world.host.rate(near.ifindex) == kept(given, mtu)


def test_bucket_of_another_program(world: World) -> None:
    """Parameters that no rate has by our arithmetic read back as they were set, and replace what there was."""
    near, _ = world.pair()
    assert world.host.bucket(near.ifindex) is None
    world.host.set_rate(near.ifindex, Rate(MBIT, MBIT))
    for bucket in (Bucket(125000, 1562500, 15625), Bucket(1, 4294967295, 4294967295)):
        world.host.set_bucket(near.ifindex, bucket)
        assert world.host.bucket(near.ifindex) == bucket


def test_rate_is_replaced_and_taken_off(world: World) -> None:
    """A second rate replaces the first, None takes it off, and another time there is none: ENOENT."""
    near, _ = world.pair()
    for rate in (Rate(MBIT, MBIT), Rate(2 * MBIT, 3 * MBIT)):
        world.host.set_rate(near.ifindex, rate)
        assert world.host.rate(near.ifindex) == kept(rate, near.mtu)
    world.host.set_rate(near.ifindex, None)
    assert world.host.rate(near.ifindex) is None
    with pytest.raises(KernelError, match="veth0") as error:
        world.host.set_rate(near.ifindex, None)
    assert error.value.errno == errno.ENOENT


def test_rates_of_links_are_their_own(world: World) -> None:
    """A limited link says nothing of the next one, nor of one that does not exist."""
    near, far = world.pair()
    world.host.set_rate(near.ifindex, Rate(MBIT, MBIT))
    other = world.bridge()
    assert world.host.rate(other.ifindex) is None
    assert world.container.rate(far.ifindex) is None
    assert world.host.rate(99) is None
    with pytest.raises(KernelError) as error:
        world.host.set_rate(99, Rate(MBIT, MBIT))
    assert error.value.errno == errno.ENODEV


def test_the_limits_of_others_are_not_listed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside limited links the kernel answers with as many messages as beside none."""
    if isinstance(world.host, MemoryStack):
        pytest.skip("the memory has no messages to count")
    near, _ = world.pair()
    world.host.set_rate(near.ifindex, Rate(MBIT, MBIT))
    heard = 0

    def count(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        nonlocal heard
        for message in header.messages(data):
            heard += 1
            yield message

    monkeypatch.setattr(netlink_socket, "messages", count)
    assert world.host.rate(near.ifindex) == kept(Rate(MBIT, MBIT), near.mtu)
    alone, heard = heard, 0
    for number in range(20):
        world.host.add_veth(f"other{number}", peer=f"eth{number + 1}", peer_stack=world.container)
        other = world.host.link(f"other{number}")
        assert other is not None
        world.host.set_rate(other.ifindex, Rate(MBIT, MBIT))
    heard = 0
    assert world.host.rate(near.ifindex) == kept(Rate(MBIT, MBIT), near.mtu)
    assert heard == alone


def test_ifb_is_born_up(world: World) -> None:
    """An ifb has its MTU, is up, and its name is its own."""
    link = ifb(world, mtu=1400)
    assert (link.kind, link.mtu, link.up) == ("ifb", 1400, True)
    with pytest.raises(KernelError, match="bwp0") as error:
        world.host.add_ifb("bwp0")
    assert error.value.errno == errno.EEXIST


def test_redirection(world: World) -> None:
    """What comes in is redirected to one link, told by its index, until that is taken back."""
    near, _ = world.pair()
    link = ifb(world)
    assert world.host.redirected(near.ifindex) == 0
    world.host.redirect_ingress(near.ifindex, link.ifindex)
    assert world.host.redirected(near.ifindex) == link.ifindex
    assert world.host.redirected(link.ifindex) == 0
    with pytest.raises(KernelError, match="veth0") as error:
        world.host.redirect_ingress(near.ifindex, link.ifindex)
    assert error.value.errno == errno.EEXIST
    world.host.redirect_ingress(near.ifindex, 0)
    assert world.host.redirected(near.ifindex) == 0
    with pytest.raises(KernelError, match="veth0") as error:
        world.host.redirect_ingress(near.ifindex, 0)
    assert error.value.errno == errno.ENOENT


def test_redirection_to_a_link_that_goes(world: World) -> None:
    """Once the target is deleted nothing is redirected to it, and the redirection can be taken back."""
    near, _ = world.pair()
    link = ifb(world)
    world.host.redirect_ingress(near.ifindex, link.ifindex)
    world.host.delete_link(link.ifindex)
    assert world.host.redirected(near.ifindex) == 0
    world.host.redirect_ingress(near.ifindex, 0)


def test_redirection_to_nowhere(world: World) -> None:
    """A target that does not exist is refused, and nothing is redirected."""
    near, _ = world.pair()
    with pytest.raises(KernelError) as error:
        world.host.redirect_ingress(near.ifindex, 99)
    assert error.value.errno == errno.ENODEV
    assert world.host.redirected(near.ifindex) == 0


def test_limits_come_behind_what_is_queued(world: World) -> None:
    """In a batch a rate can be set on a link that the same batch makes."""
    with world.host.batch():
        world.host.add_bridge("br0", mac="02:00:00:00:00:01")
        link = world.host.link("br0")
        assert link is not None
        world.host.set_link(link.ifindex, mtu=1400)
        world.host.set_rate(link.ifindex, Rate(MBIT, 8))
    assert world.host.rate(link.ifindex) == kept(Rate(MBIT, 8), 1400)
