"""The agent's loop, on a kernel and a directory in memory: what it reads, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import cast

import pytest

from cni_cnm.cluster import known, status_file
from cni_cnm.cluster.actions import Action
from cni_cnm.cluster.agent import Agent
from cni_cnm.cluster.apply import Applier
from cni_cnm.cluster.host_file import HostIdentity
from cni_cnm.cluster.underlay import DEVICE_PREFIX
from cni_cnm.cluster.values import FIRST_VNI, Block, Change, ClusterHost
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import grow_overlay
from cni_cnm.errors import CnmError, Conflict, IoFailed, NotReady
from cni_cnm.kernel.contract.changes import LinkChange
from cni_cnm.kernel.contract.route import CLUSTER
from cni_cnm.kernel.rtnetlink.bridge_monitor import BridgeMonitor
from cni_cnm.service.cluster_agent import COMPARE_S, LIMIT_S, QUIET_S, SAVE_S, TICK_S, ClusterAgent
from cni_cnm.service.directory_threads import DirectoryThreads
from tests.cluster.hosts import ClusterWorld, overlay
from tests.cluster.memory_directory import MemoryStore

DEVICE = f"{DEVICE_PREFIX}{FIRST_VNI}"
OTHER = ClusterHost("other", "2" * 32, (ip_address("198.51.100.12"),), "02:00:00:00:00:02")
Event = Callable[[Agent, float], Iterator[Action]]


class Store:
    """In place of the threads: calls are made at once, news come when the test says."""

    name = "memory"

    def __init__(self, store: MemoryStore) -> None:
        self.directory = store.directory()
        self.assigns = self.directory.assigns
        self.host: ClusterHost | None = None
        self.events: list[Event] = []
        self.before_release: Callable[[], object] = lambda: None

    def take(self) -> Sequence[Event]:
        events, self.events = self.events, []
        return events

    def list_all(self) -> None:
        snapshot = self.directory.snapshot()
        self.events.append(lambda agent, now: agent.listed(snapshot, (), now))

    def report(self, *changes: Change) -> None:
        revision = self.directory.store.revision
        self.events.append(lambda agent, now: agent.changed(revision, changes, (), now))

    def announce(self, host: ClusterHost) -> None:
        try:
            self.directory.announce(host)
        except Conflict as error:
            why = error.msg
            self.events.append(lambda agent, _: agent.refused(why))
        except NotReady as error:
            reason = error.msg
            self.events.append(lambda agent, _: agent.unannounced(reason))
        else:
            self.events.append(lambda agent, _: agent.announced(host))

    def claim_again(self, block: Block) -> None:
        ours = self.directory.claim_again(block)
        self.events.append(lambda agent, _: agent.claimed(block, ours))

    def release(self, block: Block, unused: Callable[[Block], AbstractContextManager[bool]]) -> None:
        self.before_release()
        with unused(block) as free:
            if free:
                self.directory.release(block)


class Monitor:
    """The kernel's notifications, as the test has them."""

    change = LinkChange()

    def take(self, own_port: int) -> LinkChange:
        return self.change


