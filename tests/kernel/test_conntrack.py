"""Streams across publishing and unpublishing: they go where the port goes now, or end."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from ipaddress import ip_address, ip_interface

import pytest

from cni_cnm.errors import KernelError
from cni_cnm.firewall import masquerade, portmap
from cni_cnm.firewall.portmap_options import parse_mappings
from cni_cnm.kernel import conntrack as module
from cni_cnm.kernel import ctnetlink
from cni_cnm.kernel.conntrack import Conntrack
from cni_cnm.kernel.netlink.header import NETLINK_NETFILTER
from cni_cnm.kernel.netlink.netlink_socket import NetlinkSocket
from cni_cnm.kernel.nft import KernelNft
from tests.kernel.lab import Lab, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

UDP = socket.SOCK_DGRAM
ADDRESSES = (ip_interface("10.88.0.5/24"), ip_interface("fd00:88::5/64"))
TARGETS = tuple(address.ip for address in ADDRESSES)
MAPPINGS = parse_mappings([{"hostPort": 8080, "containerPort": 80, "protocol": "udp"}])
PORTS = [(socket.IPPROTO_UDP, range(8080, 8081))]


def _tracked(lab: Lab, listing: bytes = ctnetlink.listing()) -> list[ctnetlink.Entry]:
    """The connections of the host that a request lists."""
    sock = lab.host.call(lambda: NetlinkSocket(NETLINK_NETFILTER))
    try:
        return sock.dump(listing, ctnetlink.GET, "listing", ctnetlink.read)
    finally:
        sock.close()


def _to(lab: Lab, ports: Collection[int]) -> int:
    """Number of the host's connections to these ports."""
    return sum(entry.port in ports for entry in _tracked(lab))


@pytest.fixture(params=["by pattern", "few", "many"])
def conntrack(request: pytest.FixtureRequest, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Conntrack:
    """Of the host: the kernel deletes by pattern, or a small table or a big one is listed."""
    conntrack = Conntrack(lab.host.fd)
    if request.param != "by pattern":
        conntrack._deletes_by_pattern = False
        monkeypatch.setattr(module, "_FEW", {"few": 500, "many": 0}[request.param])
    return conntrack


def _stream(client: Namespace, host: str) -> socket.socket:
    stream = client.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, UDP)
    stream.connect((host, 8080))
    return stream


def _answer(stream: socket.socket) -> str | None:
    """Who answers is told by the port the server saw; here by whether there is an answer."""
    try:
        stream.send(b"?")
        return stream.recv(100).decode()
    except OSError:
        return None


@pytest.fixture
def pods(lab: Lab) -> tuple[Namespace, Namespace, Namespace]:
    lab.bridge("br0", "10.88.0.1/24", "fd00:88::1/64")
    gateways = ("10.88.0.1", "fd00:88::1")
    pod = lab.pod("br0", "veth5", "10.88.0.5/24", "fd00:88::5/64", gateways=gateways)
    other = lab.pod("br0", "veth6", "10.88.0.6/24", "fd00:88::6/64", gateways=gateways)
    outside = lab.outside("192.0.2.9/24", "2001:db8::9/64", here=("192.0.2.1/24", "2001:db8::1/64"))
    return pod, other, outside


@pytest.mark.parametrize(("host", "source"), [("192.0.2.1", "192.0.2.9"), ("2001:db8::1", "2001:db8::9")])
@pytest.mark.parametrize("conntrack", ["few", "many"], indirect=True)
def test_stream_older_than_publishing(
    lab: Lab, pods: tuple[Namespace, Namespace, Namespace], host: str, source: str, conntrack: Conntrack
) -> None:
    """A client that has been sending before goes past the endpoint until forgotten, in a small table and a big one."""
    pod, _, outside = pods
    nft = KernelNft(lab.host.fd)
    nft.commit(portmap.publish("f" * 64, "n", ADDRESSES, parse_mappings([{"hostPort": 1, "containerPort": 1}])))
    with _stream(outside, host) as stream, pod.serving(80, UDP), lab.host.serving(8080, UDP):
        assert _answer(stream) == source
    with _stream(outside, host) as stream, pod.serving(80, UDP):
        with lab.host.serving(8080, UDP):
            assert _answer(stream) == source
        nft.commit(portmap.publish("a" * 64, "n", ADDRESSES, MAPPINGS))
        assert _answer(stream) is None, "there is nothing to forget here: the test proves nothing"
        conntrack.published(PORTS, TARGETS)
        assert _answer(stream) == source
        conntrack.published(PORTS, TARGETS)
        assert _to(lab, [8080]) == 1, "the stream that goes to the endpoint stays"


