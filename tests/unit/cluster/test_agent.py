"""What an agent decides, event by event: no kernel, no store, no clock."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from cni_cnm.cluster.actions import Action, Announce, ClaimAgain, Compare, MarkLost, Release, Save, Say, Update
from cni_cnm.cluster.agent import NAMED_MAX, Agent
from cni_cnm.cluster.claimed_blocks import ORPHAN_TICKS
from cni_cnm.cluster.host_file import HostIdentity
from cni_cnm.cluster.known import Known
from cni_cnm.cluster.underlay import Member
from cni_cnm.cluster.uplink import Uplink
from cni_cnm.cluster.values import Block, Change, ClusterHost, OverlayNetwork, Snapshot

ME = HostIdentity("node1", "1" * 32)
NOW = 1_700_000_000.0
UPLINK = Uplink(ip_address("192.0.2.11"), 2, "eth0", 1500, (ip_network("192.0.2.0/24"),))
MOVED = UPLINK._replace(address=ip_address("192.0.2.91"))
SELF = ClusterHost(ME.name, ME.instance, (UPLINK.address,), ME.mac)
OTHER = ClusterHost("node2", "2" * 32, (ip_address("192.0.2.12"),), "02:00:00:00:00:02")
WEB = OverlayNetwork("web", "a" * 32, (ip_network("10.32.0.0/16"),), (24,), 4096)
MINE = Block("web", (ip_network("10.32.1.0/24"),), ME.name, ME.instance)
THEIRS = Block("web", (ip_network("10.32.2.0/24"),), OTHER.name, OTHER.instance)


def snapshot(*values: ClusterHost | Block, store: str = "5eed", revision: int = 100) -> Snapshot:
    hosts = {value.name: value for value in values if isinstance(value, ClusterHost)}
    blocks = {value.key: value for value in values if isinstance(value, Block)}
    return Snapshot(store, revision, hosts, {"web": WEB}, blocks)


WHOLE = snapshot(SELF, OTHER, MINE, THEIRS)


def fresh(known: Snapshot | None = None) -> Agent:
    """With an uplink and one network."""
    agent = Agent(ME, Known(known or Snapshot()), "etcd")
    list(agent.found_uplinks([UPLINK]))
    list(agent.found_joined({"web": Member(WEB, (MINE,))}))
    return agent


def listed(agent: Agent, found: Snapshot = WHOLE) -> list[Action]:
    return list(agent.listed(found, (), NOW))


def ready(known: Snapshot | None = None) -> Agent:
    agent = fresh(known)
    listed(agent)
    return agent


def lines(actions: list[Action]) -> str:
    return "\n".join(action.line for action in actions if isinstance(action, Say))


def without_lines(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Say)]


def test_first_list() -> None:
    """A host that is not in the directory announces itself; then the plan is compared."""
    found = listed(fresh(), snapshot())
    assert without_lines(found) == [Announce(SELF), ClaimAgain(MINE), Compare(), Save()]


def test_nothing_to_do() -> None:
    """A host that is there as it is writes nothing."""
    agent = fresh()
    assert without_lines(listed(agent)) == [Compare(), Save()]
    assert list(agent.ticked()) == []


def test_a_host_joins() -> None:
    """Only its entries are touched."""
    agent = fresh()
    listed(agent, snapshot(SELF, MINE))
    changes = [Change("host", "node2", OTHER), Change("block", THEIRS.key, THEIRS)]
    found = list(agent.changed(101, changes, (), NOW))
    assert without_lines(found) == [Update(tuple(changes)), Save()]
    assert lines(found) == "host node2 is at 192.0.2.12"
    assert agent.known.revision == 101


def test_a_silent_host() -> None:
    """It is said, and nothing else happens."""
    agent = ready()
    list(agent.changed(101, [Change("alive", "node2", True)], (), NOW))
    found = list(agent.changed(102, [Change("alive", "node2", None)], (), NOW))
    assert found == [Say("host node2 is silent; its entries stay")]
    assert lines(list(agent.changed(103, [Change("alive", "node2", True)], (), NOW))) == "host node2 shows life again"


def test_many_hosts_at_once() -> None:
    """One line: a log is not flooded when a store comes back."""
    hosts = [OTHER._replace(name=f"n{number}") for number in range(NAMED_MAX + 1)]
    found = list(ready().changed(101, [Change("host", host.name, host) for host in hosts], (), NOW))
    assert lines(found) == f"{NAMED_MAX + 1} hosts have changed; {NAMED_MAX + 3} are known"


def test_moved_and_replaced_hosts() -> None:
    """A log says what became of a host."""
    agent = ready()
    moved = OTHER._replace(addresses=(ip_address("192.0.2.77"),))
    assert (
        lines(list(agent.changed(101, [Change("host", "node2", moved)], (), NOW))) == "host node2 is at 192.0.2.77 now"
    )
    other = moved._replace(instance="3" * 32)
    assert "was replaced" in lines(list(agent.changed(102, [Change("host", "node2", other)], (), NOW)))
    assert lines(list(agent.changed(103, [Change("host", "node2", None)], (), NOW))) == "host node2 is gone"


def test_a_network_is_compared_whole() -> None:
    """Its entries are many hosts'."""
    found = list(ready().changed(101, [Change("network", "web", None)], (), NOW))
    assert without_lines(found) == [Compare(), Save()]


