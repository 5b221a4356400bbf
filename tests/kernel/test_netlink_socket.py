"""The netlink socket: sizes, failures and interrupted dumps; and what importing it loads."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from cni_cnm.errors import KernelError
from cni_cnm.kernel import Link
from cni_cnm.kernel.netlink import header, netlink_socket
from cni_cnm.kernel.netlink.header import RTM_GETLINK, RTM_NEWLINK
from cni_cnm.kernel.netns import KernelNamespaces
from cni_cnm.kernel.rtnetlink import links
from cni_cnm.kernel.stack import KernelStack

ROOT = Path(__file__).parents[2]


def _fresh(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_import_stays_small() -> None:
    """The kernel's modules load nothing that costs a pod time, and nothing of pyroute2."""
    modules = "kernel.stack, cni_cnm.kernel.netns, cni_cnm.kernel.rtnetlink.traffic_control, cni_cnm.kernel.conntrack"
    loaded = _fresh(f"import sys, cni_cnm.{modules}; print(*sys.modules, sep='\\n')").split()
    costly = "asyncio multiprocessing platform dataclasses hashlib pathlib subprocess netaddr json ssl pyroute2"
    assert not {*costly.split()} & set(loaded)


def test_the_kernels_own_words(host: KernelStack) -> None:
    """The extended acknowledgement is part of the message, behind the sentence of what was tried."""
    address = ip_interface("127.0.0.9/8")
    host.link("lo")
    host.add_address(1, address)
    with pytest.raises(KernelError) as error:
        host.add_address(1, address)
    assert error.value.msg.startswith("adding the address 127.0.0.9/8 to lo failed: File exists")
    if "already assigned" not in error.value.msg:
        pytest.skip("this kernel says nothing more than EEXIST (before 6.4)")


def test_a_batch_larger_than_one_send(host: KernelStack) -> None:
    """Thousands of requests go out in several sends; every one is acknowledged."""
    addresses = [ip_interface(f"10.{n >> 8}.{n & 255}.1/32") for n in range(3000)]
    with host.batch():
        for address in addresses:
            host.add_address(1, address)
    found = host.addresses(1)
    assert set(addresses) <= set(found)
    with pytest.raises(KernelError, match=r"10\.0\.7\.1/32") as error, host.batch():  # noqa: PT012 - the whole block
        for n, address in enumerate(addresses):
            if n % 10 != 7:
                host.delete_address(1, address)
            else:
                host.add_address(1, address)
    assert error.value.errno == errno.EEXIST
    assert len(host.addresses(1)) == len(found) - 2700


def test_lost_answers_are_an_error(host: KernelStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the receive buffer overflows with failures it is said; the socket works afterwards."""
    monkeypatch.setattr(netlink_socket, "SEND_MESSAGES", 1000)
    monkeypatch.setattr(netlink_socket, "RECEIVE_BUFFER", 4096)
    small = KernelStack(os.dup(host.fd), "")
    with pytest.raises(KernelError, match="lost") as error, small.batch():  # noqa: PT012 - the whole block
        for n in range(400):
            small.set_link(1, txqlen=1000 + n)
            small.set_link(4711, txqlen=1)
    assert error.value.errno == errno.ENOBUFS
    lo = small.link("lo")
    assert lo is not None
    assert lo.txqlen == 1399
    small.close()


def test_an_interrupted_dump_is_done_again(host: KernelStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump that the kernel marks as inconsistent is repeated, a limited number of times."""
    socket = netlink_socket.NetlinkSocket()
    marked = 0

    def marking(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        nonlocal marked
        for offset, end, kind, flags, sequence in header.messages(data):
            torn = kind == RTM_NEWLINK and marked > 0
            marked -= torn
            yield offset, end, kind, flags | (header.INTERRUPTED if torn else 0), sequence

    monkeypatch.setattr(netlink_socket, "messages", marking)
    for times in (0, 1, netlink_socket.DUMP_TRIES - 1):
        marked = times
        found = socket.dump(links.query(), RTM_GETLINK, "listing", links.read)
        assert [link.name for link in found] == ["lo"]
    marked = netlink_socket.DUMP_TRIES
    with pytest.raises(KernelError) as error:
        socket.dump(links.query(), RTM_GETLINK, "listing", links.read)
    assert error.value.errno == errno.EINTR
    socket.close()


def test_a_dump_of_many_datagrams(host: KernelStack) -> None:
    """Everything comes back from a dump that does not fit one datagram, filtered by its link."""
    host.add_bridge("br0", mac="02:00:00:00:00:01")
    bridge = host.link("br0")
    assert bridge is not None
    with host.batch():
        for n in range(150):
            host.add_veth(f"a{n}", peer=f"b{n}", peer_stack=host, master=bridge.ifindex if n % 3 else 0)
    assert len(host.links()) == 302
    ports = host.links(master=bridge.ifindex)
    assert {port.name for port in ports} == {f"a{n}" for n in range(150) if n % 3}


def test_a_link_is_read_as_pyroute2_decodes_it(host: KernelStack, make_netns: Callable[[str], str]) -> None:
    """Each kind of link a driver makes, with all that a `Link` says of it."""
    other = KernelNamespaces().open(make_netns("other"))
    host.add_bridge("br0", mac="02:00:00:00:00:01", mtu=1400)
    bridge = host.link("br0")
    assert bridge is not None
    host.add_veth("veth0", peer="eth0", peer_stack=other, mac="02:00:00:00:00:02", master=bridge.ifindex)
    port = host.link("veth0")
    assert port is not None
    host.set_link(port.ifindex, up=True, allmulti=True, promisc=True, txqlen=77, group=9, alias="a name", mtu=1300)
    host.add_macvlan("mv0", bridge.ifindex, mode="private", to=host)
    host.add_ifb("ifb9")
    socket = netlink_socket.NetlinkSocket()
    for link in host.links():
        found = socket.ask(links.query(link.ifindex), RTM_GETLINK, "looking")
        assert found is not None
        decoded = ifinfmsg(found[0], offset=found[1])
        decoded.decode()
        info = decoded.get_attr("IFLA_LINKINFO")
        data = info.get_attr("IFLA_INFO_DATA") if info else None
        mode = data.get_attr("IFLA_MACVLAN_MODE") if data and link.kind == "macvlan" else ""
        flags = decoded["flags"]
        assert link == Link(
            ifindex=decoded["index"],
            name=decoded.get_attr("IFLA_IFNAME"),
            kind=(info.get_attr("IFLA_INFO_KIND") if info else None) or "",
            mac=decoded.get_attr("IFLA_ADDRESS"),
            mtu=decoded.get_attr("IFLA_MTU"),
            up=bool(flags & 0x1),
            promisc=bool(flags & 0x100),
            allmulti=bool(flags & 0x200),
            master=decoded.get_attr("IFLA_MASTER") or 0,
            peer=decoded.get_attr("IFLA_LINK") or 0,
            txqlen=decoded.get_attr("IFLA_TXQLEN"),
            group=decoded.get_attr("IFLA_GROUP"),
            alias=decoded.get_attr("IFLA_IFALIAS") or "",
            mode=mode,
        ), link.name
    socket.close()
    other.close()