def test_stream_moves_to_the_next_endpoint(
    lab: Lab, pods: tuple[Namespace, Namespace, Namespace], conntrack: Conntrack
) -> None:
    """The port goes from one pod to another while a client keeps sending; the client follows."""
    pod, other, outside = pods
    nft = KernelNft(lab.host.fd)
    nft.commit(portmap.publish("a" * 64, "n", ADDRESSES, MAPPINGS))
    successor = (ip_interface("10.88.0.6/24"),)
    with _stream(outside, "192.0.2.1") as stream:
        with pod.serving(80, UDP):
            assert _answer(stream) == "192.0.2.9"
        nft.commit(portmap.unpublish("a" * 64, "n", ADDRESSES, MAPPINGS))
        conntrack.unpublished(PORTS, (ip_address("10.88.0.99"),))
        assert _to(lab, [8080]) == 1
        conntrack.unpublished(PORTS, TARGETS)
        assert _to(lab, [8080]) == 0
        nft.commit(portmap.publish("b" * 64, "n", successor, MAPPINGS))
        with other.serving(80, UDP):
            assert _answer(stream) == "192.0.2.9"


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_connection_to_an_endpoint_that_is_gone(
    lab: Lab, pods: tuple[Namespace, Namespace, Namespace], host: str, conntrack: Conntrack
) -> None:
    """A TCP connection to the pod ends with a reset once its port is unpublished, instead of hanging; others go on."""
    pod, other, outside = pods
    nft = KernelNft(lab.host.fd)
    mine = parse_mappings([{"hostPort": 8080, "containerPort": 80}, {"hostPort": 53, "containerPort": 53}])
    theirs = parse_mappings([{"hostPort": 8081, "containerPort": 80}])
    successor = (ip_interface("10.88.0.6/24"), ip_interface("fd00:88::6/64"))
    nft.commit(portmap.publish("a" * 64, "n", ADDRESSES, mine))
    nft.commit(portmap.publish("b" * 64, "n", successor, theirs))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connections = []
    with contextlib.ExitStack() as kept:
        for place, port in ((pod, 8080), (other, 8081)):
            listener = place.socket(socket.AF_INET6)
            kept.enter_context(listener)
            listener.bind(("::", 80))
            listener.listen()
            connections.append(kept.enter_context(outside.socket(family)))
            connections[-1].connect((host, port))
            accepted, _ = listener.accept()
            kept.enter_context(accepted)
        nft.commit(portmap.unpublish("a" * 64, "n", ADDRESSES, mine))
        conntrack.published(portmap.streams(mine), TARGETS)
        assert _to(lab, [8080]) == 1, "what is connected stays"
        conntrack.unpublished(portmap.streams(mine), TARGETS)
        assert _to(lab, [8080]) == 0
        connections[0].settimeout(10)
        connections[0].send(b"?")
        with pytest.raises(ConnectionResetError):
            connections[0].recv(1)
        connections[1].send(b"?")
        assert accepted.recv(1) == b"?"