def test_own_address_changes() -> None:
    """It is announced, said, and the plan is compared: the MTU alone, too."""
    agent = ready()
    found = list(agent.found_uplinks([MOVED]))
    assert without_lines(found) == [Announce(SELF._replace(addresses=(MOVED.address,))), Compare()]
    assert lines(found) == "this host's underlay is 192.0.2.91 on eth0, MTU 1500; it was 192.0.2.11"
    assert without_lines(list(agent.found_uplinks([MOVED._replace(mtu=9000)]))) == [Announce(
        SELF._replace(addresses=(MOVED.address,))), Compare()]  # fmt: skip
    assert list(agent.found_uplinks([MOVED._replace(mtu=9000)])) == []


def test_own_address_changes_while_the_store_is_away() -> None:
    """What is there when it answers again is this host's own older record: it is written anew."""
    moved = SELF._replace(addresses=(MOVED.address,))
    agent = ready()
    list(agent.announced(SELF))
    list(agent.silent("refused", NOW))
    assert Announce(moved) in list(agent.found_uplinks([MOVED]))
    assert Announce(moved) in listed(agent)
    assert not agent.conflict
    list(agent.announced(moved))
    list(agent.changed(101, [Change("host", "node1", moved)], (), NOW))
    assert not agent.conflict
    assert list(agent.ticked()) == []


def test_own_address_changes_back_while_the_store_is_away() -> None:
    """Whether the first change was written is not known: it is no other host's."""
    moved = SELF._replace(addresses=(MOVED.address,))
    agent = ready()
    list(agent.announced(SELF))
    list(agent.found_uplinks([MOVED]))
    list(agent.silent("the answer was lost", NOW))
    list(agent.found_uplinks([UPLINK]))
    assert Announce(SELF) in listed(agent, snapshot(moved, OTHER, MINE, THEIRS))
    assert not agent.conflict


def test_no_underlay_address() -> None:
    """The host stays announced as it was, and STATUS has the reason."""
    agent = ready()
    found = list(agent.found_uplinks([], "no default route"))
    assert without_lines(found) == [Compare()]
    assert agent.status(1, {}).networks["web"].why == "no default route"
    assert not agent.status(1, {}).networks["web"].ready


def test_store_away() -> None:
    """Said once, and once when it is back; what is known stays."""
    agent = ready()
    assert "etcd does not answer: refused; this host goes on" in lines(
        list(agent.silent("etcd does not answer: refused", NOW + 1))
    )
    assert list(agent.silent("timed out", NOW + 9)) == []
    assert agent.status(1, {}).store == ("etcd", False, NOW + 1, "timed out")
    assert agent.known.hosts == WHOLE.hosts
    assert list(agent.answers(NOW + 20)) == [Say("etcd answers again")]
    assert agent.status(1, {}).store == ("etcd", True, NOW + 20, "")


