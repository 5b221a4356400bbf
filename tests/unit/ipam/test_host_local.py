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
from cni_cnm.state.store import ENDPOINTS
from tests.unit.ipam.lease_folder import NETWORK, LeaseFolder, ranges

SMALL = ranges("10.1.0.0/29")  # .2 to .6
DUAL = ranges("10.1.0.0/29", "fd00::/125")


@pytest.fixture
def store(tmp_path: Path) -> LeaseFolder:
    return LeaseFolder(tmp_path)


def test_files(store: LeaseFolder) -> None:
    """The store is the reference's: names, contents, modes."""
    assert store.add(DUAL, "c1") == ["10.1.0.2", "fd00::2"]
    assert store.held() == {"10.1.0.2": "c1\r\neth0", "fd00::2": "c1\r\neth0"}
    assert (store.folder / "last_reserved_ip.0").read_bytes() == b"10.1.0.2"
    assert (store.folder / "last_reserved_ip.1").read_bytes() == b"fd00::2"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()}
    assert modes.pop("lock") == 0o750
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o755
    assert store.delete("c1") == {"10.1.0.2", "fd00::2"}
    assert store.held() == {}


def test_lease(store: LeaseFolder) -> None:
    """The lease has the subnet's prefix, the gateway, the routes with all their attributes, and resolvConf's DNS."""
    (store.folder.parent.parent / "resolv").write_text(
        "# made\n;x\nnameserver 1.1.1.1 x\nsearch a b\nsearch c\ndomain d\noptions o:1\nx y\n"
    )
    config = {
        **SMALL,
        "routes": [
            {"dst": "10.9.0.0/16", "gw": "10.1.0.3", "mtu": 1400, "advmss": 1300, "priority": 5, "table": 7, "scope": 0}
        ],
        "resolvconf": str(store.folder.parent.parent / "resolv"),
    }
    found = store.pool(config).acquire(store.key("c1"), EndpointSpec("c1", "eth0", "", "test"))
    assert found.addresses == (Address(ip_interface("10.1.0.2/29"), ip_address("10.1.0.1")),)
    assert found.routes == (Route(ip_interface("10.9.0.0/16").network, ip_address("10.1.0.3"), 1400, 1300, 5, 7, 0),)
    assert found.dns == Dns(("1.1.1.1",), "d", ("a", "b", "c"), ("o:1",))


def test_round_robin(store: LeaseFolder) -> None:
    """An address that was released is the last to be leased again."""
    assert [store.add(SMALL, f"c{n}") for n in range(3)] == [["10.1.0.2"], ["10.1.0.3"], ["10.1.0.4"]]
    store.delete("c0")
    assert [store.add(SMALL, f"d{n}") for n in range(3)] == [["10.1.0.5"], ["10.1.0.6"], ["10.1.0.2"]]


def test_all_or_nothing(store: LeaseFolder) -> None:
    """When one range set is exhausted, nothing of the others stays reserved, nor moves on."""
    config = ranges("10.1.0.0/24", "10.2.0.0/30")
    store.add(config, "c1")
    before = store.held()
    cursor = (store.folder / "last_reserved_ip.0").read_text()
    with pytest.raises(AddressesExhausted, match=r"podnet has no free address in 10\.2\.0\.1-10\.2\.0\.2"):
        store.add(config, "c2")
    assert store.held() == before
    assert (store.folder / "last_reserved_ip.0").read_text() == cursor


def test_requested(store: LeaseFolder) -> None:
    """A requested address is taken from the set that has it, whatever prefix it came with; the other sets go on."""
    assert store.add(DUAL, "c1", ip_interface("fd00::5/99")) == ["10.1.0.2", "fd00::5"]
    assert store.add(DUAL, "c2") == ["10.1.0.3", "fd00::6"]


@pytest.mark.parametrize(
    ("wishes", "named"),
    [
        (("10.1.0.1",), "is the gateway"),
        (("10.1.0.7",), "10.1.0.7 is not in 10.1.0.1-10.1.0.6"),
        (("10.1.0.3", "10.1.0.4"), "10.1.0.4 is not in"),
        (("10.1.0.2",), "10.1.0.2 of the network podnet is leased"),
    ],
)
def test_requested_in_vain(store: LeaseFolder, wishes: tuple[str, ...], named: str) -> None:
    """A gateway, an address outside, a second one of a set, and a taken one are refused; nothing is reserved."""
    store.add(SMALL, "c1")
    with pytest.raises(InvalidConfig, match=named):
        store.add(SMALL, "c2", *map(ip_address, wishes))
    assert set(store.held()) == {"10.1.0.2"}


