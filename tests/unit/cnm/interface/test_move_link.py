"""A link that a plugin made on the host moves into the sandbox and back, on the kernel in memory."""

from __future__ import annotations

import errno
from typing import NamedTuple

import pytest

from cni_cnm.cnm.interface import move_link
from cni_cnm.errors import Conflict, DriverFailed, KernelError
from cni_cnm.kernel.contract.stack import Stack
from cni_cnm.model import Interface
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.stack import MemoryStack

MAC = "02:00:00:00:00:07"


class Stacks(NamedTuple):
    host: MemoryStack
    sandbox: MemoryStack


@pytest.fixture
def stacks() -> Stacks:
    """A host with the link `plugin0`, and an empty container."""
    namespaces = MemoryNamespaces()
    host = namespaces.host()
    host.add_veth("plugin0", peer="plugin1", peer_stack=host)
    return Stacks(host, namespaces.create("/c1"))


def test_into_the_sandbox_and_back(stacks: Stacks) -> None:
    """The link has its final name and MAC in the sandbox, and its old name on the host again, down."""
    interface, index = move_link.into(stacks.sandbox, stacks.host, "plugin0", Interface("eth0", MAC))
    moved = stacks.sandbox.link("eth0")
    assert moved is not None
    assert (moved.ifindex, moved.mac, moved.mtu) == (index, MAC, 1500)
    assert interface == Interface("eth0", MAC, 1500)
    assert stacks.host.link("plugin0") is None
    stacks.sandbox.set_link(index, up=True)
    move_link.back(stacks.sandbox, stacks.host, "eth0", "plugin0", index)
    assert stacks.sandbox.link("eth0") is None
    returned = stacks.host.link("plugin0")
    assert returned is not None
    assert not returned.up


def test_without_a_mac_the_link_keeps_its_own(stacks: Stacks) -> None:
    """The result names the MAC that the link has."""
    source = stacks.host.link("plugin0")
    assert source is not None
    interface, _ = move_link.into(stacks.sandbox, stacks.host, "plugin0", Interface("eth0"))
    assert interface.mac == source.mac


def test_a_link_that_the_plugin_did_not_make(stacks: Stacks) -> None:
    """The error names it and points to the plugin's log."""
    with pytest.raises(DriverFailed, match="the link other is to be moved") as raised:
        move_link.into(stacks.sandbox, stacks.host, "other", Interface("eth0"))
    assert "plugin's own log" in raised.value.hint


def test_a_name_that_is_taken_in_the_sandbox(stacks: Stacks) -> None:
    """The link stays on the host."""
    stacks.sandbox.add_bridge("eth0", mac=MAC)
    with pytest.raises(Conflict, match="has an interface eth0 already"):
        move_link.into(stacks.sandbox, stacks.host, "plugin0", Interface("eth0"))
    assert stacks.host.link("plugin0") is not None


def test_back_without_a_link(stacks: Stacks) -> None:
    """No error for a name that is not there, or for none."""
    move_link.back(stacks.sandbox, stacks.host, "eth0", "plugin0", 0)
    move_link.back(stacks.sandbox, stacks.host, "", "plugin0", 0)
    assert stacks.host.link("plugin0") is not None


@pytest.mark.parametrize("moved", [True, False])
def test_back_leaves_an_interface_of_another_plugin(stacks: Stacks, moved: bool) -> None:
    """The name in the sandbox is another link's: ours is gone from there, or never left the host."""
    index = 0
    if moved:
        _, index = move_link.into(stacks.sandbox, stacks.host, "plugin0", Interface("eth0"))
        stacks.sandbox.delete_link(index)
    stacks.sandbox.add_bridge("eth0", mac=MAC)
    move_link.back(stacks.sandbox, stacks.host, "eth0", "plugin0", index)
    assert stacks.sandbox.link("eth0") is not None


def test_back_where_the_old_name_is_taken(stacks: Stacks) -> None:
    """The link is deleted: it must not stay in the container. The other link of that name is not touched."""
    _, index = move_link.into(stacks.sandbox, stacks.host, "plugin0", Interface("eth0"))
    stacks.host.add_bridge("plugin0", mac=MAC)
    move_link.back(stacks.sandbox, stacks.host, "eth0", "plugin0", index)
    assert stacks.sandbox.link("eth0") is None
    kept = stacks.host.link("plugin0")
    assert kept is not None
    assert kept.kind == "bridge"


@pytest.mark.parametrize(("code", "passes"), [(errno.ENODEV, True), (errno.EPERM, False)])
def test_errors_of_the_move_back(stacks: Stacks, monkeypatch: pytest.MonkeyPatch, code: int, passes: bool) -> None:
    """A link that disappears at that moment is no error; any other failure is raised."""
    _, index = move_link.into(stacks.sandbox, stacks.host, "plugin0", Interface("eth0"))

    def fail(_: MemoryStack, number: int, to: Stack, *, name: str = "") -> None:
        raise KernelError(f"moving {number} to {to.path} as {name} failed", code)

    monkeypatch.setattr(MemoryStack, "move_link", fail)
    if passes:
        move_link.back(stacks.sandbox, stacks.host, "eth0", "plugin0", index)
        return
    with pytest.raises(KernelError) as raised:
        move_link.back(stacks.sandbox, stacks.host, "eth0", "plugin0", index)
    assert raised.value.errno == code