def test_works_from_the_disk() -> None:
    """A store that has never answered: the plan is made of what is on the disk."""
    agent = Agent(ME, Known(WHOLE), "etcd")
    list(agent.silent("refused", NOW))
    assert list(agent.found_uplinks([UPLINK]))[1:] == [Compare()]
    assert list(agent.found_joined({"web": Member(WEB, (MINE,))})) == [Compare()]
    assert agent.members() == [Member(WEB, (MINE,))]
    assert list(agent.ticked()) == []
    list(agent.compared({"web": ""}))
    assert agent.status(7, {}).networks["web"] == (WEB.id, True, "", 1, ())


@pytest.mark.parametrize("found", [WHOLE._replace(store="0ther"), WHOLE._replace(revision=7)])
def test_restored_store(found: Snapshot) -> None:
    """Another store, or one whose revision goes back, is said; what is missing in it is claimed again."""
    agent = fresh(WHOLE)
    actions = listed(agent, found._replace(blocks={}, hosts={}))
    assert "was restored from a backup or set up anew" in lines(actions)
    assert without_lines(actions) == [Announce(SELF), ClaimAgain(MINE), Compare(), Save()]
    assert "restored" not in lines(listed(agent, found))


def test_restored_store_with_an_old_address() -> None:
    """The record of a backup is this host's own, not a clone's."""
    agent = ready()
    list(agent.found_uplinks([MOVED]))
    actions = listed(agent, WHOLE._replace(revision=7))
    assert not agent.conflict
    assert Announce(SELF._replace(addresses=(MOVED.address,))) in actions


def test_lost_block() -> None:
    """Said once with both hosts; STATUS has it until it is this host's again."""
    agent = ready()
    listed(agent, snapshot(SELF, OTHER, MINE._replace(host="node2", instance=OTHER.instance), revision=101))
    found = list(agent.claimed(MINE, False))
    assert without_lines(found) == [MarkLost("web", MINE.subnets[0], "node2")]
    assert "belongs to host node2" in lines(found)
    assert OTHER.instance in lines(found)
    assert ME.instance in lines(found)
    assert list(agent.claimed(MINE, False)) == [MarkLost("web", MINE.subnets[0], "node2")]
    assert agent.status(1, {}).networks["web"].lost == ("10.32.1.0/24",)
    assert without_lines(list(agent.claimed(MINE, True))) == [MarkLost("web", MINE.subnets[0], "")]
    assert agent.status(1, {}).networks["web"].lost == ()


def test_lost_marks_after_a_restart() -> None:
    """The disk has them: each block is claimed anew, and each answer sets the mark of its own block alone."""
    further = MINE._replace(subnets=(ip_network("10.32.3.0/24"),))
    agent = fresh()
    list(agent.found_joined({"web": Member(WEB, (MINE, further), frozenset([MINE, further]))}))
    assert agent.status(1, {}).networks["web"].lost == ("10.32.1.0/24", "10.32.3.0/24")
    theirs = further._replace(host="node2", instance=OTHER.instance)
    assert {ClaimAgain(MINE), ClaimAgain(further)} <= set(listed(agent, snapshot(SELF, OTHER, MINE, theirs)))
    assert without_lines(list(agent.claimed(further, False))) == [MarkLost("web", further.subnets[0], "node2")]
    found = list(agent.claimed(MINE, True))
    assert found == [
        Say("the block 10.32.1.0/24 of network web is this host's again"),
        MarkLost("web", MINE.subnets[0], ""),
    ]
    assert agent.status(1, {}).networks["web"].lost == ("10.32.3.0/24",)


def test_a_mark_that_stays_on_the_disk() -> None:
    """`grow` has claimed the block while its mark stood, or the mark could not be written. It is said once."""
    agent = ready()
    list(agent.found_joined({"web": Member(WEB, (MINE,), frozenset([MINE]))}))
    assert list(agent.ticked()) == []
    assert list(agent.ticked()) == [ClaimAgain(MINE)]
    assert "this host's again" in lines(list(agent.claimed(MINE, True)))
    assert list(agent.ticked()) == [ClaimAgain(MINE)]
    assert list(agent.claimed(MINE, True)) == [MarkLost("web", MINE.subnets[0], "")]
    list(agent.found_joined({"web": Member(WEB, (MINE,))}))
    assert list(agent.ticked()) == []