class Running:
    """An agent on a host `me` with the network `web`."""

    settings = ClusterSettings("etcd")

    def __init__(self, folder: Path) -> None:
        self.begin(folder, MemoryStore())
        self.world.add("a", overlay("web", "10.32.0.0/16"))
        self.loop = self.start()

    def begin(self, folder: Path, store: MemoryStore) -> None:
        self.store = store
        self.world = ClusterWorld(folder, self.store, "me")
        uplink = self.world.link("eth0").ifindex
        self.world.host.add_address(uplink, ip_interface("192.0.2.11/24"))
        self.threads, self.monitor = Store(self.store), Monitor()
        self.lines: list[str] = []
        self.stack = self.world.namespaces.overlay()
        self.state_dir, self.run_dir = self.world.engine.settings.state_dir, self.world.engine.settings.run_dir
        self.now = 1000.0

    def start(self) -> ClusterAgent:
        me = self.world.cluster.me
        return ClusterAgent(
            HostIdentity(me.name, me.instance),
            known.load(self.state_dir),
            self.settings,
            self.world.engine,
            self.stack,
            Applier(self.stack, self.world.nft),
            cast(DirectoryThreads, self.threads),
            cast(BridgeMonitor, self.monitor),
            self.lines.append,
        )

    def turn(self, seconds: float = 0.0, change: LinkChange | None = None) -> None:
        self.now += seconds
        if change is not None:
            self.monitor.change = change
        self.loop.turn(self.now, changed=change is not None)

    def routes(self) -> set[str]:
        return {str(route.dst) for route in self.stack.routes(protocol=CLUSTER) if not route.kind}

    def status(self) -> status_file.AgentStatus:
        found = status_file.read(self.run_dir)
        assert found is not None
        return found

    def join_other(self) -> Block:
        """Another host joins the network; this one is told."""
        self.threads.directory.announce(OTHER)
        network = self.store.networks["web"]
        block = self.store.directory().claim(network, OTHER)
        self.threads.report(Change("host", OTHER.name, OTHER), Change("block", block.key, block))
        return block


@pytest.fixture
def running(tmp_path: Path) -> Running:
    """It has read the directory."""
    made = Running(tmp_path)
    made.threads.list_all()
    made.turn()
    made.turn()
    return made


def test_start(running: Running) -> None:
    """The host is announced, the device made, and STATUS has that the data path stands."""
    assert running.store.hosts["me"].addresses == (ip_address("192.0.2.11"),)
    assert running.threads.host == running.store.hosts["me"]
    device = running.stack.link(DEVICE)
    assert device is not None
    assert device.up
    assert device.mtu == running.world.link("eth0").mtu - 50
    web = running.status().networks["web"]
    assert (web.ready, web.why) == (True, "")
    assert "network web: the data path stands" in running.lines


def test_another_host(running: Running) -> None:
    """Its block is reached as soon as it is reported, and not any more when its host is gone."""
    block = running.join_other()
    running.turn()
    assert running.routes() == {str(block.subnets[0])}
    assert running.status().networks["web"].remote_blocks == 1
    running.threads.directory.leave(OTHER.name, force=True)
    running.threads.report(Change("block", block.key, None), Change("host", OTHER.name, None))
    running.turn()
    assert running.routes() == set()
    assert not running.stack.fdb(running.world.link(DEVICE).ifindex)


def test_kept_on_the_disk(running: Running) -> None:
    """Some seconds after a change, once. Another agent works from it while the store is away."""
    block = running.join_other()
    running.turn()
    running.turn(SAVE_S)
    assert known.load(running.state_dir).hosts["other"] == OTHER
    running.stack.delete_link(running.world.link(DEVICE).ifindex)
    running.loop, running.threads = running.start(), Store(MemoryStore())
    running.loop = running.start()
    running.turn()
    assert running.routes() == {str(block.subnets[0])}
    assert running.status().networks["web"].ready
    assert not running.status().store.reachable


def test_started_again_without_a_disk(running: Running) -> None:
    """What an earlier agent put into the kernel stays until the directory is read: the disk may not have it yet."""
    block = running.join_other()
    running.turn()
    Path(known.path(running.state_dir)).unlink(missing_ok=True)
    others, running.threads = running.threads, Store(running.store)
    running.loop = running.start()
    running.turn()
    assert running.routes() == {str(block.subnets[0])}
    assert running.stack.fdb(running.world.link(DEVICE).ifindex)
    others.directory.leave(OTHER.name, force=True)
    running.threads.list_all()
    running.turn()
    assert running.routes() == set()
    assert not running.stack.fdb(running.world.link(DEVICE).ifindex)


def test_device_deleted(running: Running) -> None:
    """It comes back a moment after the kernel has reported it, with its entries."""
    block = running.join_other()
    running.turn()
    running.stack.delete_link(running.world.link(DEVICE).ifindex)
    gone = LinkChange(links=frozenset([DEVICE]), deleted=frozenset([DEVICE]))
    running.turn(0, gone)
    assert running.stack.link(DEVICE) is None
    running.turn(QUIET_S)
    assert running.stack.link(DEVICE) is not None
    assert running.routes() == {str(block.subnets[0])}


