"""host-local: what is given, refused, kept and freed. Beside the reference executable: tests/differential."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cni_cnm import ipam
from cni_cnm.errors import AddressesExhausted, CheckFailed, Conflict, InvalidConfig, IoFailed, NotReady
from cni_cnm.ipam import leases as leases_module
from cni_cnm.model import Address, Dns, EndpointSpec, IpamSpec, Lease, Route
from tests.unit.ipam_room import NETWORK, Room, ranges

SMALL = ranges("10.1.0.0/29")  # .2 to .6
DUAL = ranges("10.1.0.0/29", "fd00::/125")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_files(room: Room) -> None:
    """The store is the reference's: names, contents, modes."""
    assert room.add(DUAL, "c1") == ["10.1.0.2", "fd00::2"]
    assert room.held() == {"10.1.0.2": "c1\r\neth0", "fd00::2": "c1\r\neth0"}
    assert (room.folder / "last_reserved_ip.0").read_bytes() == b"10.1.0.2"
    assert (room.folder / "last_reserved_ip.1").read_bytes() == b"fd00::2"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in room.folder.iterdir()}
    assert modes.pop("lock") == 0o750
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(room.folder.stat().st_mode) == 0o755
    assert room.delete("c1") == {"10.1.0.2", "fd00::2"}
    assert room.held() == {}


def test_lease(room: Room) -> None:
    """The lease has the subnet's prefix, the gateway, the routes with all their attributes, and resolvConf's DNS."""
    (room.endpoints / "resolv").write_text(
        "# made\n;x\nnameserver 1.1.1.1 x\nsearch a b\nsearch c\ndomain d\noptions o:1\nx y\n"
    )
    config = {
        **SMALL,
        "routes": [
            {"dst": "10.9.0.0/16", "gw": "10.1.0.3", "mtu": 1400, "advmss": 1300, "priority": 5, "table": 7, "scope": 0}
        ],
        "resolvconf": str(room.endpoints / "resolv"),
    }
    found = room.pool(config).acquire(room.key("c1"), EndpointSpec("c1", "eth0", "", "test"))
    assert found.addresses == (Address(ip_interface("10.1.0.2/29"), ip_address("10.1.0.1")),)
    assert found.routes == (Route(ip_interface("10.9.0.0/16").network, ip_address("10.1.0.3"), 1400, 1300, 5, 7, 0),)
    assert found.dns == Dns(("1.1.1.1",), "d", ("a", "b", "c"), ("o:1",))


def test_round_robin(room: Room) -> None:
    """An address that was given back is the last to be given again."""
    assert [room.add(SMALL, f"c{n}") for n in range(3)] == [["10.1.0.2"], ["10.1.0.3"], ["10.1.0.4"]]
    room.delete("c0")
    assert [room.add(SMALL, f"d{n}") for n in range(3)] == [["10.1.0.5"], ["10.1.0.6"], ["10.1.0.2"]]


def test_all_or_nothing(room: Room) -> None:
    """When one range set is exhausted, nothing of the others stays reserved, nor moves on."""
    config = ranges("10.1.0.0/24", "10.2.0.0/30")
    room.add(config, "c1")
    before = room.held()
    cursor = (room.folder / "last_reserved_ip.0").read_text()
    with pytest.raises(AddressesExhausted, match=r"podnet has no free address in 10\.2\.0\.1-10\.2\.0\.2"):
        room.add(config, "c2")
    assert room.held() == before
    assert (room.folder / "last_reserved_ip.0").read_text() == cursor


def test_requested(room: Room) -> None:
    """A requested address is taken from the set that has it, whatever prefix it came with; the other sets go on."""
    assert room.add(DUAL, "c1", ip_interface("fd00::5/99")) == ["10.1.0.2", "fd00::5"]
    assert room.add(DUAL, "c2") == ["10.1.0.3", "fd00::6"]


@pytest.mark.parametrize(
    ("wishes", "named"),
    [
        (("10.1.0.1",), "is the gateway"),
        (("10.1.0.7",), "10.1.0.7 is not one of 10.1.0.1-10.1.0.6"),
        (("10.1.0.3", "10.1.0.4"), "10.1.0.4 is not one of"),
        (("10.1.0.2",), "10.1.0.2 of the network podnet is taken"),
    ],
)
def test_requested_in_vain(room: Room, wishes: tuple[str, ...], named: str) -> None:
    """A gateway, an address outside, a second one of a set, and a taken one are refused; nothing is reserved."""
    room.add(SMALL, "c1")
    with pytest.raises(InvalidConfig, match=named):
        room.add(SMALL, "c2", *map(ip_address, wishes))
    assert set(room.held()) == {"10.1.0.2"}