def test_lost_block_keeps_its_pods() -> None:
    """The plan has it as this host's."""
    agent = ready()
    listed(agent, snapshot(SELF, OTHER, MINE._replace(host="node2", instance=OTHER.instance), revision=101))
    assert agent.members() == [Member(WEB, (MINE,))]


def test_network_only_on_the_disk() -> None:
    """A restored store may not have it: its pods go on."""
    agent = ready()
    listed(agent, Snapshot("5eed", 101, {"node1": SELF}))
    assert agent.members() == [Member(WEB, (MINE,))]


def test_network_that_a_restored_store_does_not_have() -> None:
    """No other host has its block: it is not marked as lost. Said once, and STATUS has it while that is so."""
    agent = ready(WHOLE)
    assert ClaimAgain(MINE) in listed(agent, Snapshot("0ther", 7, {"node1": SELF}))
    said = (
        "etcd does not have the network web: its blocks stay as they are on this host, and it cannot get further ones"
    )
    assert list(agent.claimed(MINE, False)) == [Say(said)]
    assert list(agent.claimed(MINE, False)) == []
    assert agent.status(1, {}).warnings == (said,)
    assert agent.status(1, {}).networks["web"].lost == ()
    listed(agent, snapshot(SELF, store="0ther", revision=8))
    assert agent.status(1, {}).warnings == ()
    assert MarkLost("web", MINE.subnets[0], "") in list(agent.claimed(MINE, True))


def test_lost_block_is_tried_again() -> None:
    """At each tick: the other host may have given it back."""
    agent = ready()
    listed(agent, snapshot(SELF, OTHER, revision=101))
    list(agent.claimed(MINE, False))
    assert list(agent.ticked()) == [ClaimAgain(MINE)]


def test_a_block_that_is_released() -> None:
    """It is missing for a moment before its network is off the disk: it is not claimed again."""
    agent = ready()
    list(agent.changed(101, [Change("block", MINE.key, None)], (), NOW))
    assert list(agent.ticked()) == []
    list(agent.found_joined({}))
    assert list(agent.ticked()) == []


def test_a_block_that_is_taken_away() -> None:
    """By `node rm --force`: it is claimed again when it is missing for ten seconds; the host announces itself again."""
    agent = ready()
    list(agent.changed(101, [Change("block", MINE.key, None), Change("host", "node1", None)], (), NOW))
    assert list(agent.ticked()) == [Announce(SELF)]
    assert list(agent.ticked()) == [Announce(SELF), ClaimAgain(MINE)]


def test_orphaned_block() -> None:
    """A block whose network this host does not have is released after two minutes, once."""
    agent = ready()
    list(agent.found_joined({}))
    found = [list(agent.ticked()) for _ in range(ORPHAN_TICKS + 2)]
    assert [without_lines(each) for each in found if each] == [[Release(MINE)]]
    assert found[ORPHAN_TICKS - 1]


def test_orphaned_block_beside_a_damaged_record() -> None:
    """Its network may be the one that cannot be read: the block stays."""
    agent = ready()
    list(agent.found_joined({}, whole=False))
    assert [list(agent.ticked()) for _ in range(ORPHAN_TICKS + 2)] == [[]] * (ORPHAN_TICKS + 2)


def test_another_instance() -> None:
    """It has this host's name: no new addresses, both instances are named; it ends with the other's record."""
    agent = ready()
    other = SELF._replace(instance="9" * 32)
    found = list(agent.changed(101, [Change("host", "node1", other)], (), NOW))
    assert "9" * 32 in agent.conflict
    assert ME.instance in agent.conflict
    assert lines(found).endswith(agent.conflict)
    assert list(agent.ticked()) == []
    assert agent.status(1, {}).conflict == agent.conflict
    list(agent.changed(102, [Change("host", "node1", None)], (), NOW))
    assert not agent.conflict
    assert list(agent.ticked()) == [Announce(SELF)]


