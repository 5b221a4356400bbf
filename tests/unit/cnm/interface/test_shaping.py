"""Bandwidth: what configurations mean, and what is done to the host's links, on the Stack in memory."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cnm.interface import shaping
from cni_cnm.errors import CheckFailed, Conflict, DriverFailed, InvalidConfig, KernelError
from cni_cnm.kernel import Link, Rate
from cni_cnm.kernel.token_bucket import kept
from cni_cnm.model import Bandwidth, digest
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.stack import MemoryStack

MBIT = 1_000_000
BOTH = Bandwidth(MBIT, 2 * MBIT, 3 * MBIT, 4 * MBIT)
IFB = shaping.ifb_name(digest("net", "c1", "eth0"))


@pytest.fixture
def host() -> MemoryStack:
    """A host whose veth0 leads into a container."""
    namespaces = MemoryNamespaces()
    stack = namespaces.host()
    stack.add_veth("veth0", peer="eth0", peer_stack=namespaces.create("/c1"), mtu=1400)
    return stack


def there(stack: MemoryStack, name: str) -> Link:
    link = stack.link(name)
    assert link is not None
    return link


@pytest.mark.parametrize(
    ("block", "runtime", "expected"),
    [
        (None, None, None),
        ({}, {}, None),
        ({"ingressRate": 0, "ingressBurst": 0}, None, None),
        ({"ingressRate": 8, "ingressBurst": 1}, None, Bandwidth(8, 1)),
        (None, {"IngressRate": 10, "IngressBurst": 20, "EgressRate": 30, "EgressBurst": 40}, Bandwidth(10, 20, 30, 40)),
        ({"egressRate": 30, "egressBurst": 40}, {"ingressRate": 10, "ingressBurst": 20}, Bandwidth(0, 0, 30, 40)),
        ({"egressRate": 0}, {"ingressRate": 10, "ingressBurst": 20}, None),
        ({"egressRate": None, "type": "bandwidth"}, {"ingressRate": 10, "ingressBurst": 20}, Bandwidth(10, 20)),
        (None, {"ingressRate": 10, "ingressBurst": 4294967295}, Bandwidth(10, 4294967295)),
    ],
)
def test_parse(block: Any, runtime: Any, expected: Bandwidth | None) -> None:
    """Any key in the configuration puts the runtime's out of force; zeros and nothing are no limit."""
    assert shaping.parse(block, runtime) == expected


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"ingressRate": 10}, "ingressBurst is not"),
        ({"egressBurst": 10}, "egressRate is not"),
        ({"ingressRate": 10, "ingressBurst": 0}, "ingressBurst is not"),
        ({"ingressRate": -1, "ingressBurst": 10}, "ingressRate is -1"),
        ({"ingressRate": 10, "ingressBurst": -10}, "ingressBurst is -10"),
        ({"egressRate": 7, "egressBurst": 10}, "egressRate is 7"),
        ({"egressRate": 10, "egressBurst": 2**35}, "egressBurst"),
        ({"egressRate": 2**63, "egressBurst": 1}, "egressRate"),
        ({"egressRate": 1.5, "egressBurst": 1}, "egressRate is 1.5"),
        ({"egressRate": True, "egressBurst": 1}, "egressRate is true"),
        ([], "must be an object"),
    ],
)
def test_parse_refuses(block: Any, words: str) -> None:
    """Every wrong value is refused with its key, in the configuration as in what the runtime gives."""
    for arguments in ((block, None), (None, block)):
        with pytest.raises(InvalidConfig, match=words):
            shaping.parse(*arguments)


def test_ifbs_do_not_clash() -> None:
    """Each interface of a container has an ifb of its own, of a length the kernel takes."""
    ids = [digest("net", "c1", ifname) for ifname in ("eth0", "eth1")]
    names = {shaping.ifb_name(one) for one in ids}
    assert len(names) == 2
    assert all(len(name) == 15 for name in names)


def test_apply_and_check(host: MemoryStack) -> None:
    """Both ways limited: a rate on the host's end, and one on an ifb of its MTU that it is redirected to."""
    made = shaping.apply(host, "veth0", IFB, BOTH)
    veth, ifb = there(host, "veth0"), there(host, IFB)
    assert made is not None
    assert (made.name, made.mac, made.mtu, made.sandbox) == (IFB, ifb.mac, 1400, "")
    assert host.rate(veth.ifindex) == kept(Rate(MBIT, 2 * MBIT), 1400)
    assert host.rate(ifb.ifindex) == kept(Rate(3 * MBIT, 4 * MBIT), 1400)
    assert host.redirected(veth.ifindex) == ifb.ifindex
    shaping.check(host, "veth0", IFB, BOTH)


