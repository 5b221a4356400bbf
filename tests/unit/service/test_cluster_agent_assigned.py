"""The agent's loop where the store gives the blocks: a node of Kubernetes, on a kernel and a directory in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.cnm import overlay_record
from cni_cnm.conflists import pod_network, written_files
from cni_cnm.errors import NotReady
from cni_cnm.firewall import INET
from cni_cnm.kernel.contract.changes import FilterChange, LinkChange
from cni_cnm.kernel.nftables.nft_monitor import NftMonitor
from cni_cnm.model import NetworkSpec, ip_address, ip_interface, ip_network
from cni_cnm.service.cluster_agent import QUIET_S, TICK_S
from tests.cluster.assigning_directory import AssigningStore
from tests.cluster.examples import host
from tests.unit.service.test_cluster_agent import Running

OTHER = host("other", "", "198.51.100.12")


class Node(Running):
    """A node `me`, with settings that name a file of the runtime. It has no network yet."""

    store: AssigningStore

    def __init__(self, folder: Path, store: AssigningStore | None = None, **settings: object) -> None:
        self.path = folder / "net.d" / "10-cni-cnm.conflist"
        self.settings = ClusterSettings("kubernetes", **{"conflist": str(self.path), **settings})  # type: ignore[arg-type]
        self.begin(folder, store or AssigningStore())
        self.seen = 0
        self.loop = self.start()

    @property
    def spec(self) -> NetworkSpec:
        """As the runtime sends it."""
        return pod_network.spec("pods")

    def listed(self) -> None:
        """The first list, and what follows of it."""
        self.threads.list_all()
        self.seen = self.store.revision
        self.settle()

    def settle(self) -> None:
        """What has changed in the store is told, and what the kernel reports is looked at."""
        for _ in range(4):
            changes, self.seen = self.store.history[self.seen :], self.store.revision
            if changes:
                self.threads.report(*changes)
            self.turn(0.0, LinkChange(links=frozenset(["br"])))
            self.turn(QUIET_S)

    def join(self, *subnets: str) -> None:
        """Another node with this block."""
        self.store.assign(OTHER.name, *subnets)
        self.store.directory().announce(OTHER)
        self.settle()

    def keys(self, name: str) -> set[str]:
        return {element.key for element in self.world.nft.elements(INET, name)}

    def rules(self) -> str:
        """What the agent has declared for blocks of others."""
        return self.loop._applier._remote._declared or ""

    def why(self) -> str:
        return self.status().networks["pods"].why

    def pod(self, name: str) -> list[str]:
        return [str(one.interface) for one in self.world.add(name, self.spec).addresses]

    def marked(self) -> dict[str, str]:
        return {str(block): holder for block, holder in overlay_record.lost(self.world.record("pods")).items()}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """With a block and another node."""
    made = Node(tmp_path)
    made.store.assign("me", "10.244.1.0/24")
    made.listed()
    made.join("10.244.2.0/24")
    return made


def test_first_boot(tmp_path: Path) -> None:
    """The node is announced, gets its block, then network, bridge and routes. The file comes last."""
    node = Node(tmp_path)
    node.listed()
    assert node.store.hosts["me"].addresses
    assert "has given no podCIDR to Node me" in node.why()
    assert not node.path.exists()
    node.store.assign("me", "10.244.1.0/24")
    node.settle()
    record = node.world.record("pods")
    assert node.status().networks["pods"].ready, node.why()
    bridge, device = node.world.host.link(record.policy.bridge), node.world.host.link("cnm-vx4096")
    assert bridge is not None
    assert device is not None
    assert bridge.mtu == device.mtu == 1450
    found = json.loads(node.path.read_text())
    assert (found["name"], found["cniVersion"], found["cniVersions"]) == ("pods", "1.0.0", ["1.0.0", "1.1.0"])
    assert node.path.stat().st_mode & 0o777 == 0o644
    requests = node.store.requests
    assert node.pod("a") == ["10.244.1.2/24"]
    assert node.store.requests == requests
    assert node.world.record("pods") == record


def test_not_announced_yet(tmp_path: Path) -> None:
    """The kubelet has not made the Node, or has given it other addresses: said once, and STATUS has the reason."""
    node = Node(tmp_path)
    node.store.refusal = "the Node me has no address 192.0.2.11"
    node.store.assign("me", "10.244.1.0/24")
    node.listed()
    for _ in range(3):
        node.turn(TICK_S)
    assert node.lines.count(node.store.refusal) == 1
    assert node.why() == f"memory does not have this host as Node me yet: {node.store.refusal}"
    assert node.status().store.reachable
    node.store.refusal = ""
    node.turn(TICK_S)
    node.settle()
    assert node.status().networks["pods"].ready, node.why()


def test_addresses_that_the_node_does_not_have(tmp_path: Path) -> None:
    """The data path uses those that others know, also after a start without the store."""
    node = Node(tmp_path, address=("eth0",))
    node.world.host.add_address(node.world.link("eth0").ifindex, ip_interface("2001:db8::5/64"))
    node.store.believed = frozenset([ip_address("2001:db8::5")])
    node.store.assign("me", "10.244.1.0/24")
    node.listed()
    assert node.status().networks["pods"].ready, node.why()
    assert node.status().addresses == ("2001:db8::5",)
    assert "this host's underlay is 2001:db8::5, as memory has it" in node.lines
    device = node.world.host.link("cnm-vx4096")
    assert device is not None
    found = node.stack.vxlan(device.ifindex)
    assert found is not None
    assert found.local == ip_address("2001:db8::5")
    node.turn(TICK_S)
    node.loop = node.start()
    node.turn()
    assert node.status().addresses == ("2001:db8::5",)


@pytest.mark.parametrize("same", [True, False])
def test_installed_anew(tmp_path: Path, same: bool) -> None:
    """The Node is there, announced by the machine's former disk: at the same address it is this machine's."""
    node = Node(tmp_path)
    former = host("me", "former", "192.0.2.11" if same else "192.0.2.99")
    node.store.assign("me", "10.244.1.0/24")
    node.store.directory().announce(former)
    node.listed()
    for _ in range(2):
        node.turn(TICK_S)
        node.settle()
    status = node.status()
    if same:
        assert node.store.hosts["me"].instance != former.instance
        assert status.networks["pods"].ready, node.why()
        assert status.conflict == ""
    else:
        assert node.store.hosts["me"] == former
        assert former.instance in status.conflict


def test_store_that_does_not_answer(tmp_path: Path) -> None:
    """A node that knows nothing says why."""
    node = Node(tmp_path)
    node.threads.events.append(lambda agent, now: agent.silent("403: it may not list nodes", now))
    node.turn()
    assert node.why() == "memory does not have this host as Node me yet: 403: it may not list nodes"
    node.store.assign("me", "10.244.1.0/24")
    node.listed()
    assert node.status().networks["pods"].ready, node.why()


def test_file_is_put_back_and_never_removed(node: Node) -> None:
    """At the next tick if another program removed or changed it. Not while the data path does not stand."""
    before = node.path.read_bytes()
    node.path.unlink()
    node.turn(TICK_S)
    assert node.path.read_bytes() == before
    node.path.write_text("{}")
    inode = node.path.stat().st_ino
    node.turn(TICK_S)
    assert node.path.read_bytes() == before
    assert node.path.stat().st_ino != inode, "replaced as a whole"
    node.store.remove_node("me")
    node.settle()
    assert "does not have this host as Node me" in node.why()
    assert node.path.exists()


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    """Said once."""
    node = Node(tmp_path)
    node.path.parent.write_text("no folder")
    node.store.assign("me", "10.244.1.0/24")
    node.listed()
    for _ in range(3):
        node.turn(TICK_S)
    assert len([line for line in node.lines if "cannot be written" in line]) == 1


def test_files_of_earlier_settings_are_recorded(tmp_path: Path) -> None:
    """For the uninstall: the agent leaves a file where it is when the setting names another one."""
    node = Node(tmp_path)
    node.store.assign("me", "10.244.1.0/24")
    node.listed()
    later = tmp_path / "net.d" / "20-later.conflist"
    for _ in range(2):
        node.settings = node.settings._replace(conflist=str(later))
        node.loop = node.start()
        node.listed()
    recorded = Path(written_files.path(node.state_dir)).read_text("utf-8")
    assert recorded.splitlines() == [str(node.path), str(later)]
    assert node.path.exists()


def test_no_file_without_the_setting(tmp_path: Path) -> None:
    """The agent joins nothing by itself: the first ADD does."""
    node = Node(tmp_path, conflist="")
    node.store.assign("me", "10.244.1.0/24")
    node.listed()
    assert not node.path.parent.exists()
    assert node.world.host.link("cnm-vx4096") is None
    assert node.pod("a") == ["10.244.1.2/24"]
    node.turn(TICK_S)
    node.settle()
    assert node.status().networks["pods"].ready, node.why()


def test_blocks_of_others(node: Node) -> None:
    """Their packets are exempt from masquerade; it goes with the node."""
    node.pod("a")
    assert node.keys("remote4_24") == {"10.244.2.0"}
    assert "ip saddr { 10.244.1.0/24 }" in node.rules()
    assert node.routes() == {"10.244.2.0/24"}
    node.store.remove_node("other")
    node.settle()
    assert node.keys("remote4_24") == set()
    assert node.routes() == set()


def test_another_block(node: Node) -> None:
    """Node deleted and made again: pods that run stay, new ones get the new block, and it is said."""
    assert node.pod("a") == ["10.244.1.2/24"]
    node.store.remove_node("me")
    node.settle()
    assert "does not have this host as Node me" in node.why()
    node.store.assign("me", "10.244.7.0/24")
    node.turn(TICK_S)
    node.settle()
    assert node.status().networks["pods"].ready, node.why()
    assert node.pod("b") == ["10.244.7.2/24"]
    assert node.marked() == {"10.244.1.0/24": "no host"}
    assert any("10.244.7.0/24 of network pods now" in line for line in node.lines)
    assert any("10.244.1.0/24 are not reached" in one for one in node.status().warnings)
    assert "snat ip to 10.244.7.1" in node.rules()
    assert "ip saddr { 10.244.7.0/24 }" in node.rules(), "the old block is not routed back"
    bridge = node.world.host.link(node.world.record("pods").policy.bridge)
    assert bridge is not None
    assert {str(one) for one in node.world.host.addresses(bridge.ifindex)} == {"10.244.1.1/24", "10.244.7.1/24"}
    node.world.delete("a", "pods")
    node.turn(TICK_S)
    assert node.marked() == {}
    assert [str(one) for one in node.world.host.addresses(bridge.ifindex)] == ["10.244.7.1/24"]


def test_a_pod_of_an_earlier_block_costs_no_comparison(node: Node) -> None:
    """Not at each tick: with 1,000 nodes the kernel's entries are many."""
    node.pod("old")
    node.store.assign("me", "10.244.9.0/24")
    node.settle()
    compares = node.status().figures["compares"]
    for _ in range(6):
        node.turn(TICK_S)
    assert node.marked()
    assert node.status().figures["compares"] - compares <= 1


