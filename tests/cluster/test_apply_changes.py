"""Random changes of a cluster, applied one batch after the other: the kernel is then as a whole comparison makes it."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from cni_cnm.cluster.apply import Applied, Applier
from cni_cnm.cluster.plan import Plan
from cni_cnm.cluster.underlay import Here, Member
from cni_cnm.cluster.uplink import uplinks
from cni_cnm.cluster.values import Block, Change
from cni_cnm.firewall import INET
from cni_cnm.kernel.contract.overlay_stack import FdbEntry, Neighbour
from cni_cnm.kernel.contract.route import CLUSTER
from tests.cluster.assigning_directory import PODS
from tests.cluster.clusters import OWN_MAC, host, instance
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft
from tests.memory_kernel.overlay_stack import MemoryOverlayStack
from tests.unit.cluster.test_plan import CHANGES, members
from tests.unit.cluster.test_underlay_without_subnets import SIDE

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


GIVEN = [("10.244.1.0/24",), ("10.244.2.0/24", "fd10:244:0:2::/64"), ("10.244.16.0/20",), ("fd10:244:0:9::/64",)]
"""What a store gives to nodes. Each is one node's at a time."""
NODES = [host("n1", "192.0.2.11"), host("n2", "198.51.100.2"), host("n1", "198.51.100.1"), host("n3", "2001:db8::3")]
ASSIGNED = st.one_of(
    st.sampled_from(NODES).map(lambda one: Change("host", one.name, one)),
    st.sampled_from(NODES).map(lambda one: Change("host", one.name, None)),
    st.tuples(st.sampled_from(GIVEN), st.sampled_from(["n1", "n2", "n3", ""])).map(lambda one: assigned(*one)),
)


def assigned(subnets: tuple[str, ...], name: str) -> Change:
    """The node has this block; "": no node has."""
    found = Block("pods", tuple(map(ip_network, subnets)), name, instance(name))
    return Change("block", found.key, found if name else None)


@settings(max_examples=40)
@given(st.lists(st.lists(ASSIGNED, max_size=4), max_size=6))
def test_blocks_that_a_store_gives(batches: list[list[Change]]) -> None:
    """The packet filter has the blocks that have a route, and no other."""
    stack, nft = made(), MemoryNft()
    addresses = frozenset(address.ip for _, address in stack.all_addresses())
    own = Block("pods", (ip_network("10.244.0.0/24"),), "n0", instance("n0"))
    plan = Plan(Here("n0", OWN_MAC, uplinks(stack, ["eth0"]), addresses), [Member(PODS, (own,), own=SIDE)], {}, [])
    applier = Applier(stack, nft)
    applier.whole(plan.wanted())
    for batch in batches:
        done = applier.change(plan.change(batch))
        assert (done.problems, done.broken) == ((), {})
        routed = {str(route.dst.network_address) for route in stack.routes(protocol=CLUSTER)}
        assert {one.key for one in nft.elements(INET) if one.set.startswith("remote")} == routed
        assert applier.whole(plan.wanted()) == Applied()
