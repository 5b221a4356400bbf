"""Tuning: what configurations mean, and what is done to a container's interface, on the Stack in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cnm.interface import tuning
from cni_cnm.errors import CheckFailed, DriverFailed, InvalidConfig, IoFailed, KernelError
from cni_cnm.model import Tuning
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.stack import MemoryStack

MAC = "02:11:22:33:44:55"
ARP_IGNORE = "net/ipv4/conf/eth0/arp_ignore"
ALL = Tuning(((ARP_IGNORE, "1"), ("net/core/somaxconn", "512")), MAC, 1400, True, True, 500)


@pytest.fixture
def container() -> MemoryStack:
    """A container with eth0."""
    namespaces = MemoryNamespaces()
    stack = namespaces.create("/c1")
    namespaces.host().add_veth("veth0", peer="eth0", peer_stack=stack)
    return stack


def parse(block: Any, arguments: Any = None, ifname: str = "eth0", **more: Any) -> Tuning:
    found = tuning.parse(block, arguments, ifname, allowlist=more.pop("allowlist", "/nonexistent"), **more)
    assert found is not None
    return found


def test_arguments_alone_tune_nothing() -> None:
    """Without the block in the configuration args.cni has no say, as without the reference plugin in the chain."""
    assert tuning.parse(None, {"sysctl": {"net.ipv4.ip_forward": "1"}, "mac": MAC}, "eth0") is None
    assert parse({}) == Tuning()


def test_every_key() -> None:
    """All keys, in any case, with sysctls in their order; null is not given."""
    block = {
        "Sysctl": {"net.ipv4.conf.IFNAME.arp_ignore": "1", "net.core.somaxconn": 512},
        "MAC": MAC.upper(),
        "Mtu": 1400,
        "promisc": True,
        "allMulti": True,
        "txQLen": 500,
    }
    assert parse(block) == ALL
    assert parse(dict.fromkeys(tuning.KEYS)) == Tuning()
    assert parse({"mtu": 0, "mac": ""}) == Tuning()
    assert parse({"promisc": False, "allmulti": False, "txqlen": 0}) == Tuning((), None, None, False, False, 0)


def test_order_of_precedence() -> None:
    """Of MACs that of args.cni, then the runtime's, then the block's; of the rest that of args.cni."""
    block = {"mac": "02:00:00:00:00:01", "mtu": 1400, "promisc": True, "txQLen": 1}
    assert parse(block).mac == "02:00:00:00:00:01"
    assert parse(block, mac="02:00:00:00:00:02").mac == "02:00:00:00:00:02"
    assert parse(block, {"mac": "02-00-00-00-00-03"}, mac="02:00:00:00:00:02").mac == "02:00:00:00:00:03"
    changed = parse(block, {"mtu": 1300, "promisc": False, "allmulti": True, "txQLen": 2})
    assert changed == Tuning((), "02:00:00:00:00:01", 1300, False, True, 2)
    values = parse(
        {"sysctl": {"net.ipv4.conf.IFNAME.arp_ignore": "1", "net.core.somaxconn": "1"}},
        {"sysctl": {"net/ipv4/conf/eth0/arp_ignore": "2"}},
    ).sysctls
    assert values == ((ARP_IGNORE, "2"), ("net/core/somaxconn", "1"))


@pytest.mark.parametrize(
    ("key", "ifname", "path"),
    [
        ("net.ipv4.ip_forward", "eth0", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "eth0", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.IFNAME.rp_filter", "eth0.1", "net/ipv4/conf/eth0.1/rp_filter"),
        ("net/ipv4/conf/IFNAME/rp_filter", "eth0.1", "net/ipv4/conf/eth0.1/rp_filter"),
        ("net/ipv4/conf/eth0.1/rp_filter", "eth0", "net/ipv4/conf/eth0.1/rp_filter"),
        ("net.ipv4.conf.eth0/1.rp_filter", "eth0", "net/ipv4/conf/eth0.1/rp_filter"),
        ("net.ipv4.conf.IFNAME.IFNAME", "eth0", "net/ipv4/conf/eth0/IFNAME"),
    ],
)
def test_keys_as_sysctl_reads_them(key: str, ifname: str, path: str) -> None:
    """Dots or slashes separate, and the first IFNAME is the interface, dots in its name and all."""
    assert parse({"sysctl": {key: "1"}}, ifname=ifname).sysctls == ((path, "1"),)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "net",
        "net.",
        ".net.ipv4.ip_forward",
        "/net/ipv4/ip_forward",
        "kernel.hostname",
        "kernel/../net/ipv4/ip_forward",
        "net/../kernel/hostname",
        "net/ipv4/./ip_forward",
        "net..ipv4",
        "net.ipv4.//.kernel",
        "net/ipv4/conf/eth0\0/x",
        "net/ipv4/ip_forward\n",
        "net/ipv4/ip forward",
        "netfoo.ipv4",
        "proc/sys/net/ipv4/ip_forward",
    ],
)
def test_only_the_network_and_no_tricks(key: str) -> None:
    """Keys outside net, and whatever climbs, doubles or hides a separator, are refused."""
    with pytest.raises(InvalidConfig, match="not a network sysctl"):
        parse({"sysctl": {key: "1"}})


@given(st.text(alphabet="net./IFNAME \0\n..//", max_size=30))
def test_every_accepted_key_stays_below_net(key: str) -> None:
    """Whatever is accepted is a path of at least one name below net, without climbing."""
    try:
        [(path, _)] = parse({"sysctl": {key: "1"}}).sysctls
    except InvalidConfig:
        return
    parts = path.split("/")
    assert parts[0] == "net"
    assert len(parts) > 1
    assert all(parts)
    assert not {".", ".."} & set(parts)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"sysctl": {"net.ipv4.conf.IFNAME.x": "1", "net/ipv4/conf/eth0/x": "1"}}, "are the same"),
        ({"sysctl": {"net.ipv4.ip_forward": True}}, "must be a string"),
        ({"sysctl": {"net.ipv4.ip_forward": None}}, "must be a string"),
        ({"sysctl": {"net.ipv4.ip_forward": ""}}, "cannot be"),
        ({"sysctl": {"net.ipv4.ip_forward": "1\n0"}}, "cannot be"),
        ({"sysctl": {"net.ipv4.ip_forward": "1" * 4096}}, "cannot be"),
        ({"sysctl": ["net.ipv4.ip_forward"]}, "tuning.sysctl is"),
        ({"mac": "02:11:22:33:44"}, "it must be a MAC address"),
        ({"mac": "01:11:22:33:44:55"}, "not multicast"),
        ({"mac": 5}, "mac is 5"),
        ({"mtu": -1}, "mtu is -1"),
        ({"mtu": 65537}, "mtu is 65537"),
        ({"txQLen": -1}, "txQLen is -1"),
        ({"txQLen": 2**32}, "txQLen"),
        ({"promisc": "maybe"}, "promisc"),
        ({"allmulti": 1}, "allmulti"),
        ([], "tuning is"),
    ],
)
def test_parse_refuses(block: Any, words: str) -> None:
    """Every wrong value is refused with its key, before anything is done."""
    with pytest.raises(InvalidConfig, match=words):
        parse(block)


def test_allowlist(tmp_path: Path) -> None:
    """One unanchored expression a line, for keys as written, those of arguments too; an empty list allows nothing."""
    path = tmp_path / "allowlist.conf"
    path.write_text("\n  ^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$  \n\nsomaxconn\n")
    good = {"net.ipv4.conf.IFNAME.arp_ignore": "1", "net.core.somaxconn": "1"}
    assert len(parse({"sysctl": good}, allowlist=str(path)).sysctls) == 2
    for block, arguments in (({"sysctl": {"net.ipv4.ip_forward": "1"}}, {}), ({}, {"sysctl": {"net.x": "1"}})):
        with pytest.raises(InvalidConfig, match="is not allowed here"):
            parse(block, arguments, allowlist=str(path))
    path.write_text("\n")
    assert parse({"mtu": 1400}, allowlist=str(path)).mtu == 1400
    with pytest.raises(InvalidConfig, match="not allowed") as refused:
        parse({"sysctl": good}, allowlist=str(path))
    assert "allows none" in refused.value.hint


def test_broken_allowlist(tmp_path: Path) -> None:
    """A list that cannot be read allows nothing, and says where it is wrong."""
    path = tmp_path / "allowlist.conf"
    block = {"sysctl": {"net.ipv4.ip_forward": "1"}}
    path.write_text("net\n(\n")
    with pytest.raises(InvalidConfig, match="line 2"):
        parse(block, allowlist=str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(IoFailed):
        parse(block, allowlist=str(path))
    with pytest.raises(IoFailed):
        parse(block, allowlist=str(tmp_path))


def test_repeated_sysctls_are_refused() -> None:
    """A key twice in one sysctl object is refused wherever it is; twice in other objects is not looked at."""
    twice = b'{"a": 1, "a": 2, "tuning": {"SysCtl": {"net.x": "1", "net.y": "1", "net.x": "1"}}}'
    with pytest.raises(InvalidConfig, match=r"net\.x is given twice"):
        tuning.refuse_repeated(twice)
    tuning.refuse_repeated(b'{"a": 1, "a": 2, "tuning": {"sysctl": {"net.x": "1"}}, "sysctl": "net.x"}')
    tuning.refuse_repeated(json.dumps({"args": {"cni": {"sysctl": {"net.x": "1"}}}}).encode())


def test_apply_check_restore(container: MemoryStack) -> None:
    """What is applied passes its check; restoring what was before leaves nothing of it."""
    before = tuning.current(container, "eth0", ALL)
    assert [key for key, _ in before.sysctls] == [key for key, _ in ALL.sysctls]
    old = container.link("eth0")
    link = tuning.apply(container, "eth0", ALL)
    assert (link.mac, link.mtu, link.promisc, link.allmulti, link.txqlen) == ALL[1:]
    assert container.sysctl(ARP_IGNORE) == "1"
    tuning.check(container, "eth0", ALL)
    tuning.restore(container, "eth0", before)
    assert container.link("eth0") == old
    assert tuning.current(container, "eth0", ALL) == before


def test_only_what_is_given_is_touched(container: MemoryStack) -> None:
    """Attributes that are not given are neither kept, set, checked nor restored."""
    wanted = Tuning(mtu=1400)
    before = tuning.current(container, "eth0", wanted)
    assert before == Tuning(mtu=1500)
    link = tuning.apply(container, "eth0", wanted)
    container.set_link(link.ifindex, promisc=True, txqlen=7)
    tuning.check(container, "eth0", wanted)
    tuning.restore(container, "eth0", before)
    found = container.link("eth0")
    assert found is not None
    assert (found.mtu, found.promisc, found.txqlen) == (1500, True, 7)


def test_restore_of_what_is_gone(container: MemoryStack) -> None:
    """No error if a sysctl or a link is absent."""
    tuning.restore(container, "eth0", Tuning((("net/gone", "1"), (ARP_IGNORE, "2"))))
    assert container.sysctl(ARP_IGNORE) == "2"
    tuning.restore(container, "eth9", ALL)


def test_missing_link_or_sysctl(container: MemoryStack) -> None:
    """An interface or a sysctl that does not exist is an error naming it, with nothing done to the link."""
    for step in (tuning.current, tuning.apply):
        with pytest.raises(DriverFailed, match="eth9"):
            step(container, "eth9", ALL)
    with pytest.raises(KernelError, match="net/none"):
        tuning.apply(container, "eth0", Tuning((("net/none", "1"),), mtu=1400))
    link = container.link("eth0")
    assert link is not None
    assert link.mtu == 1500


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mac": "02:00:00:00:00:09"}, f"eth0 has mac 02:00:00:00:00:09, it was given {MAC}"),
        ({"mtu": 1300}, "eth0 has mtu 1300"),
        ({"promisc": False}, "eth0 has promisc False"),
        ({"allmulti": False}, "eth0 has allmulti False"),
        ({"txqlen": 1}, "eth0 has txqlen 1"),
    ],
)
def test_check_names_what_differs(container: MemoryStack, change: dict[str, Any], words: str) -> None:
    """Whatever attribute differs, CHECK names it with both values."""
    link = tuning.apply(container, "eth0", ALL)
    container.set_link(link.ifindex, **change)
    with pytest.raises(CheckFailed, match=words):
        tuning.check(container, "eth0", ALL)


def test_check_of_sysctls(container: MemoryStack) -> None:
    """A sysctl with another value, one that is gone, and an interface that is gone fail; white space does not count."""
    tuning.check(container, "eth0", Tuning((("net/ipv4/ip_forward", " 0\t"),)))
    with pytest.raises(CheckFailed, match="net/ipv4/ip_forward is '0'"):
        tuning.check(container, "eth0", Tuning((("net/ipv4/ip_forward", "1"),)))
    with pytest.raises(CheckFailed, match="net/gone is missing"):
        tuning.check(container, "eth0", Tuning((("net/gone", "1"),)))
    with pytest.raises(CheckFailed, match="eth9 is missing"):
        tuning.check(container, "eth9", Tuning())