def test_second_address_refused(store: LeaseFolder) -> None:
    """An endpoint that the reference gave an address gets no second one, also when it asks for one."""
    store.foreign("10.1.0.4", "c1\r\neth0")
    for wishes in ((), (ip_address("10.1.0.5"),)):
        with pytest.raises(Conflict, match=r"already has the address 10\.1\.0\.4 of the network podnet"):
            store.add(SMALL, "c1", *wishes)
    assert store.add(SMALL, "c1", ifname="eth1") == ["10.1.0.2"]
    assert store.delete_unrecorded(SMALL, "c1") == {"10.1.0.4"}
    assert store.add(SMALL, "c1") == ["10.1.0.3"]


def test_full_at_last(store: LeaseFolder) -> None:
    """Each address of a range is given once, past more collisions than are tried one by one, in the usual order."""
    config = ranges("10.1.0.0/24")
    for n in range(2, 200):
        store.foreign(f"10.1.0.{n}", f"other{n}\r\neth0")
    store.foreign("last_reserved_ip.0", "10.1.0.9")
    found = [store.add(config, f"c{n}")[0] for n in range(55)]
    assert found == [f"10.1.0.{n}" for n in range(200, 255)]
    with pytest.raises(AddressesExhausted):
        store.add(config, "late")


@pytest.mark.parametrize("taken", [0, 100])
def test_empty_lease_is_reclaimed(store: LeaseFolder, taken: int) -> None:
    """An empty lease, as a crash leaves it, blocks its address no longer than until it is met."""
    for n in range(taken):
        store.foreign(f"10.1.0.{n + 10}", "other\r\neth0")
    store.foreign("10.1.0.150", "")
    store.foreign("last_reserved_ip.0", "10.1.0.149" if not taken else "10.1.0.9")
    config = (
        {"subnet": "10.1.0.0/24", "rangestart": "10.1.0.10", "rangeend": "10.1.0.109"}
        if taken
        else ranges("10.1.0.0/24")
    )
    if taken:
        (store.folder / "10.1.0.150").unlink()
        store.foreign("10.1.0.109", "")  # behind ninety-nine live ones
    assert store.add(config, "c1") == ["10.1.0.109" if taken else "10.1.0.150"]


def test_lease_of_an_earlier_epoch_is_reclaimed(store: LeaseFolder) -> None:
    """What was leased before this epoch is void, unless a record of this epoch names its owner."""
    config = {"subnet": "10.1.0.0/29", "rangestart": "10.1.0.2", "rangeend": "10.1.0.3"}
    store.foreign("10.1.0.2", "lives\r\neth0", age_s=1000)
    store.foreign("10.1.0.3", "gone\r\neth0", age_s=1000)
    store.record(store.key("lives"), store.pool(config))
    pool = store.after_restart(config, lambda: time.time() - 500)
    assert pool.status().free == 1
    assert [
        str(a.interface.ip) for a in pool.acquire(store.key("c1"), EndpointSpec("c1", "eth0", "", "t")).addresses
    ] == ["10.1.0.3"]
    with pytest.raises(AddressesExhausted):
        pool.acquire(store.key("c2"), EndpointSpec("c2", "eth0", "", "t"))


def test_the_same_container_after_a_restart(store: LeaseFolder) -> None:
    """podman starts a container again under its id. The record of this ADD has no addresses, so it vouches for none."""
    config = {"subnet": "10.1.0.0/29"}
    for address in ("10.1.0.4", "10.1.0.5"):
        store.foreign(address, "one\r\neth0", age_s=1000)
    pool = store.after_restart(config, lambda: time.time() - 500)
    store.record(store.key("one"), pool, leased=False)
    wished = EndpointSpec("one", "eth0", "", "t", addresses=(ip_address("10.1.0.4"),))
    assert [str(one.interface) for one in pool.acquire(store.key("one"), wished).addresses] == ["10.1.0.4/29"]


