"""UDP streams across publishing and unpublishing: they go where the port goes now."""

from __future__ import annotations

import contextlib
import socket
from ipaddress import ip_address, ip_interface

import pytest

from cni_cnm.firewall import masquerade, portmap
from cni_cnm.firewall.portmap_options import parse_mappings
from cni_cnm.kernel.conntrack import Conntrack
from cni_cnm.kernel.nft import KernelNft
from tests.kernel.lab import Lab, Namespace

UDP = socket.SOCK_DGRAM
ADDRESSES = (ip_interface("10.88.0.5/24"), ip_interface("fd00:88::5/64"))
TARGETS = tuple(address.ip for address in ADDRESSES)
MAPPINGS = parse_mappings([{"hostPort": 8080, "containerPort": 80, "protocol": "udp"}])
PORTS = [(socket.IPPROTO_UDP, range(8080, 8081))]


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
@pytest.mark.parametrize("few", [0, 500])
def test_stream_older_than_publishing(
    lab: Lab,
    pods: tuple[Namespace, Namespace, Namespace],
    host: str,
    source: str,
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that has been sending before goes past the endpoint until forgotten, in a small table and a big one."""
    monkeypatch.setattr("cni_cnm.kernel.conntrack._FEW", few)
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
        assert Conntrack(lab.host.fd).published(PORTS, TARGETS) >= 1
        assert _answer(stream) == source
        assert Conntrack(lab.host.fd).published(PORTS, TARGETS) == 0


def test_stream_moves_to_the_next_endpoint(lab: Lab, pods: tuple[Namespace, Namespace, Namespace]) -> None:
    """The port goes from one pod to another while a client keeps sending; the client follows."""
    pod, other, outside = pods
    nft, conntrack = KernelNft(lab.host.fd), Conntrack(lab.host.fd)
    nft.commit(portmap.publish("a" * 64, "n", ADDRESSES, MAPPINGS))
    successor = (ip_interface("10.88.0.6/24"),)
    with _stream(outside, "192.0.2.1") as stream:
        with pod.serving(80, UDP):
            assert _answer(stream) == "192.0.2.9"
        nft.commit(portmap.unpublish("a" * 64, "n", ADDRESSES, MAPPINGS))
        assert conntrack.unpublished(PORTS, (ip_address("10.88.0.99"),)) == 0
        assert conntrack.unpublished(PORTS, TARGETS) == 1
        nft.commit(portmap.publish("b" * 64, "n", successor, MAPPINGS))
        with other.serving(80, UDP):
            assert _answer(stream) == "192.0.2.9"


@pytest.mark.parametrize(("host", "few"), [("192.0.2.1", 500), ("192.0.2.1", 0), ("2001:db8::1", 0)])
def test_connection_to_an_endpoint_that_is_gone(
    lab: Lab, pods: tuple[Namespace, Namespace, Namespace], host: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TCP connection to the pod ends with a reset once its port is unpublished, instead of hanging; others go on."""
    monkeypatch.setattr("cni_cnm.kernel.conntrack._FEW", few)
    pod, other, outside = pods
    nft, conntrack = KernelNft(lab.host.fd), Conntrack(lab.host.fd)
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
        assert conntrack.published(portmap.streams(mine), TARGETS) == 0, "what is connected stays"
        assert conntrack.unpublished(portmap.streams(mine), TARGETS) == 1
        assert conntrack.unpublished(portmap.streams(mine), TARGETS) == 0
        connections[0].settimeout(10)
        connections[0].send(b"?")
        with pytest.raises(ConnectionResetError):
            connections[0].recv(1)
        connections[1].send(b"?")
        assert accepted.recv(1) == b"?"


def test_others_are_left_alone(lab: Lab, pods: tuple[Namespace, Namespace, Namespace]) -> None:
    """Masqueraded streams to the same port somewhere else, and streams to other ports, stay tracked."""
    pod, other, outside = pods
    nft, conntrack = KernelNft(lab.host.fd), Conntrack(lab.host.fd)
    nft.commit(masquerade.add("b" * 64, "n", (ip_interface("10.88.0.6/24"),)))
    wanted = parse_mappings([{"hostPort": 9000, "containerPort": 9000, "protocol": "udp", "range": 10}])
    nft.commit(portmap.publish("a" * 64, "n", ADDRESSES, wanted))
    with outside.serving(8080, UDP), pod.serving(9005, UDP):
        assert other.ask("192.0.2.9", 8080, UDP) == "192.0.2.1"
        assert outside.ask("192.0.2.1", 9005, UDP) == "192.0.2.9"
        assert conntrack.published(PORTS, TARGETS) == conntrack.unpublished(PORTS, TARGETS) == 0
        some, ours = (socket.IPPROTO_UDP, range(8000, 8100)), (socket.IPPROTO_UDP, range(9000, 9010))
        assert conntrack.published([some], TARGETS) == 0
        assert conntrack.unpublished([some, ours], TARGETS) == 1


def test_nothing_to_do(lab: Lab) -> None:
    """Without ports or targets nothing is asked; an empty table is done."""
    conntrack = Conntrack(lab.host.fd)
    assert conntrack.published([], TARGETS) == conntrack.unpublished(PORTS, ()) == 0
    assert conntrack.unpublished(PORTS, TARGETS) == 0
