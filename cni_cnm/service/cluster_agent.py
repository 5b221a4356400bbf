"""The agent of a cluster's host: reads what happens, lets cluster/agent.py decide, and does what it says.

    directory_threads.py    the store: what changes there, and what this host writes         ─┐
    kernel notifications    links, addresses, default routes                                  ├─► cluster/agent.py
    STATE_DIR/networks      the overlay networks of this host                                ─┘         │
                                                                                                       ▼
    cluster/plan.py, cluster/apply.py    routes, neighbours, forwarding entries, devices in the kernel
    STATE_DIR/cluster/known              what is known of the cluster, for a start without the store
    RUN_DIR/cluster/status.json          what STATUS reads

The loop sleeps until something happens, at most ten seconds.
"""

from __future__ import annotations

import os
import select
from contextlib import ExitStack, closing, contextmanager
from time import monotonic, time

from cni_cnm.cluster import accepted_hosts, input_obstacles, known, status_file, stores
from cni_cnm.cluster.actions import Announce, Assign, ClaimAgain, Compare, Hold, MarkLost, Release, Save, Say, Update
from cni_cnm.cluster.agent import Agent
from cni_cnm.cluster.apply import Applied, Applier
from cni_cnm.cluster.assigned_blocks import AssignedBlocks
from cni_cnm.cluster.plan import Plan
from cni_cnm.cluster.status_file import AgentStatus
from cni_cnm.cluster.underlay import DEVICE_PREFIX, Here, Member, Port
from cni_cnm.cluster.uplink import uplinks
from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network.grow_overlay import mark_lost
from cni_cnm.cnm.records import damaged_networks, load_network, network_records
from cni_cnm.errors import CnmError, DamagedRecord, TryAgain
from cni_cnm.firewall import TABLES
from cni_cnm.frontend.events import CLUSTER, Event, Reader
from cni_cnm.kernel.contract.changes import NO_LINKS
from cni_cnm.kernel.nftables.nft_monitor import NftMonitor
from cni_cnm.kernel.overlay_stack import KernelOverlayStack
from cni_cnm.kernel.rtnetlink.bridge_monitor import BridgeMonitor
from cni_cnm.kernel.setns import own_fd
from cni_cnm.service import host_identity
from cni_cnm.service.directory_threads import DirectoryThreads
from cni_cnm.service.pod_network import PodNetwork, own_side, wanted_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from cni_cnm.cluster.actions import Action
    from cni_cnm.cluster.host_file import HostIdentity
    from cni_cnm.cluster.uplink import Uplink
    from cni_cnm.cluster.values import Block, Change, OverlayNetwork
    from cni_cnm.cluster_settings import ClusterSettings
    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.host import Host
    from cni_cnm.kernel.contract.changes import LinkChange
    from cni_cnm.kernel.contract.overlay_stack import OverlayStack
    from cni_cnm.model import IPNetwork

TICK_S = 10.0
QUIET_S, LIMIT_S = 0.1, 2.0
"""Another program makes many changes when it starts: they are looked at when there was none for QUIET_S, or after
LIMIT_S."""
LOCK_S = 1.0
"""A network that is made or grows just now may get the block: then it is not released."""
SAVE_S = 5.0
"""From the first change of what is known to its writing: many changes are written once."""
COMPARE_S = 300.0
"""Neighbours and forwarding entries that another program removes are not reported. They are looked for so often."""
PROGRAM = "cni-cnm"
"""Name of this program's processes: what they change in the packet filter is no news."""
_NEVER = float("inf")