def test_another_instance_in_a_list() -> None:
    """Under a name that another host has, nothing is written: no record, and no claim of a block."""
    agent = fresh()
    found = listed(agent, snapshot(SELF._replace(instance="9" * 32), OTHER))
    assert agent.conflict
    assert without_lines(found) == [Compare(), Save()]
    assert list(agent.ticked()) == []
    listed(agent, snapshot(OTHER))
    assert not agent.conflict
    assert ClaimAgain(MINE) in list(agent.ticked())


def test_cloned_disk() -> None:
    """The same instance announces another address, though this host's own has not changed."""
    agent = fresh()
    listed(agent, snapshot())
    list(agent.announced(SELF))
    list(agent.changed(101, [Change("host", "node1", SELF)], (), NOW))
    assert not agent.conflict
    clone = SELF._replace(addresses=(ip_address("192.0.2.66"),))
    found = list(agent.changed(102, [Change("host", "node1", clone)], (), NOW))
    assert "192.0.2.66" in agent.conflict
    assert "192.0.2.11" in agent.conflict
    assert Announce(SELF) not in found
    """Two that write in turn would end nothing."""


def test_another_network_of_the_name() -> None:
    """It was made anew while this host was away: it has no data path here, and why."""
    agent = fresh()
    listed(agent, WHOLE._replace(networks={"web": WEB._replace(id="b" * 32)}, blocks={}))
    assert agent.members() == []
    assert "another network web" in agent.status(1, {}).networks["web"].why


def test_data_path() -> None:
    """Said when it stands, and when it does not any more."""
    agent = ready()
    assert not agent.status(1, {}).networks["web"].ready
    assert list(agent.compared({"web": ""})) == [Say("network web: the data path stands")]
    assert list(agent.compared({"web": ""})) == []
    assert agent.status(1, {}).networks["web"].ready
    assert "does not stand: no VXLAN" in lines(list(agent.compared({"web": "no VXLAN"})))
    assert agent.status(1, {}).networks["web"].why == "no VXLAN"


def test_problems() -> None:
    """Each is said once; many are counted; STATUS has them as warnings."""
    agent = ready()
    sentences = [f"host n{number} is not reached" for number in range(NAMED_MAX + 2)]
    found = list(agent.compared({"web": ""}, sentences))
    assert len(found) == 1 + NAMED_MAX + 1
    assert "2 more entries" in lines(found)
    assert list(agent.compared({"web": ""}, sentences)) == []
    assert agent.status(1, {}).warnings == tuple(sentences)


def test_skipped() -> None:
    """What cannot be read is said once and is a warning until it is gone."""
    agent = fresh()
    assert "left out of what etcd has: hosts/x is no JSON" in lines(
        list(agent.listed(WHOLE, ["hosts/x is no JSON"], NOW))
    )
    assert "left out" not in lines(list(agent.listed(WHOLE, ["hosts/x is no JSON"], NOW)))
    assert agent.status(1, {}).warnings == ("hosts/x is no JSON",)


def test_much_that_is_skipped() -> None:
    """What others write into the store does not flood the log."""
    sentences = [f"hosts/x{number} is no JSON" for number in range(NAMED_MAX + 100)]
    found = list(fresh().listed(WHOLE, sentences, NOW))
    assert lines(found).count("is no JSON") == NAMED_MAX
    assert "100 more things are left out" in lines(found)


def test_figures() -> None:
    """What is known, and how often the store was read and was away."""
    agent = ready()
    list(agent.silent("refused", NOW))
    figures = agent.status(1, {"compares": 3}).figures
    assert figures == {"hosts": 2, "silent_hosts": 2, "blocks": 2, "lists": 1, "store_failures": 1, "compares": 3}


def test_life_without_a_host() -> None:
    """A key that stayed behind is of no host, and hides no silent one."""
    agent = fresh()
    listed(agent, WHOLE._replace(alive=frozenset({"node1", "gone"})))
    assert agent.status(1, {}).figures["silent_hosts"] == 1
