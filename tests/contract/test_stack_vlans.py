"""What every Stack promises about the VLANs of bridge ports, where the kernel filters them."""

from __future__ import annotations

import errno

import pytest

from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel import Stack, Vlan
from cni_cnm.kernel.stack import KernelStack
from tests.memory_kernel.namespaces import MemoryNamespaces


@pytest.fixture(params=["memory", "kernel"])
def filtering(request: pytest.FixtureRequest) -> Stack:
    """A host with the filtering bridge br0 (index 2) and its port veth0."""
    stack: Stack
    if request.param == "memory":
        stack = MemoryNamespaces().host()
    else:
        stack = request.getfixturevalue("host")
        assert isinstance(stack, KernelStack)
    try:
        stack.add_bridge("br0", mac="02:00:00:00:00:01", vlan_filtering=True)
    except KernelFeatureMissing as error:
        pytest.skip(str(error))
    bridge = stack.link("br0")
    assert bridge is not None
    assert bridge.vlan_filtering
    stack.add_veth("veth0", peer="veth1", peer_stack=stack, master=bridge.ifindex)
    return stack


@pytest.mark.parametrize("name", ["br0", "veth0"])
def test_vlans_of_ports_and_of_the_bridge(filtering: Stack, name: str) -> None:
    """VLANs are added, changed and deleted on a port and on the bridge itself; only one is the PVID."""
    link = filtering.link(name)
    assert link is not None
    assert filtering.vlans(link.ifindex) == [Vlan(1, pvid=True, untagged=True)]
    filtering.add_vlan(link.ifindex, Vlan(100, pvid=True, untagged=True))
    filtering.add_vlan(link.ifindex, Vlan(200))
    assert filtering.vlans(link.ifindex) == [
        Vlan(1, untagged=True),
        Vlan(100, pvid=True, untagged=True),
        Vlan(200),
    ]
    filtering.delete_vlan(link.ifindex, 1)
    assert [vlan.vid for vlan in filtering.vlans(link.ifindex)] == [100, 200]
    with pytest.raises(KernelError) as error:
        filtering.delete_vlan(link.ifindex, 1)
    assert error.value.errno == errno.ENOENT
    with pytest.raises(KernelError) as error:
        filtering.add_vlan(link.ifindex, Vlan(4095))
    assert error.value.errno == errno.EINVAL