class ClusterAgent:
    """One host's agent, from its start to its end. The caller closes what it is handed.

    `before` is what the disk has of the cluster, `cluster` the settings of that name.
    """

    def __init__(
        self,
        me: HostIdentity,
        before: known.Known,
        cluster: ClusterSettings,
        host: Host,
        stack: OverlayStack,
        applier: Applier,
        threads: DirectoryThreads,
        monitor: BridgeMonitor,
        note: Callable[[str], None],
        packet_filter: NftMonitor | None = None,
    ) -> None:
        self._me = me
        self._address = cluster.address
        self._host = host
        self._settings = host.settings
        self._stack = stack
        self._applier = applier
        self._threads = threads
        self._monitor = monitor
        self._packet_filter = packet_filter
        self._note = note
        self._pods = PodNetwork(host, cluster, note) if threads.assigns else None
        """In a cluster whose store gives the blocks."""
        assigned = AssignedBlocks(me, threads.name, wanted_network(cluster), joins=bool(cluster.conflist))
        self.agent = Agent(me, before, threads.name, assigned if threads.assigns else None)
        self._plan: Plan | None = None
        self._here: Here | None = None
        self._written: AgentStatus | None = None
        self._figures = {"compares": 0, "entry_changes": 0, "entry_problems": 0}
        self._obstacles: tuple[str, ...] = ()
        """Other programs' firewalls in the way, as they were when the whole plan was compared."""
        self._retry_s = TICK_S / 2
        self._compare = True
        self._lost = False
        """The kernel has reported changes that may have removed what is ours."""
        self._updates: list[Change] = []
        self._marks: dict[tuple[str, IPNetwork], str] = {}
        """By network and block: the host, as `MarkLost` has them. Those that are not on the disk yet."""
        self._unmarked: set[tuple[str, IPNetwork]] = set()
        """Those of which the log says why."""
        self._save_at = _NEVER
        self._look_at, self._look_limit = 0.0, _NEVER
        self._no_bridge = ""
        """Why the bridge of the pods' network does not have its gateways."""
        self._offer_at = 0.0
        self._tick_at = 0.0
        self._compare_at = _NEVER

    def run(self, stop: int) -> None:
        """Until `stop` is readable."""
        poll = select.poll()
        for watched in (stop, self._threads, self._monitor, self._packet_filter):
            if watched is not None:
                poll.register(watched, select.POLLIN)
        while True:
            due = min(self._look_at, self._tick_at, self._save_at, self._compare_at)
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, due - monotonic()) * 1000)}
            if stop in ready:
                break
            flushed = self._packet_filter is not None and self._packet_filter.fileno() in ready
            self.turn(monotonic(), changed=self._monitor.fileno() in ready, flushed=flushed)
        if self._save_at != _NEVER:
            self._save()

    def turn(self, now: float, *, changed: bool = False, flushed: bool = False) -> None:
        """Do all that is due. `now` is monotonic.

        `changed`, `flushed`: the kernel has reported something of links, of the packet filter.
        """
        if changed:
            self._notice(self._monitor.take(self._stack.netlink_port), now)
        if flushed and self._packet_filter is not None:
            removed = self._packet_filter.take()
            self._lost |= removed.broken or bool(removed.owners)
            if self._lost:
                self._look_soon(now)
        for event in self._threads.take():
            self._do(event(self.agent, time()), now)
        if self._look_at <= now:
            self._look_at, self._look_limit = _NEVER, _NEVER
            self._look(now)
        if self._tick_at <= now:
            self._tick_at = now + TICK_S
            if any(self._changed(uplink) for uplink in self.agent.uplinks):
                self._look(now)
            self._mark()
            self._do(self._read_joined(), now)
            self._do(self.agent.ticked(), now)
        if self._compare_at <= now:
            self._compare = True
        self._threads.host = None if self.agent.conflict else self.agent.host
        self._apply(now)
        if self._save_at <= now:
            self._save()
        self._report()
        self._offer(now)

    # what happens -----------------------------------------------------------------

    def _notice(self, change: LinkChange, now: float) -> None:
        if change == NO_LINKS:
            return
        self._lost |= change.overflow or bool(change.stripped)
        # The kernel does not report the IPv4 routes that a link loses when it goes down.
        own = {uplink.name for uplink in self.agent.uplinks}
        self._lost |= any(name in own or name.startswith(DEVICE_PREFIX) for name in change.links)
        self._look_soon(now)

    def _look_soon(self, now: float) -> None:
        self._look_limit = min(self._look_limit, now + LIMIT_S)
        self._look_at = min(now + QUIET_S, self._look_limit)

    def _changed(self, uplink: Uplink) -> bool:
        """The kernel's reports leave out links of kinds that pods have, and a host's uplink may be a veth."""
        link = self._stack.link_at(uplink.link)
        return link is None or (link.name, link.mtu) != (uplink.name, uplink.mtu)

    def _look(self, now: float) -> None:
        """Read this host's addresses and its networks anew."""
        try:
            found, why = uplinks(self._stack, self._address), ""
        except CnmError as error:
            found, why = (), str(error)
        self._do(self.agent.found_uplinks(found, why), now)
        self._do(self._read_joined(), now)
        addresses = frozenset(interface.ip for _, interface in self._stack.all_addresses())
        if self._pods is not None:
            self._no_bridge = self._pods.raise_bridge(addresses)
        here = Here(self._me.name, self._me.mac, self.agent.uplinks, addresses)
        if here != self._here:
            self._here, self._plan = here, None
        self._compare |= self._lost
        self._lost = False

    def _follow_uplinks(self) -> None:
        """The directory may have told which of this host's addresses it believes."""
        if self._here is not None and self._here.uplinks != self.agent.uplinks:
            self._here, self._plan = self._here._replace(uplinks=self.agent.uplinks), None
            addresses = ", ".join(str(one.address) for one in self.agent.uplinks)
            self._note(f"this host's underlay is {addresses}, as {self._threads.name} has it")

    def _read_joined(self) -> Iterator[Action]:
        """The overlay networks of the disk. One whose record is damaged now is as it was, and no block is released."""
        found = {}
        for record in network_records(self._host.store):
            if overlay_record.is_overlay(record):
                blocks = overlay_record.directory_blocks(record, self._me.name, self._me.instance)
                marks = overlay_record.lost(record)
                lost = frozenset(block for block in blocks if block.subnets[0] in marks)
                network = overlay_record.network_of(record)
                own = None if network.subnets else own_side(record)
                found[record.name] = Member(network, tuple(blocks), lost, own, overlay_record.held(record))
        damaged = damaged_networks(self._host.store)
        kept = {name: member for name, member in self.agent.joined.items() if name in damaged}
        return self.agent.found_joined({**found, **kept}, whole=not damaged)

    # what is done -----------------------------------------------------------------

    def _do(self, actions: Iterable[Action], now: float) -> None:
        for action in actions:
            match action:
                case Announce(host):
                    self._threads.announce(host)
                case Assign(network, block):
                    self._assign(network, block, now)
                case ClaimAgain(block):
                    self._threads.claim_again(block)
                case Release(block):
                    self._threads.release(block, self._unused)
                case MarkLost(name, subnet, holder):
                    self._marks[name, subnet] = holder
                    self._mark()
                case Hold(_, why):
                    assert self._pods is not None
                    self._pods.hold(why)
                case Compare():
                    self._plan, self._compare = None, True
                case Update(changes):
                    self._updates += changes
                case Save():
                    self._save_at = min(self._save_at, now + SAVE_S)
                case Say(line):
                    self._note(line)

    def _assign(self, network: OverlayNetwork, block: Block, now: float) -> None:
        assert self._pods is not None
        self._follow_uplinks()
        holders = {one.subnets[0]: one.host for one in self.agent.known.blocks.values() if one.network == network.name}
        try:
            if self._here is not None and network.name not in self.agent.joined:
                self._applier.prepare(self._here, Member(network, (block,)))
            changed, why = self._pods.assign(network, block, holders), ""
        except CnmError as error:
            hint = f" ({error.hint})" if error.hint else ""
            changed, why = False, f"the block {block.phrase} cannot be used: {error.msg}{hint}"
        self._do(self.agent.unusable(why), now)
        if changed:
            self._compare, self._look_at = True, 0.0

    def _mark(self) -> None:
        """A mark that cannot be written now, such as on a full disk, is tried again at each tick."""
        for key, holder in tuple(self._marks.items()):
            network, block = key
            try:
                mark_lost(self._host, network, block, holder)
            except CnmError as error:
                if key not in self._unmarked:
                    self._unmarked.add(key)
                    whose = f"{holder}'s" if holder else "this host's"
                    self._note(f"the block {block} of network {network} cannot be marked as {whose}: {error}")
            else:
                del self._marks[key]
                self._unmarked.discard(key)

    @contextmanager
    def _unused(self, block: Block) -> Iterator[bool]:
        """Whether no network has the block. Its locks are those under which a network is made and grows."""
        store, name = self._host.store, block.network
        with ExitStack() as locks:
            try:
                locks.enter_context(store.lock(f"grow/{name}", timeout_s=LOCK_S))
                locks.enter_context(store.lock(f"network/{name}", timeout_s=LOCK_S))
                record = load_network(store, name)
            except (TryAgain, DamagedRecord):
                yield False
                return
            held = overlay_record.blocks(record) if record is not None and overlay_record.is_overlay(record) else ()
            yield block.subnets not in held

    def _apply(self, now: float) -> None:
        """Bring the kernel to the plan: whole, or only what differs."""
        updates, self._updates = self._updates, []
        self._follow_uplinks()
        if self._here is None or not self.agent.uplinks:
            return  # entries stay as they are
        try:
            if self._plan is None:
                hosts, blocks = self.agent.known.hosts, self.agent.known.blocks.values()
                self._plan, self._compare = Plan(self._here, self.agent.members(), hosts, blocks), True
            elif updates:
                delta = self._plan.change(updates)
                if not self._compare:
                    self._applied(self._applier.change(delta), now, whole=False)
            if self._compare:
                self._compare, self._compare_at = False, now + COMPARE_S
                self._applied(self._applier.whole(self._plan.wanted(), keep=not self.agent.complete), now, whole=True)
        except CnmError as error:
            self._do(self.agent.compared(dict.fromkeys(self.agent.joined, str(error))), now)
            self._compare_at = now + TICK_S

    def _applied(self, applied: Applied, now: float, *, whole: bool) -> None:
        """What stands now is read from the kernel, for the log and for STATUS."""
        assert self._plan is not None
        figures = self._figures
        self._figures = {
            "compares": figures["compares"] + whole,
            "entry_changes": figures["entry_changes"] + applied.changes,
            "entry_problems": len(applied.problems),
        }
        if whole and self._host.foreign_firewalls is not None:
            ports = {entry.number for entry in self._plan.wanted() if isinstance(entry, Port)}
            self._obstacles = tuple(input_obstacles.of_ports(self._host.foreign_firewalls, ports))
        problems = (*self._plan.problems, *applied.problems, *self._obstacles)
        if applied.problems:
            self._retry_s = min(self._retry_s * 2, COMPARE_S)
            self._compare_at = min(self._compare_at, now + self._retry_s)
        elif whole:
            self._retry_s = TICK_S / 2
        broken = {**self._plan.broken, **applied.broken}
        if self._pods is not None and self._no_bridge and not broken.get(self._pods.name):
            broken[self._pods.name] = self._no_bridge
        self._do(self.agent.compared(broken, problems), now)

    def _save(self) -> None:
        self._save_at = _NEVER
        try:
            known.save(self._settings.state_dir, self.agent.known)
        except CnmError as error:
            self._note(str(error))

    def _offer(self, now: float) -> None:
        """The runtime starts pods as soon as the data path stands, and not before."""
        if self._pods is not None and self._written is not None and self._offer_at <= now:
            network = self._written.networks.get(self._pods.name)
            if network is not None and network.ready:
                self._pods.write()
                self._offer_at = now + TICK_S

    def _report(self) -> None:
        status = self.agent.status(os.getpid(), self._figures)
        if status != self._written:
            self._written = status
            try:
                status_file.write(self._settings.run_dir, status)
            except CnmError as error:
                self._note(str(error))