def test_others_are_left_alone(lab: Lab, pods: tuple[Namespace, Namespace, Namespace], conntrack: Conntrack) -> None:
    """Masqueraded streams to the same port somewhere else, streams to other ports, and direct ones stay tracked."""
    pod, other, outside = pods
    nft = KernelNft(lab.host.fd)
    nft.commit(masquerade.add("b" * 64, "n", (ip_interface("10.88.0.6/24"),)))
    wanted = parse_mappings([{"hostPort": 9000, "containerPort": 9000, "protocol": "udp", "range": 10}])
    nft.commit(portmap.publish("a" * 64, "n", ADDRESSES, wanted))
    outside.ip("route add 10.88.0.0/24 via 192.0.2.1")
    with outside.serving(8080, UDP), pod.serving(9005, UDP), pod.serving(8080, UDP):
        assert other.ask("192.0.2.9", 8080, UDP) == "192.0.2.1"
        assert outside.ask("10.88.0.5", 8080, UDP) == "192.0.2.9"
        assert outside.ask("192.0.2.1", 9005, UDP) == "192.0.2.9"
        some, ours = (socket.IPPROTO_UDP, range(8000, 8100)), (socket.IPPROTO_UDP, range(9000, 9010))
        for streams in (PORTS, [some]):
            conntrack.published(streams, TARGETS)
            conntrack.unpublished(streams, TARGETS)
            assert (_to(lab, [8080]), _to(lab, [9005])) == (2, 1)
        conntrack.unpublished([(socket.IPPROTO_TCP, range(9005, 9006))], TARGETS)
        assert _to(lab, [9005]) == 1
        conntrack.unpublished([some, ours], TARGETS)
        assert (_to(lab, [8080]), _to(lab, [9005])) == (2, 0)


def test_the_kernel_compares(lab: Lab, pods: tuple[Namespace, Namespace, Namespace]) -> None:
    """Of a big table only entries of the wanted family, protocol and port are read. Deleting needs no list at all."""
    release = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])
    if release < (5, 8):
        pytest.skip("this kernel lists whole families")
    _, _, outside = pods
    nft, conntrack = KernelNft(lab.host.fd), Conntrack(lab.host.fd)
    nft.commit(portmap.publish("a" * 64, "n", ADDRESSES, MAPPINGS))
    for host, port in (("192.0.2.1", 8080), ("2001:db8::1", 8080), ("192.0.2.1", 8081)):
        outside.ask(host, port, UDP)
    assert _to(lab, [8080, 8081]) == 3
    for version, port in ((4, 8080), (6, 8080), (4, 8081)):
        assert [one.port for one in _tracked(lab, ctnetlink.listing(version, socket.IPPROTO_UDP, port))] == [port]
    assert len(_tracked(lab, ctnetlink.listing(4, socket.IPPROTO_UDP))) == 2
    assert not _tracked(lab, ctnetlink.listing(4, socket.IPPROTO_TCP))
    conntrack.unpublished(PORTS, TARGETS)
    assert conntrack._deletes_by_pattern == (release >= (6, 11))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_kernel_that_cannot_delete_by_pattern(
    lab: Lab, pods: tuple[Namespace, Namespace, Namespace], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is listed, from then on without asking again."""
    pod, _, outside = pods
    nft, conntrack = KernelNft(lab.host.fd), Conntrack(lab.host.fd)
    nft.commit(portmap.publish("a" * 64, "n", ADDRESSES, MAPPINGS))
    asked, really_end = [], NetlinkSocket.end

    def end(sock: NetlinkSocket, keep: int | None) -> None:
        asked.append(sock)
        really_end(sock, 0)
        raise KernelError("deleting failed", number)

    for _ in range(2):
        with pod.serving(80, UDP):
            assert outside.ask("192.0.2.1", 8080, UDP) == "192.0.2.9"
        with monkeypatch.context() as patched:
            patched.setattr(NetlinkSocket, "end", end)
            conntrack.unpublished(PORTS, TARGETS)
        assert _to(lab, [8080]) == 0
    assert len(asked) == 1


def test_nothing_to_do(lab: Lab, conntrack: Conntrack) -> None:
    """Without ports or targets nothing is asked; an empty table is done."""
    conntrack.published([], TARGETS)
    conntrack.unpublished(PORTS, ())
    assert conntrack._socket is None
    conntrack.unpublished(PORTS, TARGETS)
    assert not _tracked(lab)