def test_lease_of_this_epoch_stays(store: LeaseFolder) -> None:
    """A foreign lease younger than the epoch is never touched."""
    store.foreign("10.1.0.2", "other\r\neth0", age_s=400)
    pool = store.after_restart(SMALL, lambda: time.time() - 500)
    assert (
        str(pool.acquire(store.key("c1"), EndpointSpec("c1", "eth0", "", "t")).addresses[0].interface.ip) == "10.1.0.3"
    )


def test_foreign_things_block_nothing(store: LeaseFolder) -> None:
    """Folders, pipes, dangling links and garbage under the names of addresses are passed over, and stay."""
    store.foreign("10.1.0.3", "\xff\xfe garbage " * 5000)
    (store.folder / "10.1.0.2").mkdir()
    os.mkfifo(store.folder / "10.1.0.4")
    (store.folder / "10.1.0.5").symlink_to("/nowhere")
    store.foreign("last_reserved_ip.0", "not an address")
    store.foreign("notes", "c1\r\neth0")
    assert store.delete_unrecorded(SMALL, "c1") == set()
    assert store.add(SMALL, "c1") == ["10.1.0.6"]
    assert store.pool(SMALL).status().free == 0
    assert store.delete("c1") == {"10.1.0.6"}
    assert len(list(store.folder.iterdir())) == 7


def test_release_leaves_others_alone(store: LeaseFolder) -> None:
    """An address that another endpoint has meanwhile is neither released nor reported."""
    store.add(DUAL, "c1")
    store.foreign("10.1.0.2", "other\r\neth0")
    assert store.delete("c1") == {"fd00::2"}
    assert store.held() == {"10.1.0.2": "other\r\neth0"}


def test_what_is_keyed_by_an_address_goes_before_it(store: LeaseFolder) -> None:
    """Where that fails the addresses stay the endpoint's, so that the next release finds both."""
    store.add(SMALL, "c1")
    record = {**store.pool(SMALL).record(), "addresses": ["10.1.0.2"]}

    def fails(_: object) -> None:
        assert set(store.held()) == {"10.1.0.2"}, "reported before it is freed"
        raise IoFailed("nft is broken")

    restored = ipam.restore(NETWORK, "host-local", record, store.host)
    with pytest.raises(IoFailed, match="nft is broken"):
        restored.release(store.key("c1"), {}, fails)
    assert set(store.held()) == {"10.1.0.2"}
    seen: list[Any] = []
    restored.release(store.key("c1"), {}, seen.append)
    assert (seen, store.held()) == ([{ip_address("10.1.0.2")}], {})


@pytest.mark.parametrize("known", [True, False])
def test_release_after_a_kill(store: LeaseFolder, known: bool) -> None:
    """A record written before the addresses were known still frees them, in the default folder if it has none."""
    store.add(SMALL, "c1")
    record = store.pool(SMALL).record() if known else {}
    seen: list[Any] = []
    ipam.restore(NETWORK, "host-local", record, store.host).release(store.key("c1"), {}, seen.append)
    assert seen == [{ip_address("10.1.0.2")}]
    assert store.held() == {}


def test_repeated_release(store: LeaseFolder) -> None:
    """Nothing held is success: twice, or in a folder that never was; and no folder is made."""
    assert store.delete_unrecorded(SMALL, "c1") == set()
    assert not store.folder.exists()
    store.add(SMALL, "c1")
    record = {"folder": str(store.folder), "run_dir": store.settings.run_dir, "addresses": ["10.1.0.2"]}
    for expected in ({ip_address("10.1.0.2")}, set()):
        seen: list[Any] = []
        ipam.restore(NETWORK, "host-local", record, store.host).release(store.key("c1"), {}, seen.append)
        assert seen == [expected]


@pytest.mark.parametrize("config", [{}, {"ranges": "x"}, {"subnet": "10.1.0.7/24", "routes": 5}])
def test_unrecorded_release_with_a_broken_configuration(store: LeaseFolder, config: dict[str, object]) -> None:
    """A DEL needs no more of the configuration than where the leases are."""
    store.foreign("10.1.0.4", "c1\r\neth0")
    assert store.delete_unrecorded(config, "c1") == {"10.1.0.4"}


def test_old_leases(store: LeaseFolder) -> None:
    """A lease with the bare container id, with white space around, is the container's; a full one goes first."""
    store.foreign("10.1.0.4", " c1\n")
    store.foreign("10.1.0.5", "c1\r\neth0 \n")
    assert store.delete_unrecorded(SMALL, "c1") == {"10.1.0.5"}
    assert store.delete_unrecorded(SMALL, "c1") == {"10.1.0.4"}


