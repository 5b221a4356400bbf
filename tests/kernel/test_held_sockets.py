"""Sockets that keep a port of the host from its processes, in the kernel."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from cni_cnm.kernel.held_sockets import HeldSockets, Place

TCP, UDP = Place("tcp", "127.0.0.1", 28080), Place("udp", "127.0.0.1", 28080)


@pytest.fixture
def held() -> Iterator[HeldSockets]:
    made = HeldSockets()
    yield made
    for place in (TCP, UDP):
        made.release(place)


def bind(place: Place, *, reuse: bool = False) -> socket.socket:
    """As a server does."""
    kind = socket.SOCK_STREAM if place.protocol == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(socket.AF_INET, kind)
    if reuse:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((place.address, place.port))
    except OSError:
        made.close()
        raise
    if place.protocol == "tcp":
        made.listen()
    return made


@pytest.mark.parametrize("place", [TCP, UDP], ids=["tcp", "udp"])
def test_a_held_port_is_refused_to_others(held: HeldSockets, place: Place) -> None:
    """Also to a server with SO_REUSEADDR, which most have; free again after the release."""
    assert held.hold(place)
    assert held.hold(place)
    for reuse in (False, True):
        if reuse and place == UDP:
            continue  # for UDP the option lets a socket of another program share the port, also with Docker's proxy
        with pytest.raises(OSError, match="in use"):
            bind(place, reuse=reuse)
    held.release(place)
    held.release(place)
    bind(place).close()


@pytest.mark.parametrize("place", [TCP, UDP], ids=["tcp", "udp"])
def test_a_port_of_a_process_is_not_held(held: HeldSockets, place: Place) -> None:
    there = bind(place)
    assert not held.hold(place)
    assert not held.hold(place._replace(address="0.0.0.0"))
    there.close()
    assert held.hold(place)


def test_what_ended_connections_leave_is_no_process(held: HeldSockets) -> None:
    """The side that closes first keeps the port for a minute (TIME_WAIT)."""
    server = bind(TCP, reuse=True)
    client = socket.create_connection((TCP.address, TCP.port))
    accepted, _ = server.accept()
    accepted.close()
    client.recv(1)
    client.close()
    server.close()
    with pytest.raises(OSError, match="in use"):
        bind(TCP)
    assert held.hold(TCP)


def test_a_held_socket_receives_nothing(held: HeldSockets) -> None:
    """Packets would fill its buffer: nothing reads them."""
    assert held.hold(UDP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x" * 100, (UDP.address, UDP.port))
    with pytest.raises(BlockingIOError):
        held._sockets[UDP].recv(1, socket.MSG_DONTWAIT)


def test_a_port_that_cannot_be_bound_is_published_all_the_same(held: HeldSockets) -> None:
    """An address that the host does not have."""
    assert held.hold(Place("tcp", "203.0.113.9", 28080))
