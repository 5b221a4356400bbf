"""Bandwidth on the kernel: bytes over the time they take, both ways, while only the shaping limits them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_interface

import pytest

from cni_cnm.cnm.interface import shaping
from cni_cnm.errors import CheckFailed, KernelFeatureMissing
from cni_cnm.kernel import Rate
from cni_cnm.kernel.netns import KernelNamespaces
from cni_cnm.kernel.setns import entered
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.kernel.token_bucket import kept
from cni_cnm.model import Bandwidth

MBIT = 1_000_000
RUNTIMES_BURST = 4294967295
SECONDS = 2.5
ATTEMPTS = 5
HEADERS = 1514 / 1448
"""Bytes on the wire for each byte of TCP's payload, with full frames and time stamps."""
HOST, POD = "10.99.0.1", "10.99.0.2"
IFB = "bwp0123456789ab"
NOTHING = b"\0" * 65536


class Pair:
    """A host with veth0 and a container with eth0, and a listener in each."""

    def __init__(self, host: KernelStack, container: KernelStack) -> None:
        self.host, self.container = host, container
        host.add_veth("veth0", peer="eth0", peer_stack=container)
        for stack, name, address in ((host, "veth0", HOST), (container, "eth0", POD)):
            link = stack.link(name)
            assert link is not None
            stack.add_address(link.ifindex, ip_interface(f"{address}/24"))
            stack.set_link(link.ifindex, up=True)

    def shape(self, bandwidth: Bandwidth) -> None:
        try:
            shaping.apply(self.host, "veth0", IFB, bandwidth)
        except KernelFeatureMissing as error:
            pytest.skip(str(error))

    def stream(self, *, to_container: bool) -> Stream:
        here, there = (self.host, self.container) if to_container else (self.container, self.host)
        listener = entered(there.fd, lambda: socket.create_server((POD if to_container else HOST, 0)))
        address = listener.getsockname()
        sender = entered(here.fd, lambda: socket.create_connection(address))
        receiver, _ = listener.accept()
        listener.close()
        return Stream(sender, receiver)


class Stream:
    """One TCP connection that sends as much as it can until it is closed."""

    def __init__(self, sender: socket.socket, receiver: socket.socket) -> None:
        self.sender, self.receiver = sender, receiver
        self.sender.settimeout(0.2)
        self.receiver.settimeout(30)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        while not self._stop.is_set():
            try:
                self.sender.send(NOTHING)
            except TimeoutError:
                continue
            except OSError:
                return

    def take(self, size: int) -> float:
        """Receive at least that many bytes; the seconds it took."""
        start = time.monotonic()
        while size > 0:
            size -= len(self.receiver.recv(65536))
        return time.monotonic() - start

    def rate(self) -> float:
        """Bits a second on the wire, over a few seconds from now on, from one arrival to another."""
        self.receiver.recv(65536)
        start = last = time.monotonic()
        received = 0
        while last - start < SECONDS:
            received += len(self.receiver.recv(65536))
            last = time.monotonic()
        return received * HEADERS * 8 / (last - start)

    def keeps(self, rate: int) -> bool:
        """True if it runs at that rate within 10 %. A busy machine can hold a stream up, but never make it faster:

        faster is a failure at once, slower only if it stays so.
        """
        for _ in range(ATTEMPTS):
            found = self.rate()
            assert found < rate * 1.1
            if found > rate * 0.9:
                return True
        return False

    def close(self) -> None:
        self._stop.set()
        self.receiver.close()
        self._thread.join()
        self.sender.close()


@pytest.fixture
def pair(host: KernelStack, netns: str) -> Iterator[Pair]:
    container = KernelNamespaces().open(netns)
    yield Pair(host, container)
    container.close()


def limits(*, rate: int, burst: int, to_container: bool) -> Bandwidth:
    return Bandwidth(ingress_rate=rate, ingress_burst=burst) if to_container else Bandwidth(0, 0, rate, burst)


@pytest.mark.parametrize("to_container", [True, False], ids=["ingress", "egress"])
@pytest.mark.parametrize(
    ("rate", "burst"),
    [(5 * MBIT, 1), (5 * MBIT, MBIT), (20 * MBIT, 1), (200 * MBIT, MBIT)],
    ids=["5M, burst raised", "5M, 200 ms", "20M, burst raised", "200M, 5 ms"],
)
def test_rate_is_kept(pair: Pair, rate: int, burst: int, to_container: bool) -> None:
    """Once the burst is spent, a stream gets the rate within 10 %, in either direction, however small the burst."""
    pair.shape(limits(rate=rate, burst=burst, to_container=to_container))
    stream = pair.stream(to_container=to_container)
    try:
        stream.take(burst // 8 + rate // 8)
        assert stream.keeps(rate)
    finally:
        stream.close()


@pytest.mark.parametrize("to_container", [True, False], ids=["ingress", "egress"])
def test_other_way_is_free(pair: Pair, to_container: bool) -> None:
    """A limit one way leaves the other way alone."""
    pair.shape(limits(rate=2 * MBIT, burst=MBIT, to_container=to_container))
    stream = pair.stream(to_container=not to_container)
    try:
        assert stream.rate() > 20 * MBIT
    finally:
        stream.close()


def test_bursts_of_runtimes_pass_and_end(pair: Pair) -> None:
    """The burst runtimes send passes as far as the kernel keeps it, 274.8 s of the rate; then the rate holds."""
    rate = 4 * MBIT
    burst = kept(Rate(rate, RUNTIMES_BURST), 1500).burst
    pair.shape(limits(rate=rate, burst=RUNTIMES_BURST, to_container=True))
    stream = pair.stream(to_container=True)
    try:
        within = stream.take(int(burst // 8 / HEADERS * 0.9))
        assert within < burst / rate / 4
        stream.take(int(burst // 8 * 0.1) + rate // 8)
        assert stream.keeps(rate)
    finally:
        stream.close()


def test_withdrawn_limits_limit_nothing(pair: Pair) -> None:
    """After withdraw both ways are free again, and what was made is gone."""
    both = Bandwidth(2 * MBIT, MBIT, 2 * MBIT, MBIT)
    pair.shape(both)
    shaping.check(pair.host, "veth0", IFB, both)
    shaping.withdraw(pair.host, "veth0", IFB, both)
    assert pair.host.link(IFB) is None
    for to_container in (True, False):
        stream = pair.stream(to_container=to_container)
        try:
            assert stream.rate() > 20 * MBIT
        finally:
            stream.close()


def test_applied_again(pair: Pair) -> None:
    """What was withdrawn can be applied again; with the ifb gone under it CHECK fails."""
    egress = Bandwidth(egress_rate=2 * MBIT, egress_burst=MBIT)
    for _ in range(2):
        pair.shape(egress)
        shaping.check(pair.host, "veth0", IFB, egress)
        shaping.withdraw(pair.host, "veth0", IFB, egress)
    pair.shape(egress)
    shaping.remove(pair.host, IFB)
    with pytest.raises(CheckFailed, match=IFB):
        shaping.check(pair.host, "veth0", IFB, egress)
