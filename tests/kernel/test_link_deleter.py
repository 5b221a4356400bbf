"""Deletions by the service's link deleter, against the real kernel."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from cni_cnm.errors import KernelError
from cni_cnm.kernel import DELETION_GROUP
from cni_cnm.kernel.netlink.header import RTM_DELLINK, RTM_GETLINK, RTM_SETLINK
from cni_cnm.kernel.rtnetlink import link_deletion, links
from cni_cnm.kernel.rtnetlink.connection import Connection
from cni_cnm.kernel.rtnetlink.link_monitor import LinkMonitor
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.service.deletions import Deletions
from cni_cnm.service.host_stack import HostStack
from cni_cnm.service.link_deleter import LinkDeleter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cni_cnm.kernel.netlink.netlink_socket import NetlinkSocket


class Counting(Connection):
    """Counts how often the kernel is made to wait."""

    waits = 0

    def control(self, body: bytes, kind: int, sentence: str, **more: Any) -> None:
        Counting.waits += kind == RTM_DELLINK
        super().control(body, kind, sentence, **more)


def counting(fd: int, path: str) -> KernelStack:
    return KernelStack(fd, path, Counting(fd, path))


class CountingSocket(socket.socket):
    """Counts the messages sent."""

    sent = 0

    def sendmsg(self, *args: Any) -> int:
        sent = super().sendmsg(*args)
        self.sent += 1
        return sent


class Running:
    """A link deleter on a thread of the host's namespace, and a deleter that asks it."""

    def __init__(self, host: KernelStack, stack: Callable[[int, str], KernelStack] = KernelStack) -> None:
        requests, self._served = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests = CountingSocket(fileno=requests.detach())
        self.client = Deletions(self._requests)
        self._stop = os.eventfd(0)
        self._fd = os.dup(host.fd)
        self._deleter = LinkDeleter(self._fd, self._served, stack)
        self._thread = threading.Thread(target=self._deleter.serve, args=(self._stop,))

    def start(self) -> None:
        self._thread.start()

    def delete_together(self, indexes: Sequence[int]) -> list[bool]:
        """What is said of each of so many deletions that have come before the link deleter looks."""
        gone = [False] * len(indexes)

        def delete(number: int) -> None:
            gone[number] = self.client.delete([indexes[number]])

        threads = [threading.Thread(target=delete, args=(number,)) for number in range(len(indexes))]
        before = self._requests.sent
        for thread in threads:
            thread.start()
        while self._requests.sent < before + len(indexes):
            time.sleep(0.001)
        if not self._thread.is_alive():
            self.start()
        for thread in threads:
            thread.join(timeout=60)
        return gone

    def close(self) -> None:
        os.eventfd_write(self._stop, 1)
        self._thread.join(timeout=60)
        for one in (self._served, self._requests):
            one.close()
        os.close(self._stop)
        os.close(self._fd)


@pytest.fixture
def deleter(host: KernelStack) -> Iterator[Running]:
    """Of the host, counting, not started yet."""
    Counting.waits = 0
    made = Running(host, counting)
    yield made
    made.close()


@pytest.fixture
def request_stack(host: KernelStack, deleter: Running) -> Iterator[HostStack]:
    """Of a request; what its thread keeps for the next one is closed, too."""
    deleter.start()
    kept = threading.local()
    made = HostStack(os.dup(host.fd), deleter.client, kept)
    yield made
    made.close()
    kept.socket.close()


def make_links(host: KernelStack, count: int) -> list[int]:
    for number in range(count):
        host.add_veth(f"a{number}", peer=f"b{number}", peer_stack=host)
    found = [host.link(f"a{number}") for number in range(count)]
    return [link.ifindex for link in found if link is not None]


def test_deletions_that_come_together_are_one(host: KernelStack, deleter: Running) -> None:
    """Thirty threads, thirty links: all gone when each returns, after a single wait."""
    indexes = make_links(host, 30)
    assert deleter.delete_together(indexes) == [True] * 30
    assert [link.name for link in host.links()] == ["lo"]
    assert Counting.waits == 1


def test_one_alone_is_an_ordinary_deletion(host: KernelStack, deleter: Running) -> None:
    """It is not put into a group."""
    (index,) = make_links(host, 1)
    deleter.start()
    assert deleter.client.delete([index])
    assert (host.link("a0"), Counting.waits) == (None, 1)


def test_one_that_is_gone_is_done(host: KernelStack, deleter: Running) -> None:
    """A link that went meanwhile is no error, and does not keep others."""
    indexes = make_links(host, 12)
    host.delete_link(indexes[3])
    assert deleter.delete_together(indexes) == [True] * 12
    assert [link.name for link in host.links()] == ["lo"]


