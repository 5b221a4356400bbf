"""What the agent of a host decides. Events go in, actions come out: no kernel, no store, no clock, no file.

    listed, changed     the directory, whole and by changes       ─┐
    answers, silent     whether the store answers                  │   Announce, ClaimAgain, Release,
    announced, claimed  what this host has written                 │   Assign, MarkLost, Hold, Save, Say
    found_uplinks       this host's underlay addresses             ├─► Compare, Update,
    found_joined        the overlay networks on this host's disk   │
    ticked              ten seconds have passed                   ─┘

service/cluster_agent.py feeds it and does what it says. `status` is what is said of the host at any time.

A host whose lease has run out is silent, and nothing else: entries change only when a host's record or a block does.
"""

from __future__ import annotations

from cni_cnm.cluster.actions import Announce, Compare, Save, Say, Update
from cni_cnm.cluster.assigned_blocks import AssignedBlocks
from cni_cnm.cluster.claimed_blocks import ClaimedBlocks
from cni_cnm.cluster.known import Known
from cni_cnm.cluster.status_file import AgentStatus, NetworkStatus, StoreStatus
from cni_cnm.cluster.values import Block, ClusterHost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.cluster.actions import Action
    from cni_cnm.cluster.host_file import HostIdentity
    from cni_cnm.cluster.underlay import Member
    from cni_cnm.cluster.uplink import Uplink
    from cni_cnm.cluster.values import Change, Snapshot

WARNINGS_MAX = 20
NAMED_MAX = 5
"""Changes of more hosts at once are one line with their number."""