def test_second_address_refused(room: Room) -> None:
    """An endpoint that the reference gave an address gets no second one, also when it asks for one."""
    room.foreign("10.1.0.4", "c1\r\neth0")
    for wishes in ((), (ip_address("10.1.0.5"),)):
        with pytest.raises(Conflict, match=r"has 10\.1\.0\.4 of network podnet already"):
            room.add(SMALL, "c1", *wishes)
    assert room.add(SMALL, "c1", ifname="eth1") == ["10.1.0.2"]
    assert room.delete_unrecorded(SMALL, "c1") == {"10.1.0.4"}
    assert room.add(SMALL, "c1") == ["10.1.0.3"]


def test_full_at_last(room: Room) -> None:
    """Each address of a range is given once, past more collisions than are tried one by one, in the usual order."""
    config = ranges("10.1.0.0/24")
    for n in range(2, 200):
        room.foreign(f"10.1.0.{n}", f"other{n}\r\neth0")
    room.foreign("last_reserved_ip.0", "10.1.0.9")
    found = [room.add(config, f"c{n}")[0] for n in range(55)]
    assert found == [f"10.1.0.{n}" for n in range(200, 255)]
    with pytest.raises(AddressesExhausted):
        room.add(config, "late")


@pytest.mark.parametrize("taken", [0, 100])
def test_empty_lease_is_reclaimed(room: Room, taken: int) -> None:
    """An empty lease, as a crash leaves it, blocks its address no longer than until it is met."""
    for n in range(taken):
        room.foreign(f"10.1.0.{n + 10}", "other\r\neth0")
    room.foreign("10.1.0.150", "")
    room.foreign("last_reserved_ip.0", "10.1.0.149" if not taken else "10.1.0.9")
    config = (
        {"subnet": "10.1.0.0/24", "rangestart": "10.1.0.10", "rangeend": "10.1.0.109"}
        if taken
        else ranges("10.1.0.0/24")
    )
    if taken:
        (room.folder / "10.1.0.150").unlink()
        room.foreign("10.1.0.109", "")  # behind ninety-nine live ones
    assert room.add(config, "c1") == ["10.1.0.109" if taken else "10.1.0.150"]


def test_lease_of_an_earlier_epoch_is_reclaimed(room: Room) -> None:
    """What was leased before this epoch is void, unless a record of this epoch names its owner."""
    config = {"subnet": "10.1.0.0/29", "rangestart": "10.1.0.2", "rangeend": "10.1.0.3"}
    room.foreign("10.1.0.2", "lives\r\neth0", age_s=1000)
    room.foreign("10.1.0.3", "gone\r\neth0", age_s=1000)
    room.record(room.key("lives"), room.pool(config))
    pool = room.after_restart(config, lambda: time.time() - 500)
    assert pool.status().free == 1
    assert [
        str(a.interface.ip) for a in pool.acquire(room.key("c1"), EndpointSpec("c1", "eth0", "", "t")).addresses
    ] == ["10.1.0.3"]
    with pytest.raises(AddressesExhausted):
        pool.acquire(room.key("c2"), EndpointSpec("c2", "eth0", "", "t"))


def test_lease_of_this_epoch_stays(room: Room) -> None:
    """A foreign lease younger than the epoch is never touched."""
    room.foreign("10.1.0.2", "other\r\neth0", age_s=400)
    pool = room.after_restart(SMALL, lambda: time.time() - 500)
    assert (
        str(pool.acquire(room.key("c1"), EndpointSpec("c1", "eth0", "", "t")).addresses[0].interface.ip) == "10.1.0.3"
    )


def test_foreign_things_block_nothing(room: Room) -> None:
    """Folders, pipes, dangling links and garbage under the names of addresses are passed over, and stay."""
    room.foreign("10.1.0.3", "\xff\xfe garbage " * 5000)
    (room.folder / "10.1.0.2").mkdir()
    os.mkfifo(room.folder / "10.1.0.4")
    (room.folder / "10.1.0.5").symlink_to("/nowhere")
    room.foreign("last_reserved_ip.0", "not an address")
    room.foreign("notes", "c1\r\neth0")
    assert room.delete_unrecorded(SMALL, "c1") == set()
    assert room.add(SMALL, "c1") == ["10.1.0.6"]
    assert room.pool(SMALL).status().free == 0
    assert room.delete("c1") == {"10.1.0.6"}
    assert len(list(room.folder.iterdir())) == 7


def test_release_leaves_others_alone(room: Room) -> None:
    """An address that passed to somebody else in the meantime is neither freed nor reported."""
    room.add(DUAL, "c1")
    room.foreign("10.1.0.2", "other\r\neth0")
    assert room.delete("c1") == {"fd00::2"}
    assert room.held() == {"10.1.0.2": "other\r\neth0"}


