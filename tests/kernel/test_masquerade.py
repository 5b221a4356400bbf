"""Masquerade and the spoof check with real packets."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_interface

import pytest

from cni_cnm.firewall import masquerade, spoof
from cni_cnm.kernel import Transaction
from cni_cnm.kernel.nft import KernelNft
from tests.kernel.lab import Lab, Namespace

ADDRESSES = (ip_interface("10.88.0.5/24"), ip_interface("fd00:88::5/64"))
_ = None
OTHER = (ip_interface("10.88.0.6/24"),)
REFERENCE = "/usr/lib/cni/bridge"


def _network(lab: Lab) -> tuple[Namespace, Namespace]:
    lab.bridge("br0", "10.88.0.1/24", "fd00:88::1/64")
    pod = lab.pod("br0", "veth5", "10.88.0.5/24", "fd00:88::5/64", gateways=("10.88.0.1", "fd00:88::1"))
    outside = lab.outside("192.0.2.9/24", "2001:db8::9/64", here=("192.0.2.1/24", "2001:db8::1/64"))
    return pod, outside


def test_leaves_with_the_host_address(lab: Lab) -> None:
    """Without masquerade the other host cannot answer; with it both families get out; then none again."""
    pod, outside = _network(lab)
    nft = KernelNft(lab.host.fd)
    with outside.serving(80):
        assert pod.ask("192.0.2.9", 80) is None
        nft.commit(masquerade.add("e" * 64, "net/c/eth0", ADDRESSES))
        assert pod.ask("192.0.2.9", 80) == "192.0.2.1"
        assert pod.ask("2001:db8::9", 80) == "2001:db8::1"
        nft.commit(Transaction(remove=masquerade.add("e" * 64, "net/c/eth0", ADDRESSES).put))
        assert pod.ask("192.0.2.9", 80) is None


def test_leaves_with_the_address_that_is_named(lab: Lab) -> None:
    """Of each family at most one is; without, the kernel chooses. The reverse finds its elements again."""
    pod, outside = _network(lab)
    nft = KernelNft(lab.host.fd)
    lab.host.ip("addr add 192.0.2.7/24 dev wan0")
    with outside.serving(80):
        nft.commit(masquerade.add("e" * 64, "net/c/eth0", ADDRESSES, ("192.0.2.7",)))
        assert pod.ask("192.0.2.9", 80) == "192.0.2.7"
        assert pod.ask("2001:db8::9", 80) == "2001:db8::1"
        nft.commit(Transaction(remove=masquerade.add("e" * 64, "net/c/eth0", ADDRESSES, ("192.0.2.7",)).put))
        assert pod.ask("192.0.2.9", 80) is None


def test_only_the_endpoints_named(lab: Lab) -> None:
    """Another address of the subnet is not masqueraded; two subnets keep their own chains."""
    _, outside = _network(lab)
    lab.host.ip("addr add 10.99.0.1/24 dev br0")
    other = lab.pod("br0", "veth6", "10.88.0.6/24", gateways=("10.88.0.1",))
    third = lab.pod("br0", "veth7", "10.99.0.7/24", gateways=("10.99.0.1",))
    nft = KernelNft(lab.host.fd)
    nft.commit(masquerade.add("e" * 64, "net/c/eth0", ADDRESSES))
    nft.commit(masquerade.add("f" * 64, "net/d/eth0", (ip_interface("10.99.0.7/24"),)))
    with outside.serving(80):
        assert other.ask("192.0.2.9", 80) is None
        assert third.ask("192.0.2.9", 80) == "192.0.2.1"
    with other.serving(80):
        assert third.ask("10.88.0.6", 80) == "10.88.0.1"


@pytest.mark.parametrize("bridge_nf", ["0", "1"])
def test_inside_the_subnet_as_it_is(lab: Lab, bridge_nf: str) -> None:
    """Neighbours and the host see the endpoint's own address, with and without bridge-nf-call-iptables."""
    pod, _ = _network(lab)
    other = lab.pod("br0", "veth6", "10.88.0.6/24")
    try:
        lab.host.sysctl("net/bridge/bridge-nf-call-iptables", bridge_nf)
    except FileNotFoundError:
        pytest.skip("this kernel has no br_netfilter")
    KernelNft(lab.host.fd).commit(masquerade.add("e" * 64, "net/c/eth0", ADDRESSES))
    with other.serving(80), lab.host.serving(81):
        assert pod.ask("10.88.0.6", 80) == "10.88.0.5"
        assert pod.ask("10.88.0.1", 81) == "10.88.0.5"


def test_multicast_keeps_its_source(lab: Lab) -> None:
    """A routed multicast packet would keep its source: the chain returns before it masquerades."""
    nft = KernelNft(lab.host.fd)
    nft.commit(masquerade.add("e" * 64, "net/c/eth0", ADDRESSES))
    for chain, multicast in (
        ("outside_10.88.0.0/24", "ip daddr 224.0.0.0/4 return"),
        ("outside_fd00-88--/64", "ip6 daddr ff00::/8 return"),
    ):
        rules = lab.host.run("nft", "list", "chain", "inet", "cni_cnm", chain).splitlines()[2:-2]
        assert rules[1].strip() == multicast
        assert rules[-1].strip() == "masquerade"