def test_check(store: LeaseFolder) -> None:
    """CHECK is satisfied by the endpoint's own leases, and names whose an address is now."""
    store.add(SMALL, "c1")
    pool, lease = store.pool(SMALL), Lease((Address(ip_interface("10.1.0.2/29")),))
    pool.check(store.key("c1"), lease, {})
    store.foreign("10.1.0.2", "c2\r\neth7")
    with pytest.raises(CheckFailed, match=r"10\.1\.0\.2 of container c1 .* is leased to eth7 of c2"):
        pool.check(store.key("c1"), lease, {})
    (store.folder / "10.1.0.2").unlink()
    with pytest.raises(CheckFailed, match="is leased to no container"):
        pool.check(store.key("c1"), lease, {})


def test_status(store: LeaseFolder) -> None:
    """STATUS says whether an ADD could get addresses: the poorest range set decides; other files do not count.

    What is left is counted where one set is used up.
    """
    config = ranges("10.1.0.0/29", ["10.2.0.0/30", "10.3.0.0/30"])
    assert store.pool(config).status() == (1, "")
    assert not store.folder.exists()
    store.add(config, "c1")
    store.foreign("10.1.0.1", "gateway")
    store.foreign("10.1.0.5", "")
    assert store.pool(config).status() == (1, "")
    store.add(config, "c2")
    assert store.pool(config).status() == (
        0,
        "3 of 5 free in 10.1.0.1-10.1.0.6; 0 of 2 free in 10.2.0.1-10.2.0.2,10.3.0.1-10.3.0.2",
    )