class Agent:
    """The state of one host's agent.

    `known` is what the disk has. `assigned`: what follows where the store gives the blocks; None: they are claimed.
    """

    def __init__(self, me: HostIdentity, known: Known, store: str, assigned: AssignedBlocks | None = None) -> None:
        self.me = me
        self.known = known
        self._found: tuple[Uplink, ...] = ()
        self.joined: Mapping[str, Member] = {}
        self.conflict = ""
        """Why this host must not give addresses; "" if it may."""
        self._no_uplink = "its underlay addresses are not read yet"
        self._store = StoreStatus(store, why="it was not asked yet")
        self._announced: ClusterHost | None = None
        """This host's record, as it was written last. None while that is not certain."""
        self._listed = False
        self._assigned = assigned
        self._blocks: ClaimedBlocks | AssignedBlocks = assigned or ClaimedBlocks(me, store)
        self._read_whole = False
        self._lists = self._failures = 0
        self._silent: set[str] = set()
        """Hosts of which that was said."""
        self._skipped: tuple[str, ...] = ()
        self._problems: tuple[str, ...] = ()
        self._data_paths: Mapping[str, str] = {}
        """Networks whose plan was compared with the kernel: "" or what is wrong."""

    # what the caller plans with ---------------------------------------------------

    @property
    def uplinks(self) -> tuple[Uplink, ...]:
        """This host's underlay addresses: those that its record in the directory has, where it lacks others.

        Kubernetes believes only addresses that the Node has. An IPv4 cluster's Node lacks the IPv6 one.
        """
        there = self.known.hosts.get(self.me.name)
        if self._assigned is None or there is None or there.instance != self.me.instance:
            return self._found
        known = tuple(uplink for uplink in self._found if uplink.address in there.addresses)
        return known if len(known) == len(there.addresses) else self._found

    @property
    def host(self) -> ClusterHost | None:
        """This host as others are to see it; None without an underlay address."""
        return self._as_host(self.uplinks)

    def _as_host(self, uplinks: Sequence[Uplink]) -> ClusterHost | None:
        addresses = tuple(uplink.address for uplink in uplinks)
        return ClusterHost(self.me.name, self.me.instance, addresses, self.me.mac) if addresses else None

    @property
    def complete(self) -> bool:
        """Whether the directory was read since the start, and all networks of the disk can be read.

        Until then there may be more hosts and networks than are known here, and what is in the kernel may be theirs.
        """
        return self._listed and self._read_whole

    def members(self) -> Sequence[Member]:
        """The networks of this host, as its disk has them.

        A network that is not in the directory (a restored store) goes on. So does a block that another host has now,
        because its pods are here. A network is left out if the directory has another one of its name.
        """
        return [member for name, member in self.joined.items() if not self._replaced(name)]

    def _replaced(self, name: str) -> str:
        """The id of another network of that name; "" if there is none."""
        there = self.known.networks.get(name)
        return there.id if there is not None and there.id != self.joined[name].network.id else ""

    # events ---------------------------------------------------------------------

    def listed(self, snapshot: Snapshot, skipped: Sequence[str], now: float) -> Iterator[Action]:
        """The whole directory was read. `now` in seconds since 1970, for people."""
        yield from self._answered(now)
        before = self.known
        if _restored(before, snapshot):
            self._announced = None
            yield Say(
                f"{self._store.name} was restored from a backup or set up anew: it is the store {snapshot.store} at "
                f"revision {snapshot.revision}, it was {before.store} at {before.revision}; blocks are claimed again"
            )
        self.known = Known(snapshot)
        yield from self._say_hosts(before)
        yield from self._say_skipped(skipped)
        self._listed = True
        self._lists += 1
        yield from self._judge()
        yield from self._announce()
        yield from self._blocks.listed(self.known, self.joined, refused=bool(self.conflict))
        yield Compare()
        yield Save()

    def changed(self, revision: int, changes: Sequence[Change], skipped: Sequence[str], now: float) -> Iterator[Action]:
        """Changes of the directory, in order."""
        yield from self._answered(now)
        yield from self._say_skipped(skipped)
        if not changes:
            self.known.revision = max(self.known.revision, revision)
            return
        hosts, alive = dict[str, ClusterHost | None](), dict[str, bool]()
        """As they were."""
        for change in changes:
            if change.kind == "host":
                hosts.setdefault(str(change.key), self.known.hosts.get(str(change.key)))
            elif change.kind == "alive":
                alive.setdefault(str(change.key), str(change.key) in self.known.alive)
            self.known.apply(change)
        self.known.revision = revision
        yield from self._say_changes(hosts, alive)
        planned = tuple(change for change in changes if change.kind != "alive")
        if self.me.name in alive:  # its place for this host's record may be new
            yield from self._announce()
        if not planned:
            return
        if self.me.name in hosts:
            yield from self._judge()
        if any(change.kind == "network" and change.key in self.joined for change in planned):
            yield Compare()
        else:
            yield Update(planned)
        yield from self._blocks.changed(self.known, self.joined, planned)
        yield Save()

    def answers(self, now: float) -> Iterator[Action]:
        """The store has answered a request."""
        yield from self._answered(now)

    def silent(self, why: str, now: float) -> Iterator[Action]:
        """The store does not answer. Everything goes on with what is known."""
        self._failures += 1
        if self._assigned is not None:
            self._assigned.away = why
        if self._store.reachable or not self._store.since:
            self._store = StoreStatus(self._store.name, False, now, why)
            yield Say(f"{why}; this host goes on with what it knows")
        elif why != self._store.why:
            self._store = self._store._replace(why=why)

    def announced(self, host: ClusterHost) -> Iterator[Action]:
        """This host's record was written. Another one of its instance, from now on, is not this host's."""
        self._announced = host
        if self._assigned is not None:
            self._assigned.unannounced = ""
            yield from self.refused("")

    def refused(self, why: str) -> Iterator[Action]:
        """This host's record cannot be written, because another host has its name. "": no other has it any more."""
        if why != self.conflict:
            yield Say(why or f"no other host is called {self.me.name} any more")
            self.conflict = why
            if self._assigned is not None:
                self._assigned.conflict = why
                yield from self._assigned.held(self.known, self.joined)

    def found_uplinks(self, uplinks: Sequence[Uplink], why: str = "") -> Iterator[Action]:
        """This host's underlay addresses, read anew; without any: why."""
        if tuple(uplinks) == self._found and why == self._no_uplink:
            return
        old, self._found, self._no_uplink = self.uplinks, tuple(uplinks), why
        if self.uplinks:
            shown = ", ".join(f"{one.address} on {one.name}, MTU {one.mtu}" for one in self.uplinks)
            yield Say(f"this host's underlay is {shown}{f'; it was {_addresses(old)}' if old else ''}")
        else:
            yield Say(f"{why}; entries stay as they are")
        if self._listed:
            yield from self._announce()
        yield Compare()

    def found_joined(self, joined: Mapping[str, Member], *, whole: bool = True) -> Iterator[Action]:
        """The overlay networks of this host's disk, read anew. `whole` False: there may be more than could be read."""
        self._read_whole = whole
        if joined == self.joined:
            return
        self.joined = dict(joined)
        yield from self._blocks.found_joined(self.known, self.joined)
        yield Compare()

    def claimed(self, block: Block, ours: bool) -> Iterator[Action]:
        """A block was claimed again, or another host has it. Or the directory lacks its network."""
        yield from self._blocks.claimed(self.known, self.joined, block, ours=ours)

    def unannounced(self, why: str) -> Iterator[Action]:
        """The store has no place for this host's record yet."""
        if self._assigned is not None and why != self._assigned.unannounced:
            self._assigned.unannounced = why
            yield Say(why)

    def unusable(self, why: str) -> Iterator[Action]:
        """The block that the store gives cannot be used. It is tried again with each tick."""
        if self._assigned is not None and why != self._assigned.unusable:
            self._assigned.unusable = why
            yield Say(why)

    def ticked(self) -> Iterator[Action]:
        """Ten seconds have passed."""
        if not self._listed or self._stops or not self._store.reachable:
            return
        yield from self._announce()
        yield from self._blocks.ticked(self.known, self.joined, whole=self._read_whole)

    def compared(self, wrong: Mapping[str, str], problems: Sequence[str] = ()) -> Iterator[Action]:
        """The kernel was brought to the plan.

        `wrong`: by network "" or why its data path does not stand. `problems`: sentences on hosts and entries.
        """
        before, self._data_paths = self._data_paths, dict(wrong)
        for name, why in wrong.items():
            if before.get(name) != why:
                yield Say(f"network {name}: the data path {f'does not stand: {why}' if why else 'stands'}")
        known = set(self._problems)
        new = [sentence for sentence in problems if sentence not in known]
        for sentence in new[:NAMED_MAX]:
            yield Say(sentence)
        if len(new) > NAMED_MAX:
            yield Say(f"{len(new) - NAMED_MAX} more entries of the overlay networks are not as they should be")
        self._problems = tuple(problems)

    @property
    def _stops(self) -> bool:
        """Whether this host writes nothing, until the directory shows that no other one has its name."""
        return bool(self.conflict) and self._assigned is None

    # status ---------------------------------------------------------------------

    def status(self, pid: int, figures: Mapping[str, int]) -> AgentStatus:
        """`figures`: what was done to the kernel."""
        networks = {name: self._network_status(name, joined) for name, joined in self.joined.items()}
        if self._assigned is not None and self._assigned.network not in networks:
            why = self._assigned.refusal(self.known, self.joined, self._assigned.network) or "it is not made yet"
            networks[self._assigned.network] = NetworkStatus(why=why)
        warnings = self._blocks.warnings(self.known, self.joined)
        return AgentStatus(
            pid, self.me.name, self.me.instance, tuple(str(one.address) for one in self.uplinks),
            min((one.mtu for one in self.uplinks), default=0), self._store, self.conflict,
            (*warnings, *self._skipped, *self._problems)[:WARNINGS_MAX], networks, {**self._figures(), **figures},
        )  # fmt: skip

    def _figures(self) -> Mapping[str, int]:
        return {
            "hosts": len(self.known.hosts),
            "silent_hosts": len(self.known.hosts.keys() - self.known.alive),
            "blocks": len(self.known.blocks),
            "lists": self._lists,
            "store_failures": self._failures,
        }

    def _network_status(self, name: str, joined: Member) -> NetworkStatus:
        lost = self._blocks.lost(joined)
        if other := self._replaced(name):
            why = (
                f"{self._store.name} has another network {name}: its id is {other}, this host's is {joined.network.id}"
            )
        elif not self.uplinks:
            why = self._no_uplink
        elif refusal := self._blocks.refusal(self.known, self.joined, name):
            why = refusal
        else:
            why = self._data_paths.get(name, "its data path is not compared yet")
        own = sum(block.network == name for block in self.known.blocks_of(self.me.name))
        remote = self.known.number_of_blocks(name) - own
        return NetworkStatus(joined.network.id, not why, why, remote, tuple(lost))

    # ----------------------------------------------------------------------------

    def _answered(self, now: float) -> Iterator[Action]:
        if self._assigned is not None:
            self._assigned.away = ""
        if not self._store.reachable:
            first = not self._store.since
            self._store = StoreStatus(self._store.name, True, now)
            yield Say(f"{self._store.name} answers{'' if first else ' again'}")

    def _announce(self) -> Iterator[Action]:
        """When the directory has this host otherwise than it is. One that lacks addresses is asked for them once."""
        host, there = self._as_host(self._found), self.known.hosts.get(self.me.name)
        if host is None or self._stops or there in (host, self.host if self._announced == host else host):
            return
        self._announced = None
        yield Announce(host)

    def _judge(self) -> Iterator[Action]:
        """Whether the record of this host's name is this host's. A missing one is written at the next tick.

        Where the store knows hosts by themselves, the answer to the announcement says it.
        """
        if self._assigned is not None:
            return
        there, host, why = self.known.hosts.get(self.me.name), self.host, ""
        if there is not None and there.instance != self.me.instance:
            why = (
                f"another host is called {self.me.name} in {self._store.name}: its instance is {there.instance}, this "
                f"one's is {self.me.instance}"
            )
        elif there is not None and there != host and self._announced == host is not None:
            why = (
                f"another host with the name {self.me.name} and the instance {self.me.instance} has announced "
                f"{', '.join(map(str, there.addresses))}, this one has {_addresses(self.uplinks)}: one disk is a "
                f"copy of the other's"
            )
        yield from self.refused(why)

    def _say_hosts(self, before: Known) -> Iterator[Action]:
        names = before.hosts.keys() | self.known.hosts.keys()
        old = {name: before.hosts.get(name) for name in names if before.hosts.get(name) != self.known.hosts.get(name)}
        yield from self._say_changes(old, {})

    def _say_skipped(self, skipped: Sequence[str]) -> Iterator[Action]:
        known = set(self._skipped)
        new = [sentence for sentence in skipped if sentence not in known]
        for sentence in new[:NAMED_MAX]:
            yield Say(f"left out of what {self._store.name} has: {sentence}")
        if len(new) > NAMED_MAX:
            yield Say(f"{len(new) - NAMED_MAX} more things are left out of what {self._store.name} has")
        self._skipped = tuple(skipped)
        if self._assigned is not None:
            self._assigned.left_out = self._skipped

    def _say_changes(self, hosts: Mapping[str, ClusterHost | None], alive: Mapping[str, bool]) -> Iterator[Action]:
        lines = [self._said_of_host(name, old) for name, old in sorted(hosts.items()) if name != self.me.name]
        for name, was in sorted(alive.items()):
            now = name in self.known.alive
            if now and name in self._silent:
                self._silent.discard(name)
                lines.append(f"host {name} shows life again")
            elif was and not now and name != self.me.name and name in self.known.hosts:
                self._silent.add(name)
                lines.append(f"host {name} is silent; its entries stay")
        lines = [line for line in lines if line]
        if len(lines) > NAMED_MAX:
            lines = [f"{len(lines)} hosts have changed; {len(self.known.hosts)} are known"]
        for line in lines:
            yield Say(line)

    def _said_of_host(self, name: str, old: ClusterHost | None) -> str:
        new = self.known.hosts.get(name)
        if new is None:
            return f"host {name} is gone" if old is not None else ""
        shown = ", ".join(map(str, new.addresses))
        if old is None:
            return f"host {name} is at {shown}"
        if old.instance != new.instance:
            return f"host {name} was replaced: instance {new.instance} at {shown}"
        return f"host {name} is at {shown} now" if old != new else ""


def _restored(known: Known, snapshot: Snapshot) -> bool:
    """Whether the store is another one than before, or goes back."""
    if not known.store:
        return False
    return known.store != snapshot.store or snapshot.revision < known.revision


def _addresses(uplinks: Sequence[Uplink]) -> str:
    return ", ".join(str(one.address) for one in uplinks)
