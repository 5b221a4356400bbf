"""Namespaces that live as long as a test, and small conversations between them. Needs root."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket as sockets
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel import Element, Nft

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
WAIT = 0.4
"""Seconds after which a packet counts as dropped."""
RETRY_MS = "50"
"""Between questions for an IPv6 neighbour, so that one whose answers were dropped is found again within WAIT."""


class Namespace:
    """A network namespace held by a descriptor: no name, no process, nothing to clean up but `close`."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)

        def unshare() -> int:
            if libc.unshare(CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        self.fd = _in_thread(unshare)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.run("ip", "link", "set", "lo", "up")
        for scope in ("all", "default"):  # no test waits a second for its link-local addresses
            self.sysctl(f"net/ipv6/conf/{scope}/accept_dad", "0")

    def close(self) -> None:
        os.close(self.fd)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in a thread inside; sockets it makes stay inside and can be used from anywhere."""
        libc = ctypes.CDLL(None, use_errno=True)

        def inside() -> T:
            if libc.setns(self.fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            return function()

        return _in_thread(inside)

    def run(self, *argv: str, check: bool = True, text: str | None = None) -> str:
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", *argv], input=text, capture_output=True, text=True, timeout=20
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def ip(self, command: str) -> None:
        self.run("ip", *command.split())

    def sysctl(self, key: str, value: str | None = None) -> str:
        def touch() -> str:
            path = f"/proc/sys/{key}"
            if value is not None:
                with open(path, "w") as file:
                    file.write(value)
            with open(path) as file:
                return file.read().strip()

        return self.call(touch)

    def socket(self, family: int = sockets.AF_INET, kind: int = sockets.SOCK_STREAM) -> sockets.socket:
        made = self.call(lambda: sockets.socket(family, kind))
        made.settimeout(WAIT)
        return made

    @contextmanager
    def serving(self, port: int, kind: int = sockets.SOCK_STREAM, address: str = "") -> Iterator[None]:
        """Tell every caller, TCP or UDP, v4 or v6, what its address is; a connection is one answer long."""
        family = sockets.AF_INET6 if ":" in address or not address else sockets.AF_INET
        listener = self.socket(family, kind)
        listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.settimeout(0.1)
        stop = threading.Event()

        def answer() -> None:
            if kind == sockets.SOCK_STREAM:
                listener.listen(128)
            ready.set()
            while not stop.is_set():
                try:
                    if kind == sockets.SOCK_STREAM:
                        connection, peer = listener.accept()
                        with connection:
                            connection.sendall(peer[0].removeprefix("::ffff:").encode())
                    else:
                        peer = listener.recvfrom(100)[1]
                        listener.sendto(peer[0].removeprefix("::ffff:").encode(), peer)
                except OSError:
                    continue

        ready = threading.Event()
        thread = threading.Thread(target=answer)
        thread.start()
        ready.wait()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            listener.close()

    def ask(self, address: str, port: int, kind: int = sockets.SOCK_STREAM, source: str = "") -> str | None:
        """The caller's address as a server sees it; None if no answer came."""
        with self.socket(sockets.AF_INET6 if ":" in address else sockets.AF_INET, kind) as client:
            if source:
                client.bind((source, 0))
            try:
                client.connect((address, port))
                client.send(b"?")
                return client.recv(100).decode() or None
            except OSError:
                return None

    def pings(self, address: str) -> bool:
        ping = "ping -n" if shutil.which("ping") else "busybox ping"
        script = f"{ping} -c1 -W1 {address} >/dev/null 2>&1"
        return self.run("sh", "-c", f"{script} && echo yes", check=False) == "yes\n"


class Lab:
    """A host with bridges and pods, and another host beyond it."""

    def __init__(self) -> None:
        self._made: list[Namespace] = []
        self.host = self.namespace()

    def namespace(self) -> Namespace:
        made = Namespace()
        self._made.append(made)
        return made

    def close(self) -> None:
        for namespace in self._made:
            namespace.close()

    def wire(self, namespace: Namespace, name: str, *addresses: str, to: Namespace, peer: str) -> None:
        """A veth with both ends up; addresses are of the end in `to`."""
        namespace.ip(f"link add {name} type veth peer name {peer} netns {to.path}")
        for place, link in ((namespace, name), (to, peer)):
            place.sysctl(f"net/ipv6/neigh/{link}/retrans_time_ms", RETRY_MS)
            place.ip(f"link set {link} up")
        for address in addresses:
            to.ip(f"addr add {address} dev {peer}{' nodad' if ':' in address else ''}")

    def bridge(self, name: str, *addresses: str) -> None:
        self.host.ip(f"link add {name} type bridge")
        self.host.sysctl(f"net/ipv6/neigh/{name}/retrans_time_ms", RETRY_MS)
        self.host.ip(f"link set {name} up")
        for address in addresses:
            self.host.ip(f"addr add {address} dev {name}{' nodad' if ':' in address else ''}")
        for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            self.host.sysctl(key, "1")

    def pod(self, bridge: str, host_ifname: str, *addresses: str, gateways: tuple[str, ...] = ()) -> Namespace:
        pod = self.namespace()
        self.wire(self.host, host_ifname, *addresses, to=pod, peer="eth0")
        self.host.ip(f"link set {host_ifname} master {bridge}")
        for gateway in gateways:
            pod.run("ip", "route", "add", "default", "via", gateway)
        return pod

    def outside(self, *addresses: str, name: str = "wan0", here: tuple[str, ...]) -> Namespace:
        """Another host, directly wired; it has no route to any pod."""
        other = self.namespace()
        self.wire(self.host, name, *addresses, to=other, peer="eth0")
        for address in here:
            self.host.ip(f"addr add {address} dev {name}{' nodad' if ':' in address else ''}")
        return other


@pytest.fixture
def lab() -> Iterator[Lab]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    made = Lab()
    yield made
    made.close()


def _in_thread(function: Callable[[], T]) -> T:
    result: list[Any] = []

    def run() -> None:
        try:
            result.append((True, function()))
        except BaseException as error:
            result.append((False, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    good, value = result[0]
    if not good:
        raise value
    return value  # type: ignore[no-any-return]


def missing(nft: Nft, elements: Sequence[Element]) -> list[Element]:
    """Those of the elements that are not there, or with another value."""
    found = zip(elements, nft.find(elements), strict=True)
    return [element for element, there in found if there is None or there.value != element.value]