def test_status_lists_no_leases(store: LeaseFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows with no number of leases, as long as an ADD finds an address at once."""
    store.add(SMALL, "c1")
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", lambda *_: pytest.fail("the leases were listed"))
        assert store.pool(SMALL).status().free


def test_status_of_void_leases(store: LeaseFolder) -> None:
    """An address whose lease is void is free."""
    config = ranges("10.2.0.0/30")
    store.foreign("10.2.0.2", "")
    assert store.pool(config).status().free == 1
    store.foreign("10.2.0.2", "c1\r\neth0")
    assert store.pool(config).status().free == 0


def test_status_of_an_impossible_store(store: LeaseFolder) -> None:
    """STATUS says not ready where no lease can ever be written."""
    store.folder.parent.write_text("a file where the folder should be")
    with pytest.raises(NotReady, match="is not a writable folder"):
        store.pool(SMALL).status()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({**SMALL, "datadir": "leases"}, "must be an absolute path"),
        ({**SMALL, "datadir": 5}, "dataDir is 5"),
        ({**SMALL, "resolvconf": ["x"]}, "resolvConf"),
        ({**SMALL, "routes": [{"dst": "10.1.2.3"}]}, "a network in CIDR notation"),
        ({**SMALL, "routes": [{"dst": "10.0.0.0/8", "gw": "fd00::1"}]}, "gw is .*, it must be an IPv4 address"),
        ({**SMALL, "routes": [{"dst": "10.0.0.0/8", "mtu": "x"}]}, 'mtu is "x"'),
        ({**SMALL, "routes": [{"dst": "10.0.0.0/8", "table": True}]}, "table is true"),
        ({**SMALL, "routes": [{}]}, "dst is missing"),
    ],
)
def test_refused(store: LeaseFolder, config: dict[str, object], named: str) -> None:
    """Wrong values are refused before anything is touched."""
    with pytest.raises(InvalidConfig, match=named):
        store.pool(config)
    assert not store.folder.exists()


@pytest.mark.parametrize("network", ["", ".", "..", "a/b", "../etc"])
def test_network_name_is_a_folder(store: LeaseFolder, network: str) -> None:
    """A network's name cannot lead out of the store."""
    with pytest.raises(InvalidConfig, match="the network's name is"):
        ipam.configure(network, IpamSpec("host-local", SMALL), None, store.host)


def test_missing_resolv_conf_reserves_nothing(store: LeaseFolder) -> None:
    """A resolvConf that is gone fails the ADD before an address is taken."""
    with pytest.raises(InvalidConfig, match="resolvConf /nowhere cannot be read"):
        store.add({**SMALL, "resolvconf": "/nowhere"}, "c1")
    assert not store.folder.exists()


def test_a_link_in_the_place_of_a_file_of_the_store(store: LeaseFolder) -> None:
    """A lease counts as taken, and is not read. Where the next allocation begins is not written through a link."""
    elsewhere = store.folder.parent.parent / "elsewhere"
    elsewhere.write_text("nothing of ours")
    store.foreign("10.1.0.2", "").unlink()
    (store.folder / "10.1.0.2").symlink_to(elsewhere)
    assert store.add(ranges("10.1.0.0/24"), "c1") == ["10.1.0.3"]
    (store.folder / "last_reserved_ip.0").unlink()
    (store.folder / "last_reserved_ip.0").symlink_to(elsewhere)
    with pytest.raises(IoFailed, match=r"last_reserved_ip\.0 cannot be written: Too many levels"):
        store.add(ranges("10.1.0.0/24"), "c2")
    assert "10.1.0.4" not in store.held()
    assert elsewhere.read_text() == "nothing of ours"


def test_no_walk_with_many_leases(store: LeaseFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the index stands, neither ADD nor DEL, with record or without, lists the store."""
    config = ranges("10.1.0.0/16")
    store.add(config, "c0")

    def listed(self: object) -> Iterator[Any]:
        pytest.fail("the store was listed")

    monkeypatch.setattr(leases_module.Leases, "_entries", listed)
    for n in range(1, 50):
        assert store.delete_unrecorded(config, f"c{n}") == set()
        assert store.add(config, f"c{n}") == [f"10.1.0.{n + 2}"]
    store.delete("c7")
    assert store.delete_unrecorded(config, "c7") == set()


def test_foreign_changes_are_noticed(store: LeaseFolder) -> None:
    """A lease the reference makes right after one of ours, within a clock tick, is found by the next DEL."""
    config = ranges("10.1.0.0/16")
    for n in range(100):
        store.add(config, f"c{n}")
        store.foreign(f"10.1.200.{n}", f"r{n}\r\neth0")
        assert store.delete_unrecorded(config, f"r{n}") == {f"10.1.200.{n}"}


@pytest.mark.parametrize(("state", "again"), [("ready", True), ("pending", False)])
def test_a_lease_that_is_gone(store: LeaseFolder, state: str, again: bool) -> None:
    """It is written again for a container that may be alive, and not while a DEL removes the record after it."""
    config = ranges("10.1.0.0/16")
    store.add(config, "c1")
    key = store.key("c1")
    record = {"network": key.network, "epoch": store.host.epoch, "state": state, "holder": [key.container_id, "eth0"],
              "ipam_type": "host-local", "ipam": {"addresses": ["10.1.0.2"]}}  # fmt: skip
    store.host.store.put(ENDPOINTS, key.id, record)
    (store.folder / "10.1.0.2").unlink()
    store.add(config, "c2")
    assert (store.folder / "10.1.0.2").exists() == again


class Allocation(RuleBasedStateMachine):
    """Our pool, with crashes of others in between, against a dict."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self._folder = tempfile.TemporaryDirectory()
        self.store = LeaseFolder(Path(self._folder.name))
        self.store.folder.mkdir(parents=True)
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
            found = self.store.add(self.config, container)
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
            assert self.store.delete(container) == set(self.ours.pop(container))
            return
        expected = {address for address, owner in self.foreign.items() if owner == container}
        assert self.store.delete_unrecorded(self.config, container) == expected
        for address in expected:
            del self.foreign[address]

    @rule(container=st.sampled_from("abcdef"), address=st.sampled_from(["10.1.0.3", "10.2.0.2", "fd00::3"]))
    def foreign_lease(self, container: str, address: str) -> None:
        if address not in self.store.held():
            self.store.foreign(address, f"{container}\r\neth0")
            self.foreign[address] = container

    @rule(address=st.sampled_from(["10.1.0.4", "10.1.0.2", "fd00::2"]))
    def crash(self, address: str) -> None:
        if address not in self.store.held():
            self.store.foreign(address, "")

    @invariant()
    def store_is_the_model(self) -> None:
        held = {address: content for address, content in self.store.held().items() if content}
        expected = {a: f"{c}\r\neth0" for c, found in self.ours.items() for a in found}
        assert held == expected | {a: f"{c}\r\neth0" for a, c in self.foreign.items()}

    def teardown(self) -> None:
        self._folder.cleanup()


TestAllocation = Allocation.TestCase
TestAllocation.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
