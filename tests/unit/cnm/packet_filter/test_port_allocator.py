"""Which host ports a Docker endpoint gets, with the packet filter and the host in memory."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface

import pytest

from cni_cnm.cnm.packet_filter import port_allocator
from cni_cnm.errors import PortTaken
from cni_cnm.firewall import portmap
from cni_cnm.kernel import sock_diag
from cni_cnm.kernel.sock_diag import Listener
from cni_cnm.model import PortMapping
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft
from tests.memory_kernel.stack import MemoryStack

BOTH = (4, 6)
LISTENING = 8081


@pytest.fixture(autouse=True)
def one_process_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """On TCP port 8081."""

    def listeners(protocol: str) -> Iterator[Listener]:
        return iter([Listener(ip_address("::"), LISTENING)] if protocol == "tcp" else ())

    monkeypatch.setattr(sock_diag, "listeners", listeners)


@pytest.fixture
def nft() -> MemoryNft:
    """Another endpoint has published 8080."""
    made = MemoryNft()
    address = ip_interface("10.0.0.9/24")
    made.commit(portmap.publish("d" * 64, "net/c9/eth0", [address], (PortMapping("tcp", 8080, 80),)))
    return made


@pytest.fixture
def host() -> MemoryStack:
    return MemoryNamespaces().host()


def choose(nft: MemoryNft, host: MemoryStack, *requested: PortMapping, kept: tuple[PortMapping, ...] = ()) -> list[int]:
    return [port.host_port for port in port_allocator.choose(requested, kept, BOTH, nft, host)]


def test_the_first_free_port_of_a_range(nft: MemoryNft, host: MemoryStack) -> None:
    """Ports of other endpoints, of processes and of the same request are not free."""
    wanted = PortMapping("tcp", 8080, 80, size=10)
    assert choose(nft, host, wanted, wanted._replace(container_port=81)) == [8082, 8083]
    assert choose(nft, host, wanted._replace(protocol="udp")) == [8080]


def test_a_range_without_a_free_port(nft: MemoryNft, host: MemoryStack) -> None:
    """The error names the range."""
    with pytest.raises(PortTaken, match="no host port of 8080-8081 is free"):
        choose(nft, host, PortMapping("tcp", 8080, 80, size=2))


def test_a_fixed_port_that_a_process_listens_on(nft: MemoryNft, host: MemoryStack) -> None:
    """Refused, as Docker does. One of another endpoint is refused when its element is put in, under its own lock."""
    with pytest.raises(PortTaken, match=f"the host port {LISTENING}/tcp is in use by a process"):
        choose(nft, host, PortMapping("tcp", LISTENING, 80))
    assert choose(nft, host, PortMapping("tcp", 8080, 80)) == [8080]


def test_any_port_is_of_the_ephemeral_range(nft: MemoryNft, host: MemoryStack) -> None:
    """As the host's sysctl has it."""
    host.set_sysctls([("net/ipv4/ip_local_port_range", "8080\t8083")], tolerate=True)
    first, last = (int(word) for word in (host.sysctl("net/ipv4/ip_local_port_range") or "32768 60999").split())
    [port] = choose(nft, host, PortMapping("tcp", 0, 80))
    assert first <= port <= last
    assert port not in (8080, LISTENING)


def test_a_port_that_was_chosen_before_is_kept(nft: MemoryNft, host: MemoryStack) -> None:
    """A second ProgramExternalConnectivity gives the same answer."""
    before = PortMapping("tcp", 8085, 80)
    assert choose(nft, host, PortMapping("tcp", 8080, 80, size=10), kept=(before,)) == [8085]
    assert choose(nft, host, PortMapping("tcp", 0, 80), kept=(before,)) == [8085]
    assert choose(nft, host, PortMapping("tcp", 8080, 80, size=4), kept=(before,)) == [8082]


def test_one_ip_version(nft: MemoryNft, host: MemoryStack) -> None:
    """A mapping without address becomes one of that version; one with an address of the other version is left out."""
    requested = (PortMapping("udp", 53, 53), PortMapping("udp", 54, 54, ip_address("::1")))
    found = port_allocator.choose(requested, (), (4,), nft, host)
    assert found == (PortMapping("udp", 53, 53, ip_address("0.0.0.0")),)
