"""What is undone when an attach fails, and what the next call finds when it cannot be."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.packet_filter import firewall_reconcile
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.errors import IoFailed, KernelError
from cni_cnm.kernel import Element, Transaction
from cni_cnm.model import EndpointKey, EndpointSpec, IpamSpec, NetworkSpec
from cni_cnm.state.store import ENDPOINTS
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft

NETWORK = NetworkSpec("net", "bridge", {}, IpamSpec("host-local", {"subnet": "10.9.0.0/24"}))
KEY = EndpointKey("net", "a", "eth0")
SPEC = EndpointSpec("a", "eth0", "/netns/a", "test")


def fail(undo: Rollback) -> None:
    with undo:
        raise KernelError("the first", errno.EPERM)


def test_every_step_is_tried_and_what_failed_is_noted() -> None:
    """In reverse; a defect in one of them keeps no other from its turn, and the first error is the reported one."""
    done: list[int] = []

    def broken() -> None:
        raise ValueError("a defect")

    undo = Rollback()
    undo.push(lambda: done.append(1))
    undo.push(broken)
    undo.push(lambda: done.append(2))
    with pytest.raises(KernelError, match="the first") as raised:
        fail(undo)
    assert done == [2, 1]
    assert raised.value.__notes__ == ["while undoing: a defect"]


@pytest.mark.parametrize("clean", [True, False])
def test_nothing_is_forgotten_that_is_still_there(clean: bool) -> None:
    """The step that removes the record runs only if all that it names could be taken back."""
    done: list[str] = []

    def take_back() -> None:
        if not clean:
            raise KernelError("it is busy", errno.EBUSY)

    undo = Rollback()
    undo.push_record_removal(lambda: done.append("forgotten"))
    undo.push(take_back)
    with pytest.raises(KernelError, match="the first"):
        fail(undo)
    assert done == (["forgotten"] if clean else [])


class Broken(MemoryNft):
    """A packet filter that answers to nothing while it is `down`."""

    down = False

    def commit(self, transaction: Transaction, *, declare: bool = False) -> None:
        self._refuse()
        super().commit(transaction, declare=declare)

    def find(self, elements: Sequence[Element]) -> Sequence[Element | None]:
        self._refuse()
        return super().find(elements)

    def _refuse(self) -> None:
        if self.down:
            raise KernelError("nftables does not answer", errno.ETIMEDOUT)


@pytest.fixture
def nft() -> Broken:
    return Broken()


@pytest.fixture
def controller(tmp_path: Path, nft: Broken) -> Controller:
    namespaces = MemoryNamespaces()
    namespaces.create("/netns/a")
    return Controller(memory_host(tmp_path, namespaces, nft))


def leases(folder: Path) -> list[str]:
    return [path.name for path in (folder / "leases/net").iterdir() if path.name[0].isdigit()]


def test_what_could_not_be_undone_is_undone_by_the_next_call(
    controller: Controller, nft: Broken, tmp_path: Path
) -> None:
    """The packet filter fails an ADD and its undoing: the lease stays on record, and DEL gives it back later."""
    controller.attach(NETWORK, SPEC)
    controller.detach(KEY, SPEC, NETWORK.ipam)
    nft.down = True
    with pytest.raises(KernelError, match="does not answer") as raised:
        controller.attach(NETWORK, SPEC)
    assert any("while undoing: nftables does not answer" in note for note in raised.value.__notes__)
    with pytest.raises(KernelError):
        controller.detach(KEY, SPEC, NETWORK.ipam)
    assert leases(tmp_path) != []
    nft.down = False
    controller.detach(KEY, SPEC, NETWORK.ipam)
    assert leases(tmp_path) == []
    assert list((tmp_path / "run/endpoints").iterdir()) == []


class Killed(BaseException):
    """SIGKILL, of which nothing is caught."""


def test_what_a_killed_delete_took_out_is_not_put_back(
    controller: Controller, nft: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is free already, the record still there: the upkeep leaves it alone, and the next DEL finishes."""
    controller.attach(NETWORK, SPEC)

    delete = controller.host.store.delete

    def killed(kind: str, name: str) -> None:
        if kind == ENDPOINTS:
            raise Killed
        delete(kind, name)

    with monkeypatch.context() as patched:
        patched.setattr(controller.host.store, "delete", killed)
        with pytest.raises(Killed):
            controller.detach(KEY, SPEC, NETWORK.ipam)
    assert leases(tmp_path) == []
    assert list((tmp_path / "run/endpoints").iterdir()) != []
    firewall_reconcile.put_back_missing(controller.host)
    controller.detach(KEY, SPEC, NETWORK.ipam)
    assert [element for one in nft.sets.values() for element in one.values() if element.owner == KEY.id[:12]] == []


def test_a_full_disk_keeps_nobody_from_leaving(
    controller: Controller, nft: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a DEL would write down it can do without."""
    controller.attach(NETWORK, SPEC)

    def full(*_: object) -> None:
        raise IoFailed("no space left")

    monkeypatch.setattr(controller.host.store, "put", full)
    controller.detach(KEY, SPEC, NETWORK.ipam)
    assert leases(tmp_path) == []
    assert list((tmp_path / "run/endpoints").iterdir()) == []