def test_uplink_was_down(running: Running) -> None:
    """The kernel does not report the IPv4 routes that the link has lost, only the link: they are put back."""
    near = OTHER._replace(name="near", addresses=(ip_address("192.0.2.12"),))
    running.threads.directory.announce(near)
    block = running.store.directory().claim(running.store.networks["web"], near)
    running.threads.report(Change("host", near.name, near), Change("block", block.key, block))
    running.turn()
    (route,) = (one for one in running.stack.routes(protocol=CLUSTER) if not one.kind)
    assert route.gw == near.addresses[0]
    running.stack.delete_route(route)
    running.turn(0, LinkChange(links=frozenset(["eth0"])))
    running.turn(QUIET_S)
    assert route in running.stack.routes(protocol=CLUSTER)


def test_changes_without_end(running: Running) -> None:
    """Reports that never stop do not put off the look for longer than the limit."""
    running.stack.delete_link(running.world.link(DEVICE).ifindex)
    gone = LinkChange(links=frozenset([DEVICE]))
    running.turn(0, gone)
    for _ in range(int(LIMIT_S / (QUIET_S / 2)) + 2):
        running.turn(QUIET_S / 2, gone)
    assert running.stack.link(DEVICE) is not None


def test_another_address(running: Running) -> None:
    """It is announced, and the device sends from it."""
    uplink = running.world.link("eth0").ifindex
    running.world.host.delete_address(uplink, ip_interface("192.0.2.11/24"))
    running.world.host.add_address(uplink, ip_interface("192.0.2.91/24"))
    running.turn(0, LinkChange(addressed=frozenset([uplink]), stripped=frozenset([uplink])))
    running.turn(QUIET_S)
    assert running.store.hosts["me"].addresses == (ip_address("192.0.2.91"),)
    vxlan = running.stack.vxlan(running.world.link(DEVICE).ifindex)
    assert vxlan is not None
    assert vxlan.local == ip_address("192.0.2.91")


def test_mtu_of_the_uplink(running: Running) -> None:
    """It is followed without a report: an uplink may be a veth, as pods have."""
    uplink = running.world.link("eth0")
    running.world.host.set_link(uplink.ifindex, mtu=1400)
    running.turn(TICK_S)
    assert running.world.link(DEVICE).mtu == 1350


def test_without_address(running: Running) -> None:
    """Entries stay, and STATUS has the reason."""
    block = running.join_other()
    running.turn()
    uplink = running.world.link("eth0").ifindex
    running.world.host.delete_address(uplink, ip_interface("192.0.2.11/24"))
    running.turn(0, LinkChange(stripped=frozenset([uplink])))
    running.turn(QUIET_S)
    assert running.routes() == {str(block.subnets[0])}
    assert "underlay address is not known" in running.status().networks["web"].why


def test_lost_block(running: Running) -> None:
    """A store from before: another host has the block. Its record says so, and no address of it is given."""
    mine = next(iter(running.store.blocks.values()))
    key = next(iter(running.store.blocks))
    running.store.blocks[key] = mine._replace(host="other", instance=OTHER.instance)
    running.store.hosts["other"] = OTHER
    running.threads.list_all()
    running.turn()
    running.turn()
    assert running.status().networks["web"].lost == (str(mine.subnets[0]),)
    with pytest.raises(CnmError, match="other hosts have this host's blocks") as error:
        running.world.add("b")
    assert error.value.code == 50
    running.store.blocks[key] = mine
    running.turn(TICK_S)
    running.threads.list_all()
    running.turn(TICK_S)
    running.turn()
    assert running.status().networks["web"].lost == ()
    running.world.add("c")