def test_a_block_that_another_node_has_now(node: Node) -> None:
    """It is named, and the route to it waits for this host's pods."""
    node.pod("a")
    node.store.assign("me", "10.244.7.0/24")
    node.store.assign("other", "10.244.1.0/24")
    node.settle()
    node.turn(TICK_S)
    assert node.marked()["10.244.1.0/24"] in ("other", "no host")
    assert node.routes() == set()
    node.world.delete("a", "pods")
    node.turn(TICK_S)
    node.settle()
    assert node.routes() == {"10.244.1.0/24"}


def test_second_family(node: Node) -> None:
    """New pods have both; those that run keep the one."""
    node.pod("a")
    node.store.assign("me", "10.244.1.0/24", "fd10:244:0:1::/64")
    node.settle()
    assert node.pod("b") == ["10.244.1.3/24", "fd10:244:0:1::2/64"]
    node.store.assign("me", "10.244.1.0/24")
    node.settle()
    assert node.pod("c") == ["10.244.1.4/24"]
    node.store.assign("me", "10.244.9.0/24", "fd10:244:0:9::/64")
    node.settle()
    assert node.pod("d") == ["10.244.9.2/24", "fd10:244:0:9::2/64"]
    assert set(node.marked()) == {"10.244.1.0/24"}
    for pod in "abcd":
        node.world.delete(pod, "pods")
    node.turn(TICK_S)
    assert node.world.blocks("pods") == ["10.244.9.0/24"]