def test_owner_is_in_the_comment(lab: Lab) -> None:
    """An operator sees whose element it is; a label of any length and with any character is taken."""
    nft = KernelNft(lab.host.fd)
    nft.commit(masquerade.add("0123456789abcdef", "net/c/eth0", ADDRESSES))
    assert 'comment "0123456789ab net/c/eth0"' in lab.host.run("nft", "list", "map", "inet", "cni_cnm", "masquerade4")
    nft.commit(masquerade.add("e" * 64, 'n"\n\\' + "ü" * 200, OTHER))
    assert "n'?'üü" in lab.host.run("nft", "list", "map", "inet", "cni_cnm", "masquerade4")


def test_same_effect_as_the_reference(lab: Lab) -> None:
    """Who sees which source: outside, a neighbour, two addresses of the host: as the reference."""
    if not os.path.exists(REFERENCE):
        pytest.skip("the reference plugins are not installed")

    def view(lab: Lab, masquerading: str) -> Sequence[str | None]:
        pod, outside = _network(lab)
        other = lab.pod("br0", "veth6", "10.88.0.6/24", gateways=("10.88.0.1",))
        if masquerading == "ours":
            KernelNft(lab.host.fd).commit(masquerade.add("e" * 64, "net/c/eth0", ADDRESSES))
        else:  # the rules its bridge makes for this address (pkg/ip/ipmasq_linux.go)
            for family, address, subnet, multicast in (
                ("iptables", "10.88.0.5", "10.88.0.5/24", "224.0.0.0/4"),
                ("ip6tables", "fd00:88::5", "fd00:88::5/64", "ff00::/8"),
            ):
                nat = (family, "-t", "nat")
                lab.host.run(*nat, "-N", "CNI-1")
                lab.host.run(*nat, "-A", "CNI-1", "-d", subnet, "-j", "ACCEPT")
                lab.host.run(*nat, "-A", "CNI-1", "!", "-d", multicast, "-j", "MASQUERADE")
                lab.host.run(*nat, "-A", "POSTROUTING", "-s", address, "-j", "CNI-1")
        with outside.serving(80), other.serving(80), lab.host.serving(81):
            asked = (
                ("192.0.2.9", 80),
                ("2001:db8::9", 80),
                ("10.88.0.6", 80),
                ("10.88.0.1", 81),
                ("192.0.2.1", 81),
            )
            return [pod.ask(*target) for target in asked]

    second = Lab()
    try:
        assert view(lab, "ours") == view(second, "the reference's")
    finally:
        second.close()


def _frame(pod: Namespace, source: str, target: str = "ff:ff:ff:ff:ff:ff") -> None:
    """Send one frame of an experimental ethertype."""
    sender = pod.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    with sender:
        sender.bind(("eth0", 0))
        macs = bytes.fromhex((target + source).replace(":", ""))
        sender.send(macs + struct.pack("!H", 0x88B5) + b"cni-cnm spoof test".ljust(50))


def _listener(pod: Namespace) -> socket.socket:
    listener = pod.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)))
    listener.bind(("eth0", 0x88B5))
    listener.settimeout(0.3)
    return listener


def _senders(listener: socket.socket) -> list[str]:
    seen = []
    try:
        while True:
            seen.append(listener.recv(100)[6:12].hex(":"))
    except TimeoutError:
        return seen


def test_spoof_check(lab: Lab) -> None:
    """A guarded link passes its own MAC address only, another link anything; removal lifts it."""
    lab.bridge("br0")
    pod, free, other = (lab.pod("br0", name) for name in ("veth1", "veth2", "veth3"))
    for namespace, mac in ((pod, "02:00:00:00:00:01"), (free, "02:00:00:00:00:02")):
        namespace.ip(f"link set eth0 address {mac}")
    nft = KernelNft(lab.host.fd)
    nft.commit(spoof.add("e" * 64, "net/c/eth0", "veth1", "02:00:00:00:00:01".upper()))
    with _listener(other) as listener:
        _frame(pod, "02:00:00:00:00:01")
        _frame(pod, "02:00:00:00:00:99")
        _frame(pod, "02:00:00:00:00:02")
        _frame(free, "02:00:00:00:00:98")
        assert _senders(listener) == ["02:00:00:00:00:01", "02:00:00:00:00:98"]
        nft.commit(Transaction(remove=spoof.add("e" * 64, "net/c/eth0", "veth1", "02:00:00:00:00:01").put))
        _frame(pod, "02:00:00:00:00:99")
        assert _senders(listener) == ["02:00:00:00:00:99"]


def test_spoof_check_guards_the_host_too(lab: Lab) -> None:
    """A foreign MAC address reaches neither the bridge's own stack nor its forwarding table."""
    lab.bridge("br0", "10.88.0.1/24")
    pod = lab.pod("br0", "veth1", "10.88.0.5/24")
    pod.ip("link set eth0 address 02:00:00:00:00:01")
    KernelNft(lab.host.fd).commit(spoof.add("e" * 64, "net/c/eth0", "veth1", "02:00:00:00:00:01"))
    assert pod.pings("10.88.0.1")
    pod.ip("link set eth0 address 02:00:00:00:00:77")
    assert not pod.pings("10.88.0.1")
    assert "02:00:00:00:00:77" not in lab.host.run("bridge", "fdb", "show", "dev", "veth1")
