"""Deletions gathered, against the real kernel."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from cni_cnm.errors import KernelError
from cni_cnm.kernel.stack import LEAVING, KernelStack
from cni_cnm.service.reaper import ReapedStack, Reaper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Counting(KernelStack):
    """Counts how often the kernel is made to wait."""

    waits = 0

    def _attempt_delete(self, index: int) -> KernelError | None:
        self.waits += 1
        return super()._attempt_delete(index)

    def delete_group(self, group: int) -> None:
        self.waits += 1
        super().delete_group(group)


@pytest.fixture
def counted(host: KernelStack) -> Iterator[Counting]:
    stack = Counting(os.dup(host.fd), "")
    yield stack
    stack.close()


def make_links(host: KernelStack, count: int) -> list[int]:
    for number in range(count):
        host.add_veth(f"a{number}", peer=f"b{number}", peer_stack=host)
    found = [host.link(f"a{number}") for number in range(count)]
    return [link.ifindex for link in found if link is not None]


def delete_together(reaper: Reaper, indexes: Sequence[int]) -> list[BaseException | None]:
    """What each of so many simultaneous deletions raised."""
    raised: list[BaseException | None] = [None] * len(indexes)

    def delete(number: int) -> None:
        try:
            reaper.delete([indexes[number]])
        except KernelError as error:
            raised[number] = error

    threads = [threading.Thread(target=delete, args=(number,)) for number in range(len(indexes))]
    with reaper._kernel:  # as if a deletion were in the kernel: these come meanwhile
        for thread in threads:
            thread.start()
        while len(reaper._queued) < len(indexes):
            time.sleep(0.001)
    for thread in threads:
        thread.join(timeout=60)
    return raised


def test_deletions_that_come_while_one_is_in_the_kernel_are_one(host: KernelStack, counted: Counting) -> None:
    """Thirty threads, thirty links: all gone when each returns, after a single wait."""
    indexes = make_links(host, 30)
    assert delete_together(Reaper(counted), indexes) == [None] * 30
    assert [link.name for link in host.links()] == ["lo"]
    assert counted.waits == 1


def test_one_alone_is_an_ordinary_deletion(host: KernelStack, counted: Counting) -> None:
    """No group, no detour."""
    (index,) = make_links(host, 1)
    Reaper(counted).delete([index])
    assert (host.link("a0"), counted.waits) == (None, 1)


def test_one_that_is_gone_is_done(host: KernelStack, counted: Counting) -> None:
    """A link that went meanwhile is no error, and keeps nobody else's."""
    indexes = make_links(host, 12)
    host.delete_link(indexes[3])
    assert delete_together(Reaper(counted), indexes) == [None] * 12
    assert [link.name for link in host.links()] == ["lo"]


def test_a_link_that_cannot_go_does_not_keep_others(host: KernelStack, counted: Counting) -> None:
    """The loopback cannot be deleted, alone or in a group: the others are, and it is in its own group again."""
    indexes = [*make_links(host, 8), 1]
    raised = delete_together(Reaper(counted), indexes)
    assert [error is not None for error in raised] == [*[False] * 8, True]
    assert isinstance(raised[8], KernelError)
    assert raised[8].errno == errno.EOPNOTSUPP
    (loopback,) = host.links()
    assert (loopback.name, loopback.group) == ("lo", 0)


def test_nobody_elses_links_are_touched(host: KernelStack, counted: Counting) -> None:
    """Links beside the deleted ones stay, also those made meanwhile."""
    indexes = make_links(host, 10)
    keep = [host.link("a7"), host.link("b7")]
    assert all(keep)
    delete_together(Reaper(counted), [*indexes[:7], *indexes[8:]])
    assert {link.name for link in host.links()} == {"lo", "a7", "b7"}
    assert all(link.group != LEAVING for link in host.links())


def test_a_stack_of_a_request_deletes_through_the_reaper(host: KernelStack, counted: Counting) -> None:
    """What was queued before, in a batch, happens before."""
    stack = ReapedStack(os.dup(host.fd), Reaper(counted))
    (index,) = make_links(host, 1)
    with stack.batch():
        stack.set_link(index, name="renamed")
        stack.delete_link(index)
    stack.close()
    assert [link.name for link in host.links()] == ["lo"]
    assert counted.waits == 1


def test_links_of_one_request_go_in_one_wait(host: KernelStack, counted: Counting) -> None:
    """The ifb and the veth of a pod, through the reaper and without one."""
    for stack in (ReapedStack(os.dup(host.fd), Reaper(counted)), counted):
        counted.waits = 0
        first, second = make_links(host, 2)
        with stack.deleting():
            stack.delete_link(first)
            stack.delete_link(second)
            assert len(host.links()) == 5
        assert [link.name for link in host.links()] == ["lo"]
        assert counted.waits == 1
        if stack is not counted:
            stack.close()


def test_a_group_that_another_program_deletes_is_done(host: KernelStack, counted: Counting) -> None:
    """Two programs put links into the reserved group, one deletes it: the other finds nothing, and is content."""
    ours, theirs = make_links(host, 2), KernelStack(os.dup(host.fd), "")

    class Overtaken(KernelStack):
        def delete_group(self, group: int) -> None:
            theirs.delete_group(group)
            super().delete_group(group)

    stack = Overtaken(os.dup(host.fd), "")
    stack.delete_links(ours)
    stack.close()
    theirs.close()
    assert [link.name for link in host.links()] == ["lo"]