def test_a_block_that_overlaps_the_host(tmp_path: Path) -> None:
    """Said once, with what is in the way; STATUS is 50 with it, and no file is written."""
    node = Node(tmp_path)
    node.store.assign("me", "192.0.2.0/25")
    node.listed()
    node.turn(TICK_S)
    assert len([line for line in node.lines if "cannot be used" in line]) == 1
    assert "eth0" in node.why()
    assert not node.path.exists()
    node.store.assign("me", "10.244.1.0/24")
    node.settle()
    assert node.status().networks["pods"].ready, node.why()


def test_reboot_without_the_store(node: Node) -> None:
    """From the disk: the bridge and the routes are made again, and the runtime's file is there."""
    node.pod("a")
    node.turn(TICK_S)
    bridge = node.world.record("pods").policy.bridge
    for name in (bridge, "cnm-vx4096"):
        link = node.world.host.link(name)
        assert link is not None
        node.world.host.delete_link(link.ifindex)
    node.path.unlink()
    node.loop = node.start()
    node.turn()
    node.settle()
    assert node.world.host.link(bridge) is not None
    assert node.routes() == {"10.244.2.0/24"}
    assert node.status().networks["pods"].ready, node.why()
    assert node.path.exists()
    assert node.pod("b") == ["10.244.1.3/24"]