def test_what_is_keyed_by_an_address_goes_before_it(room: Room) -> None:
    """Where that fails the addresses stay the endpoint's, so that the next release finds both."""
    room.add(SMALL, "c1")
    record = {**room.pool(SMALL).record(), "addresses": ["10.1.0.2"]}

    def fails(_: object) -> None:
        assert set(room.held()) == {"10.1.0.2"}, "reported before it is freed"
        raise IoFailed("nft is broken")

    restored = ipam.restore(NETWORK, "host-local", record, room.settings)
    with pytest.raises(IoFailed, match="nft is broken"):
        restored.release(room.key("c1"), {}, fails)
    assert set(room.held()) == {"10.1.0.2"}
    seen: list[Any] = []
    restored.release(room.key("c1"), {}, seen.append)
    assert (seen, room.held()) == ([{ip_address("10.1.0.2")}], {})


@pytest.mark.parametrize("known", [True, False])
def test_release_after_a_kill(room: Room, known: bool) -> None:
    """A record written before the addresses were known still frees them, in the default folder if it has none."""
    room.add(SMALL, "c1")
    record = room.pool(SMALL).record() if known else {}
    seen: list[Any] = []
    ipam.restore(NETWORK, "host-local", record, room.settings).release(room.key("c1"), {}, seen.append)
    assert seen == [{ip_address("10.1.0.2")}]
    assert room.held() == {}


def test_repeated_release(room: Room) -> None:
    """Nothing held is success: twice, or in a folder that never was; and no folder is made."""
    assert room.delete_unrecorded(SMALL, "c1") == set()
    assert not room.folder.exists()
    room.add(SMALL, "c1")
    record = {"folder": str(room.folder), "run_dir": room.settings.run_dir, "addresses": ["10.1.0.2"]}
    for expected in ({ip_address("10.1.0.2")}, set()):
        seen: list[Any] = []
        ipam.restore(NETWORK, "host-local", record, room.settings).release(room.key("c1"), {}, seen.append)
        assert seen == [expected]


@pytest.mark.parametrize("config", [{}, {"ranges": "x"}, {"subnet": "10.1.0.7/24", "routes": 5}])
def test_unrecorded_release_with_a_broken_configuration(room: Room, config: dict[str, object]) -> None:
    """A DEL needs no more of the configuration than where the leases are."""
    room.foreign("10.1.0.4", "c1\r\neth0")
    assert room.delete_unrecorded(config, "c1") == {"10.1.0.4"}


def test_old_leases(room: Room) -> None:
    """A lease with the bare container id, with white space around, is the container's; a full one goes first."""
    room.foreign("10.1.0.4", " c1\n")
    room.foreign("10.1.0.5", "c1\r\neth0 \n")
    assert room.delete_unrecorded(SMALL, "c1") == {"10.1.0.5"}
    assert room.delete_unrecorded(SMALL, "c1") == {"10.1.0.4"}


def test_check(room: Room) -> None:
    """CHECK is satisfied by the endpoint's own leases, and names whose an address is now."""
    room.add(SMALL, "c1")
    pool, lease = room.pool(SMALL), Lease((Address(ip_interface("10.1.0.2/29")),))
    pool.check(room.key("c1"), lease, {})
    room.foreign("10.1.0.2", "c2\r\neth7")
    with pytest.raises(CheckFailed, match=r"10\.1\.0\.2 of container c1 .* is leased to eth7 of c2"):
        pool.check(room.key("c1"), lease, {})
    (room.folder / "10.1.0.2").unlink()
    with pytest.raises(CheckFailed, match="is leased to nobody"):
        pool.check(room.key("c1"), lease, {})


def test_status(room: Room) -> None:
    """STATUS counts what an ADD could get: the poorest range set decides; other files do not count."""
    config = ranges("10.1.0.0/29", ["10.2.0.0/30", "10.3.0.0/30"])
    assert room.pool(config).status().free == 2
    assert not room.folder.exists()
    room.add(config, "c1")
    room.foreign("10.1.0.1", "gateway")
    room.foreign("10.1.0.5", "")
    assert room.pool(config).status() == (
        1,
        "4 of 5 free in 10.1.0.1-10.1.0.6; 1 of 2 free in 10.2.0.1-10.2.0.2,10.3.0.1-10.3.0.2",
    )


def test_status_of_an_impossible_store(room: Room) -> None:
    """STATUS says not ready where no lease can ever be written."""
    room.folder.parent.write_text("a file where the folder should be")
    with pytest.raises(NotReady, match="is no writable folder"):
        room.pool(SMALL).status()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({**SMALL, "datadir": "leases"}, "must be an absolute path"),
        ({**SMALL, "datadir": 5}, "dataDir is 5"),
        ({**SMALL, "resolvconf": ["x"]}, "resolvConf"),
        ({**SMALL, "routes": [{"dst": "10.1.2.3/8"}]}, "host bits"),
        ({**SMALL, "routes": [{"dst": "10.0.0.0/8", "gw": "fd00::1"}]}, "other IP version"),
        ({**SMALL, "routes": [{"dst": "10.0.0.0/8", "mtu": "x"}]}, "mtu is 'x'"),
        ({**SMALL, "routes": [{"dst": "10.0.0.0/8", "table": True}]}, "table is True"),
        ({**SMALL, "routes": [{}]}, "dst is None"),
    ],
)
def test_refused(room: Room, config: dict[str, object], named: str) -> None:
    """Wrong values are refused before anything is touched."""
    with pytest.raises(InvalidConfig, match=named):
        room.pool(config)
    assert not room.folder.exists()


