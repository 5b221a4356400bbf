"""Token buckets as the plugin bandwidth computes them, put on links and taken off."""

from __future__ import annotations

import pytest

from cni_cnm.errors import Conflict
from cni_cnm.kernel.contract.link import Bucket, Rate
from cni_cnm.reference import limits
from cni_cnm.reference.configuration import Bandwidth
from cni_cnm.reference.limits import Limits
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.stack import MemoryStack

IFB = "bwp623e1c388032"


@pytest.fixture
def host() -> MemoryStack:
    namespaces = MemoryNamespaces()
    host = namespaces.host()
    host.add_veth("veth0", peer="eth0", peer_stack=namespaces.create("/run/netns/c1"))
    return host


def both(host_link: str = "veth0") -> Limits:
    found = limits.wanted(Bandwidth(1_000_000, 100_000, 2_000_000, 300_000), host_link, IFB)
    assert found is not None
    return found


def test_arithmetic() -> None:
    """As the plugin sets them: time in ticks of 64 ns, limit of 25 ms and the burst, all cut to 32 bits."""
    assert both() == Limits("veth0", Bucket(125_000, 1_562_500, 15_625), Bucket(250_000, 2_343_750, 43_750), IFB)
    slow = limits.wanted(Bandwidth(8_000, 4_294_967_295), "veth0", IFB)
    assert slow is not None
    assert slow.ingress is not None
    assert slow.ingress.ticks <= 0xFFFFFFFF
    assert slow.ifb == ""
    assert limits.wanted(Bandwidth(), "veth0", IFB) is None


def test_what_is_written_is_read(host: MemoryStack) -> None:
    """Twice is as once, and another program's limit is replaced."""
    assert limits.read(host, "veth0", IFB) is None
    link = host.link("veth0")
    assert link is not None
    host.set_rate(link.ifindex, Rate(1_000_000, 100_000))
    for _ in range(2):
        limits.write(host, both())
        assert limits.read(host, "veth0", IFB) == both()
    for _ in range(2):
        limits.remove(host, both())
        assert limits.read(host, "veth0", IFB) is None
        assert host.link(IFB) is None


def test_a_limit_of_another_program_stays(host: MemoryStack) -> None:
    link = host.link("veth0")
    assert link is not None
    host.set_rate(link.ifindex, Rate(3_000_000, 100_000))
    limits.remove(host, both())
    assert host.rate(link.ifindex) is not None


def test_a_name_that_is_taken(host: MemoryStack) -> None:
    host.add_bridge(IFB, mac="02:00:00:00:00:01")
    with pytest.raises(Conflict, match=f"{IFB} already"):
        limits.write(host, both())
    with pytest.raises(Conflict, match="veth9 is missing"):
        limits.write(host, both("veth9"))