def test_settings_that_differ_from_the_others(tmp_path: Path) -> None:
    """STATUS names both. No network is made with the others' value behind the administrator's back."""
    node = Node(tmp_path, port=4800)
    node.store.assign("me", "10.244.1.0/24")
    node.listed()
    assert "this host's settings have port 4800, and most nodes of the network 4799" in node.why()
    assert not node.path.exists()


def test_no_pod_starts_with_settings_that_differ(node: Node) -> None:
    """Runtimes before containerd 2 ask no STATUS. Pods that run stay, and are as they should be."""
    node.pod("a")
    agreed, own = node.store.network, node.settings
    node.settings = own._replace(port=4801)
    node.loop = node.start()
    node.listed()
    with pytest.raises(NotReady, match="settings have port 4801, and most nodes of the network 4799"):
        node.pod("b")
    node.world.check(node.spec, "a")
    assert node.marked() == {}
    assert node.keys("remote4_24") == {"10.244.2.0"}
    node.settings = own
    node.loop = node.start()
    node.turn()
    with pytest.raises(NotReady, match="4801"):
        node.pod("b")  # the store was not read yet
    node.listed()
    assert overlay_record.network_of(node.world.record("pods")) == agreed
    assert node.pod("b") == ["10.244.1.3/24"]
    assert any(line == "network pods gives addresses again" for line in node.lines)


def test_no_pod_starts_under_the_name_of_another_machine(node: Node) -> None:
    node.pod("a")
    other = host("me", "other", "192.0.2.99")
    del node.store.hosts["me"]
    node.store.directory().announce(other)
    node.settle()
    node.turn(TICK_S)
    node.turn()
    with pytest.raises(NotReady, match=other.instance):
        node.pod("b")
    node.loop = node.start()
    node.listed()
    with pytest.raises(NotReady, match=other.instance):
        node.pod("b")
    node.store.remove_node("me")
    node.store.assign("me", "10.244.1.0/24")
    node.turn(TICK_S)
    node.settle()
    assert node.status().networks["pods"].ready, node.why()
    assert node.pod("b") == ["10.244.1.3/24"]


def test_settings_that_change_on_all_hosts(node: Node) -> None:
    """The record follows, with pods on it."""
    node.pod("a")
    changed = node.store.network._replace(port=4800, direct="never")
    node.store.network = node.store.networks["pods"] = changed
    node.settings = node.settings._replace(port=4800, direct="never")
    node.loop = node.start()
    node.listed()
    assert overlay_record.network_of(node.world.record("pods")) == changed
    assert node.status().networks["pods"].ready, node.why()
    assert node.pod("b") == ["10.244.1.3/24"]