@pytest.mark.parametrize("network", ["", ".", "..", "a/b", "../etc"])
def test_network_name_is_a_folder(room: Room, network: str) -> None:
    """A network's name cannot lead out of the store."""
    with pytest.raises(InvalidConfig, match="no network name"):
        ipam.configure(network, IpamSpec("host-local", SMALL), None, room.settings)


def test_missing_resolv_conf_reserves_nothing(room: Room) -> None:
    """A resolvConf that is gone fails the ADD before an address is taken."""
    with pytest.raises(InvalidConfig, match="resolvConf /nowhere cannot be read"):
        room.add({**SMALL, "resolvconf": "/nowhere"}, "c1")
    assert not room.folder.exists()


def test_no_walk_with_many_leases(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the index stands, neither ADD nor DEL, with record or without, lists the store."""
    config = ranges("10.1.0.0/16")
    room.add(config, "c0")

    def listed(self: object) -> Iterator[Any]:
        pytest.fail("the store was listed")

    monkeypatch.setattr(leases_module.Leases, "_entries", listed)
    for n in range(1, 50):
        assert room.delete_unrecorded(config, f"c{n}") == set()
        assert room.add(config, f"c{n}") == [f"10.1.0.{n + 2}"]
    room.delete("c7")
    assert room.delete_unrecorded(config, "c7") == set()


def test_foreign_changes_are_noticed(room: Room) -> None:
    """A lease the reference makes right after one of ours, within a clock tick, is found by the next DEL."""
    config = ranges("10.1.0.0/16")
    for n in range(100):
        room.add(config, f"c{n}")
        room.foreign(f"10.1.200.{n}", f"r{n}\r\neth0")
        assert room.delete_unrecorded(config, f"r{n}") == {f"10.1.200.{n}"}


class Allocation(RuleBasedStateMachine):
    """Our pool, with crashes of others in between, against a dict."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self._folder = tempfile.TemporaryDirectory()
        self.room = Room(Path(self._folder.name))
        self.room.folder.mkdir(parents=True)
        self.config = ranges(["10.1.0.0/29", "10.2.0.0/30"], "fd00::/126")
        self.ours: dict[str, list[str]] = {}
        self.foreign: dict[str, str] = {}

    @rule(container=st.sampled_from("abcdef"))
    def add(self, container: str) -> None:
        if container in self.ours:
            return
        taken = {address for found in self.ours.values() for address in found} | set(self.foreign)
        second = container in self.foreign.values()
        full = len(taken & {"fd00::2", "fd00::3"}) == 2 or len([a for a in taken if "." in a]) == 6
        try:
            found = self.room.add(self.config, container)
        except Conflict:
            assert second
        except AddressesExhausted:
            assert full
            assert not second
        else:
            assert not second
            assert not taken & set(found)
            self.ours[container] = found

    @rule(container=st.sampled_from("abcdef"))
    def delete(self, container: str) -> None:
        if container in self.ours:
            assert self.room.delete(container) == set(self.ours.pop(container))
            return
        expected = {address for address, owner in self.foreign.items() if owner == container}
        assert self.room.delete_unrecorded(self.config, container) == expected
        for address in expected:
            del self.foreign[address]

    @rule(container=st.sampled_from("abcdef"), address=st.sampled_from(["10.1.0.3", "10.2.0.2", "fd00::3"]))
    def foreign_lease(self, container: str, address: str) -> None:
        if address not in self.room.held():
            self.room.foreign(address, f"{container}\r\neth0")
            self.foreign[address] = container

    @rule(address=st.sampled_from(["10.1.0.4", "10.1.0.2", "fd00::2"]))
    def crash(self, address: str) -> None:
        if address not in self.room.held():
            self.room.foreign(address, "")

    @invariant()
    def store_is_the_model(self) -> None:
        held = {address: content for address, content in self.room.held().items() if content}
        expected = {a: f"{c}\r\neth0" for c, found in self.ours.items() for a in found}
        assert held == expected | {a: f"{c}\r\neth0" for a, c in self.foreign.items()}

    def teardown(self) -> None:
        self._folder.cleanup()


TestAllocation = Allocation.TestCase
TestAllocation.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
