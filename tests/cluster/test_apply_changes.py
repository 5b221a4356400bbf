"""Random changes of a cluster, applied one batch after the other: the kernel is then as a whole comparison makes it."""

from __future__ import annotations

from ipaddress import ip_interface

from hypothesis import given, settings
from hypothesis import strategies as st

from cni_cnm.cluster.apply import Applied, Applier
from cni_cnm.cluster.plan import Plan
from cni_cnm.cluster.underlay import Here
from cni_cnm.cluster.uplink import uplinks
from cni_cnm.cluster.values import Change
from cni_cnm.kernel.contract.overlay_stack import FdbEntry, Neighbour
from tests.cluster.clusters import OWN_MAC
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft
from tests.memory_kernel.overlay_stack import MemoryOverlayStack
from tests.unit.cluster.test_plan import CHANGES, members

LINKS = {
    "eth0": ["192.0.2.10/24", "2001:db8::10/64"],
    "br-web": ["10.32.0.1/24", "fd32::1/64"],
    "br-db": ["10.33.0.1/24"],
}


def made() -> MemoryOverlayStack:
    stack = MemoryNamespaces().overlay()
    for number, (name, addresses) in enumerate(LINKS.items()):
        stack.add_bridge(name, mac=f"02:00:00:00:0b:{number:02x}")
        link = stack.link(name)
        assert link is not None
        stack.set_link(link.ifindex, up=True)
        for address in addresses:
            stack.add_address(link.ifindex, ip_interface(address))
    return stack


@settings(max_examples=40)
@given(st.lists(st.lists(CHANGES, max_size=4), max_size=6))
def test_changes_lead_to_what_whole_makes(batches: list[list[Change]]) -> None:
    """Comparing finds nothing to do after each batch, twice, and entries of an administrator are still there."""
    stack, nft = made(), MemoryNft()
    addresses = frozenset(address.ip for _, address in stack.all_addresses())
    plan = Plan(Here("n0", OWN_MAC, uplinks(stack, ["eth0"]), addresses), members(), {}, [])
    applier = Applier(stack, nft)
    applier.whole(plan.wanted())
    device = stack.link("cnm-vx4096")
    assert device is not None
    neighbour = Neighbour(device.ifindex, ip_interface("10.99.0.1/32").ip, "02:00:00:00:77:01")
    entry = FdbEntry(device.ifindex, "02:00:00:00:77:01", ip_interface("203.0.113.7/32").ip)
    stack.add_neighbour(neighbour)
    stack.add_fdb_entry(entry)
    for batch in batches:
        done = applier.change(plan.change(batch))
        assert (done.problems, done.broken) == ((), {})
        assert Applier(stack, nft).whole(plan.wanted()) == Applied()
        assert neighbour in stack.neighbours(device.ifindex)
        assert entry in stack.fdb(device.ifindex)
    applier.whole([])
    assert stack.links(kind="vxlan") == []
    assert nft.sets == {}