def test_subnets_that_become_known(node: Node) -> None:
    """Not under pods: which exceptions they have would be wrong. Without them it is taken over."""
    node.pod("a")
    changed = node.store.network._replace(subnets=(ip_network("10.244.0.0/16"),))
    node.store.network = node.store.networks["pods"] = changed
    node.settings = node.settings._replace(subnets=changed.subnets)
    node.loop = node.start()
    node.listed()
    assert "its pods on this host must end first" in node.why()
    node.world.delete("a", "pods")
    node.turn(TICK_S)
    node.settle()
    assert node.status().networks["pods"].ready, node.why()
    assert node.keys("overlay4") == {"10.244.0.0/16 . 10.244.0.0/16"}
    assert node.keys("remote4_24") == set()
    assert [str(one["dst"]) for one in node.world.record("pods").ipam["routes"]] == ["10.244.0.0/16"]


def test_nothing_is_claimed_or_released(node: Node) -> None:
    """A block without a network is no orphan: the store gives it."""
    node.world.controller.network("pods").delete()
    for _ in range(15):
        node.turn(TICK_S)
    assert ("pods", int(ip_network("10.244.1.0/24").network_address)) in node.store.blocks
    assert node.status().networks["pods"].ready, "it is joined again"


def test_a_network_of_another_driver(tmp_path: Path) -> None:
    node = Node(tmp_path)
    ipam = node.spec.ipam._replace(config={"subnet": "10.9.0.0/24"})
    node.world.add("a", NetworkSpec("pods", "bridge", {"profile": "cnm"}, ipam))
    node.store.assign("me", "10.244.1.0/24")
    node.listed()
    assert "has the driver bridge" in node.why()


def test_status_of_the_runtime(node: Node) -> None:
    """50 with what the agent says, as soon as it says so."""
    node.world.controller.status(node.spec, exhausted_is_error=False)
    node.store.assign("me")
    node.settle()
    with pytest.raises(NotReady, match="has given no podCIDR to Node me"):
        node.world.controller.status(node.spec, exhausted_is_error=False)
    assert node.pod("a") == ["10.244.1.2/24"], "a pod that the kubelet starts nevertheless"


def test_another_instance_of_the_name(tmp_path: Path) -> None:
    """Whether it is this machine set up anew, or another one, the store knows: the agent asks again and again."""
    node = Node(tmp_path)
    node.store.assign("me", "10.244.1.0/24")
    node.store.hosts["me"] = other = host("me", "other", "192.0.2.99")
    node.listed()
    node.turn(TICK_S)
    assert other.instance in node.status().conflict
    assert len([line for line in node.lines if other.instance in line]) == 1
    with pytest.raises(NotReady, match=other.instance):
        node.world.controller.status(node.spec, exhausted_is_error=False)
    node.store.remove_node("me")
    node.store.assign("me", "10.244.1.0/24")
    node.turn(TICK_S)
    node.settle()
    assert node.status().conflict == ""
    assert node.status().networks["pods"].ready, node.why()


class Flushed:
    """The kernel's notifications of nftables: another program has flushed a chain."""

    def take(self) -> FilterChange:
        return FilterChange(broken=True)


def test_rules_that_another_program_flushes(node: Node) -> None:
    """They are back as soon as nothing more is reported."""
    node.pod("a")
    node.world.nft.delete_table(INET)
    node.loop._packet_filter = cast(NftMonitor, Flushed())
    node.loop.turn(node.now, flushed=True)
    assert node.keys("remote4_24") == set()
    node.turn(QUIET_S)
    assert node.keys("remote4_24") == {"10.244.2.0"}


def test_an_hour_without_the_store(node: Node) -> None:
    """With a restart in it: pods start and end, entries stay, STATUS is 0 with a warning, and nothing is sent."""
    node.pod("a")
    node.turn(TICK_S)
    requests = node.store.requests
    why = "the API does not answer"
    for minute in range(60):
        node.threads.events.append(lambda agent, now: agent.silent(why, now))
        for _ in range(6):
            node.turn(TICK_S)
        if minute == 30:
            node.loop = node.start()
            node.turn()
    assert node.routes() == {"10.244.2.0/24"}
    assert node.keys("remote4_24") == {"10.244.2.0"}
    assert node.pod("b") == ["10.244.1.3/24"]
    node.world.delete("a", "pods")
    assert why in " ".join(node.world.controller.status(node.spec, exhausted_is_error=False))
    assert node.store.requests == requests
    assert sum(why in line for line in node.lines) == 2, "once, and once by the new process"