def test_lost_block_on_a_full_disk(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent goes on and says so once. The mark is written when it can be, also if the store is away then."""
    key, mine = next(iter(running.store.blocks.items()))
    running.store.blocks[key] = mine._replace(host="other", instance=OTHER.instance)
    running.threads.list_all()

    def full(*_: object) -> None:
        raise IoFailed("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(running.world.engine.store, "put", full)
        for _ in range(4):
            running.turn(TICK_S)
    assert [line for line in running.lines if "no space left" in line] == [
        f"the block {mine.subnets[0]} of network web cannot be marked as other's: no space left on device"
    ]
    running.threads.events = [lambda agent, now: agent.silent("refused", now)]
    running.turn()
    assert overlay_record.lost(running.world.record()) == {}
    running.turn(TICK_S)
    assert overlay_record.lost(running.world.record()) == {mine.subnets[0]: "other"}


def test_lost_block_that_is_free_again_after_a_restart(running: Running) -> None:
    """The mark is on the disk only: the new agent claims the block and takes the mark away."""
    block = ip_network(running.world.blocks()[0])
    grow_overlay.mark_lost(running.world.engine, "web", block, "other")
    running.loop = running.start()
    running.threads.list_all()
    running.turn(TICK_S)
    running.turn(TICK_S)
    running.turn()
    assert overlay_record.lost(running.world.record()) == {}
    running.world.add("b")


def test_another_instance(running: Running) -> None:
    """No life is shown under its name, and STATUS names both."""
    running.store.hosts["me"] = running.store.hosts["me"]._replace(instance="9" * 32)
    running.threads.list_all()
    running.turn()
    assert running.threads.host is None
    assert "9" * 32 in running.status().conflict


def test_removed_network(running: Running) -> None:
    """What is left of it is removed: the device, and a block that could not be released."""
    running.world.delete("a")
    running.world.cluster.reachable = False
    running.world.controller.network("web").delete()
    running.turn(TICK_S)
    assert running.stack.link(DEVICE) is None
    for _ in range(14):
        running.turn(TICK_S)
    assert not running.store.blocks


def test_network_made_again(running: Running) -> None:
    """Its block is not released, also if the agent has decided that just before."""
    running.world.delete("a")
    running.world.cluster.reachable = False
    running.world.controller.network("web").delete()
    running.world.cluster.reachable = True
    made: list[object] = []
    running.threads.before_release = lambda: made.append(running.world.add("b"))
    for _ in range(14):
        running.turn(TICK_S)
    assert made
    assert len(running.store.blocks) == 1


def test_damaged_record(running: Running) -> None:
    """Its network goes on, and its block stays this host's."""
    path = Path(running.state_dir) / "networks" / "web.json"
    path.write_text("{", encoding="utf-8")
    for _ in range(15):
        running.turn(TICK_S)
    assert running.stack.link(DEVICE) is not None
    assert len(running.store.blocks) == 1


def test_damaged_record_after_a_restart(running: Running) -> None:
    """The new agent does not know the network. Its device and routes stay; they go when the record is removed."""
    block = running.join_other()
    running.turn()
    path = Path(running.state_dir) / "networks" / "web.json"
    path.write_text("{", encoding="utf-8")
    running.loop = running.start()
    running.threads.list_all()
    running.turn(TICK_S)
    running.turn(TICK_S)
    assert running.stack.link(DEVICE) is not None
    assert running.routes() == {str(block.subnets[0])}
    path.unlink()
    running.turn(TICK_S)
    running.turn(COMPARE_S)
    assert running.stack.link(DEVICE) is None
    assert running.routes() == set()


def test_nothing_happens(running: Running) -> None:
    """No file is written, and no request is made."""
    running.threads.list_all()
    running.turn(SAVE_S)
    running.turn(TICK_S)
    place = Path(status_file.path(running.run_dir))
    before, requests, lines = place.stat().st_mtime_ns, running.store.requests, list(running.lines)
    for _ in range(10):
        running.turn(TICK_S)
    assert place.stat().st_mtime_ns == before
    assert running.store.requests == requests
    assert running.lines == lines