def test_a_link_that_cannot_go_does_not_keep_others(host: KernelStack, deleter: Running) -> None:
    """The loopback cannot be deleted, alone or in a group: the others are, and it is in its own group again."""
    indexes = [*make_links(host, 8), 1]
    assert deleter.delete_together(indexes) == [*[True] * 8, False]
    (loopback,) = host.links()
    assert (loopback.name, loopback.group) == ("lo", 0)


def test_the_request_says_why_a_link_cannot_go(request_stack: HostStack) -> None:
    """What the link deleter cannot delete, the request tries itself: the kernel's answer is the error."""
    with pytest.raises(KernelError) as raised:
        request_stack.delete_links([1])
    assert raised.value.errno == errno.EOPNOTSUPP


def test_a_failure_that_is_no_answer_of_the_kernel(host: KernelStack) -> None:
    """Out of descriptors when the socket is opened: no thread takes its link for deleted."""

    class Exhausted(Connection):
        def open_socket(self) -> NetlinkSocket:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    indexes = make_links(host, 4)
    deleter = Running(host, lambda fd, path: KernelStack(fd, path, Exhausted(fd, path)))
    assert deleter.delete_together(indexes) == [False] * 4
    deleter.close()
    assert {link.name for link in host.links()} >= {f"a{number}" for number in range(4)}


def test_links_that_cannot_be_grouped_go_one_by_one(host: KernelStack) -> None:
    """The kernel refuses the group, not the deletion: they are gone all the same."""

    class Ungrouped(Connection):
        def control(self, body: bytes, kind: int, sentence: str, **more: Any) -> None:
            if kind == RTM_SETLINK:
                raise KernelError(f"{sentence} failed", errno.ENOBUFS)
            super().control(body, kind, sentence, **more)

    fd = os.dup(host.fd)
    stack = KernelStack(fd, "", Ungrouped(fd, ""))
    stack.delete_links(make_links(host, 3))
    stack.close()
    assert [link.name for link in host.links()] == ["lo"]


def test_inside_a_batch_a_link_that_is_gone_keeps_no_other(host: KernelStack) -> None:
    """What is deleted in a block goes at its end, whatever is queued around it."""
    indexes = make_links(host, 3)
    host.delete_link(indexes[1])
    with host.batch(), host.deleting():
        for index in indexes:
            host.delete_link(index)
    assert [link.name for link in host.links()] == ["lo"]


def test_foreign_links_are_not_touched(host: KernelStack, deleter: Running) -> None:
    """Links beside the deleted ones stay, also those made meanwhile."""
    indexes = make_links(host, 10)
    keep = [host.link("a7"), host.link("b7")]
    assert all(keep)
    deleter.delete_together([*indexes[:7], *indexes[8:]])
    assert {link.name for link in host.links()} == {"lo", "a7", "b7"}
    assert all(link.group != DELETION_GROUP for link in host.links())


def test_the_host_stack_of_a_request_uses_the_link_deleter(host: KernelStack, request_stack: HostStack) -> None:
    """What was queued before, in a batch, happens before."""
    (index,) = make_links(host, 1)
    with request_stack.batch():
        request_stack.set_link(index, name="renamed")
        request_stack.delete_link(index)
    assert [link.name for link in host.links()] == ["lo"]
    assert Counting.waits == 1


def test_the_next_request_begins_with_nothing_of_the_last_one(host: KernelStack) -> None:
    """Its socket is the thread's; what was queued and not sent, or sent and not answered, is not the next one's."""
    kept = threading.local()
    first = HostStack(os.dup(host.fd), None, kept)
    assert first.link("lo") is not None
    wire = first.connection.socket
    wire.begin()
    first.set_link(1, mtu=1400)
    wire._send(wire._encode(links.query(1), RTM_GETLINK, 1, "asking").data, "asking")
    first.close()
    second = HostStack(os.dup(host.fd), None, kept)
    found = second.link("lo")
    assert found is not None
    assert (second.connection.socket, found.mtu) == (wire, 65536)
    second.set_link(1, mtu=1300)
    assert {str(address) for address in second.addresses(1)} == {"127.0.0.1/8", "::1/128"}
    second.close()
    kept.socket.close()


@pytest.mark.parametrize("through", ["a request of the service", "a program of its own"])
def test_links_of_one_request_go_in_one_wait(host: KernelStack, request_stack: HostStack, through: str) -> None:
    """The ifb and the veth of a pod, through the deleter and without one."""
    stack = request_stack if through == "a request of the service" else counting(os.dup(host.fd), "")
    assert request_stack.link("lo") is not None
    first, second = make_links(host, 2)
    with stack.deleting():
        stack.delete_link(first)
        stack.delete_link(second)
        assert len(host.links()) == 5
    assert [link.name for link in host.links()] == ["lo"]
    assert Counting.waits == 1
    stack.close()


