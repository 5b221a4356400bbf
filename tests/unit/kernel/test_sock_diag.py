"""Which listeners of the host a published port takes connections from."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from cni_cnm.cnm.packet_filter import port_listeners
from cni_cnm.kernel import sock_diag as room
from cni_cnm.kernel.sock_diag import Listener, listeners
from cni_cnm.model import PortMapping


@pytest.mark.parametrize(
    ("published", "waiting", "held"),
    [
        (None, "127.0.0.1", True),
        (None, "::", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "0.0.0.0", True),
        ("192.0.2.1", "::", True),
        ("0.0.0.0", "192.0.2.1", True),
        ("0.0.0.0", "2001:db8::1", False),
        ("::", "192.0.2.1", False),
        ("2001:db8::1", "0.0.0.0", False),
        ("2001:db8::1", "::", True),
    ],
)
def test_addresses(monkeypatch: pytest.MonkeyPatch, published: str | None, waiting: str, held: bool) -> None:
    """Every address meets every other of its family; [::] waits for IPv4, too."""
    monkeypatch.setattr(room, "listeners", lambda protocol: iter([Listener(ip_address(waiting), 8080)]))
    host_ip = ip_address(published) if published else None
    for port, size in ((8080, 1), (8000, 81)):
        found = port_listeners.warnings((PortMapping("tcp", port, 80, host_ip, size),))
        assert bool(found) is held
    assert not port_listeners.warnings(
        (PortMapping("tcp", 8081, 80, host_ip), PortMapping("tcp", 8000, 80, host_ip, 80))
    )


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_what_waits_is_found(protocol: str) -> None:
    """A bound and waiting socket of each family, not one that is connected."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as four, socket.socket(socket.AF_INET6, kind) as six:
        four.bind(("127.0.0.1", 0))
        six.bind(("::1", 0))
        if protocol == "tcp":
            four.listen()
            six.listen()
        with socket.socket(socket.AF_INET, kind) as client:
            client.connect(four.getsockname())
            found = set(listeners(protocol))
            assert Listener(ip_address("127.0.0.1"), four.getsockname()[1]) in found
            assert Listener(ip_address("::1"), six.getsockname()[1]) in found
            assert client.getsockname()[1] not in {one.port for one in found}


def test_a_kernel_that_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sock_diag in the kernel: nothing is known, and nothing fails."""
    monkeypatch.setattr(room, "NETLINK_SOCK_DIAG", 31)
    assert list(listeners("tcp")) == []