def test_one_way_only(host: MemoryStack) -> None:
    """Ingress alone makes no ifb; egress alone does not limit the host's end."""
    veth = there(host, "veth0")
    ingress, egress = Bandwidth(ingress_rate=MBIT, ingress_burst=MBIT), Bandwidth(egress_rate=MBIT, egress_burst=MBIT)
    assert shaping.apply(host, "veth0", IFB, ingress) is None
    assert host.link(IFB) is None
    shaping.check(host, "veth0", IFB, ingress)
    shaping.withdraw(host, "veth0", IFB, ingress)
    shaping.apply(host, "veth0", IFB, egress)
    assert host.rate(veth.ifindex) is None
    shaping.check(host, "veth0", IFB, egress)


def test_remove_and_withdraw(host: MemoryStack) -> None:
    """remove takes the ifb, withdraw also what is on the host's end; doing either again is done."""
    veth = there(host, "veth0")
    shaping.apply(host, "veth0", IFB, BOTH)
    for _ in range(2):
        shaping.withdraw(host, "veth0", IFB, BOTH)
        assert (host.rate(veth.ifindex), host.redirected(veth.ifindex), host.link(IFB)) == (None, 0, None)
    shaping.apply(host, "veth0", IFB, BOTH)
    host.delete_link(veth.ifindex)
    for _ in range(2):
        shaping.remove(host, IFB)
        assert host.link(IFB) is None
    shaping.withdraw(host, "veth0", IFB, BOTH)


def test_withdraw_spares_what_is_others(host: MemoryStack) -> None:
    """A rate and a redirection of another program stay, and so does a link of our name that is no ifb."""
    veth = there(host, "veth0")
    host.add_ifb("other")
    host.redirect_ingress(veth.ifindex, there(host, "other").ifindex)
    host.set_rate(veth.ifindex, Rate(7 * MBIT, MBIT))
    host.add_bridge(IFB, mac="02:00:00:00:00:01")
    shaping.withdraw(host, "veth0", IFB, BOTH)
    assert host.redirected(veth.ifindex) == there(host, "other").ifindex
    assert host.rate(veth.ifindex) == kept(Rate(7 * MBIT, MBIT), 1400)
    assert there(host, IFB).kind == "bridge"


def test_apply_refuses(host: MemoryStack) -> None:
    """Without the link, or with the ifb's name taken, or with the link redirected by others: an error that says so."""
    with pytest.raises(DriverFailed, match="veth9"):
        shaping.apply(host, "veth9", IFB, BOTH)
    shaping.apply(host, "veth0", IFB, BOTH)
    with pytest.raises(Conflict, match=IFB):
        shaping.apply(host, "veth0", IFB, BOTH)
    with pytest.raises(KernelError) as error:
        shaping.apply(host, "veth0", "bwp0", BOTH)
    assert error.value.errno == errno.EEXIST


def _rate_gone(host: MemoryStack) -> None:
    host.set_rate(there(host, "veth0").ifindex, None)


def _rate_differs(host: MemoryStack) -> None:
    host.set_rate(there(host, "veth0").ifindex, Rate(2 * MBIT, 2 * MBIT))


def _ifb_gone(host: MemoryStack) -> None:
    host.delete_link(there(host, IFB).ifindex)


def _ifb_down(host: MemoryStack) -> None:
    host.set_link(there(host, IFB).ifindex, up=False)


def _ifb_unlimited(host: MemoryStack) -> None:
    host.set_rate(there(host, IFB).ifindex, None)


def _not_redirected(host: MemoryStack) -> None:
    host.redirect_ingress(there(host, "veth0").ifindex, 0)


def _link_gone(host: MemoryStack) -> None:
    host.delete_link(there(host, "veth0").ifindex)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_rate_gone, "veth0 has no limit"),
        (_rate_differs, "veth0 is limited to 2000000 bit/s with a burst of 2000000 bits, it was set to 1000000"),
        (_ifb_gone, f"the ifb {IFB}.* is missing"),
        (_ifb_down, f"the ifb {IFB}.* is down"),
        (_ifb_unlimited, f"{IFB} has no limit"),
        (_not_redirected, f"not redirected to {IFB}"),
        (_link_gone, "veth0 is missing"),
    ],
)
def test_check_names_what_differs(host: MemoryStack, change: Any, words: str) -> None:
    """Whatever was taken away or changed, CHECK names it."""
    shaping.apply(host, "veth0", IFB, BOTH)
    change(host)
    with pytest.raises(CheckFailed, match=words):
        shaping.check(host, "veth0", IFB, BOTH)


@given(st.integers(8, 2**40), st.integers(1, 2**35 - 1))
def test_what_is_applied_passes_its_check(rate: int, burst: int) -> None:
    """Any valid limit passes CHECK after it was applied, however the kernel rounds, raises or cuts it."""
    namespaces = MemoryNamespaces()
    stack = namespaces.host()
    stack.add_veth("veth0", peer="eth0", peer_stack=namespaces.create("/c1"))
    wanted = shaping.parse({"ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst}, None)
    assert wanted is not None
    shaping.apply(stack, "veth0", IFB, wanted)
    shaping.check(stack, "veth0", IFB, wanted)