def run(
    engine: Callable[[], AbstractContextManager[Controller]],
    note: Callable[[str, float, Event | None], None],
    stop: int,
) -> None:
    """The process of the agent: until `stop` is readable. What it raises ends the process, which is started again."""

    def say_line(line: str) -> None:
        note(f"CLUSTER {line}", 0.0, Event(CLUSTER, line))

    with engine() as controller:
        host = controller.host
        cluster = host.settings.cluster
        if cluster is None:  # removed from the settings since the service started
            select.select([stop], [], [])
            return
        for sentence in stores.warnings(cluster):
            say_line(sentence)
        me = host_identity.wait(host, cluster, say_line, stop)
        if me is None:
            return
        before = known.load(host.settings.state_dir)
        with (
            closing(stores.open_directory(cluster, known=before)) as directory,
            closing(KernelOverlayStack(own_fd(), "")) as stack,
            closing(BridgeMonitor()) as monitor,
            closing(NftMonitor((*TABLES, accepted_hosts.TABLE), PROGRAM)) as packet_filter,
        ):
            threads = DirectoryThreads(directory, stores.start_spread_s(cluster, len(before.hosts)))
            applier = Applier(stack, host.nft)
            agent = ClusterAgent(me, before, cluster, host, stack, applier, threads, monitor, say_line, packet_filter)
            del before  # the agent has it, until there is a list
            threads.start()
            if cluster.store == "kubernetes":
                from cni_cnm.cluster.kubernetes.node_events import NodeEvents
                from cni_cnm.service.node_events import Teller

                node_events = NodeEvents(cluster, me.name, stores.TIMEOUT_S)
                Teller(Reader(host.settings.run_dir), node_events, say_line).start()
            agent.run(stop)