def test_nobody_waits_for_the_acknowledgement(host: KernelStack) -> None:
    """The links are gone and their names free when a deletion returns; the kernel may acknowledge it much later."""
    acknowledged = threading.Event()

    class Late(KernelStack):
        def delete_links(self, indexes: Sequence[int]) -> None:
            super().delete_links(indexes)
            assert acknowledged.wait(60)

    deleter = Running(host, Late)
    deleter.start()
    for _ in range(3):
        indexes = make_links(host, 2)
        assert deleter.client.delete(indexes)
        assert [link.name for link in host.links()] == ["lo"]
    acknowledged.set()
    deleter.close()


def test_a_notification_that_is_lost_is_made_up_for(
    host: KernelStack, deleter: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel has no room to tell, its acknowledgement counts."""
    real = LinkMonitor.read

    def deaf(departures: LinkMonitor) -> set[int]:
        real(departures)
        return set()

    monkeypatch.setattr(LinkMonitor, "read", deaf)
    indexes = make_links(host, 3)
    deleter.start()
    assert deleter.client.delete(indexes)
    assert [link.name for link in host.links()] == ["lo"]


def test_without_descriptors(host: KernelStack, deleter: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link deleter says that it has not deleted the link; the next one works."""

    def none_left() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    deleter.start()
    (index,) = make_links(host, 1)
    with monkeypatch.context() as patched:
        patched.setattr("cni_cnm.service.link_deleter.LinkMonitor", none_left)
        assert not deleter.client.delete([index])
    assert deleter.client.delete([index])
    assert host.link("a0") is None


class Unstarted(threading.Thread):
    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_without_threads(host: KernelStack, deleter: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control group's limit: of several at once none takes its link for gone, and later they go."""
    indexes = make_links(host, 4)
    deleter.start()
    with monkeypatch.context() as patched:
        patched.setattr("cni_cnm.service.link_deleter.Thread", Unstarted)
        assert deleter.delete_together(indexes) == [False] * 4
    assert {f"a{number}" for number in range(4)} <= {link.name for link in host.links()}
    assert deleter.delete_together(indexes) == [True] * 4
    assert [link.name for link in host.links()] == ["lo"]


def test_a_link_deleter_that_ends_leaves_no_request_waiting(host: KernelStack) -> None:
    """Killed with the request, or with its queue full: the request deletes its link itself."""
    asked, served = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    deleter = Deletions(asked)
    kept = threading.local()
    stack = HostStack(os.dup(host.fd), deleter, kept)
    first, second = make_links(host, 2)

    def end() -> None:
        _, pipes, _, _ = socket.recv_fds(served, 100, 1)
        os.close(pipes[0])

    ending = threading.Thread(target=end)
    ending.start()
    stack.delete_links([first])
    ending.join()
    with suppress(BlockingIOError):
        while True:
            asked.send(bytes(4), socket.MSG_DONTWAIT)
    stack.delete_links([second])
    assert [link.name for link in host.links()] == ["lo"]
    stack.close()
    for one in (asked, served, kept.socket):
        one.close()


def test_departures_are_those_of_links(host: KernelStack) -> None:
    """Every link that goes, alone or with its other end, and no port that only leaves its bridge."""
    host.add_bridge("br0", mac="02:00:00:00:00:01")
    bridge = host.link("br0")
    assert bridge is not None
    indexes = make_links(host, 2)
    for index in indexes:
        host.set_link(index, master=bridge.ifindex)
    departures = LinkMonitor()
    host.set_link(indexes[0], master=0)
    assert departures.read() == set()
    host.delete_link(indexes[1])
    host.delete_link(bridge.ifindex)
    assert departures.read() >= {indexes[1], bridge.ifindex}
    assert indexes[0] not in departures.read()
    departures.close()


def test_a_group_that_another_program_deletes_is_done(host: KernelStack) -> None:
    """Two programs put links into the reserved group, one deletes it: the other finds nothing, and is content."""
    ours, theirs = make_links(host, 2), KernelStack(os.dup(host.fd), "")

    class Overtaken(Connection):
        def control(self, body: bytes, kind: int, sentence: str, **more: Any) -> None:
            if kind == RTM_DELLINK:
                link_deletion.delete_group(theirs.connection, DELETION_GROUP)
            super().control(body, kind, sentence, **more)

    fd = os.dup(host.fd)
    stack = KernelStack(fd, "", Overtaken(fd, ""))
    stack.delete_links(ours)
    stack.close()
    theirs.close()
    assert [link.name for link in host.links()] == ["lo"]
