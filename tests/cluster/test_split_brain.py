"""No two hosts have one block, whatever is lost on the way to etcd and in whichever order requests arrive.

Hosts run in threads, each up to its next request. hypothesis chooses which request the model of etcd gets next, and
what happens to it: it is answered, or lost before or after it was done, or done late. Late is long after the host was
told that its connection ended. Nothing depends on time, so a failure is shrunk to the few requests that matter.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cni_cnm.cluster import value_json
from cni_cnm.cluster.etcd import client as client_module
from cni_cnm.cluster.etcd.directory import EtcdDirectory
from cni_cnm.cluster.etcd.networks import clash_of
from cni_cnm.cluster.http.connection import Answer, NoAnswer
from cni_cnm.cluster.values import Block, ClusterHost, OverlayNetwork
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import CnmError, DirectoryUnreachable
from cni_cnm.model import ip_network
from tests.cluster.etcd_model import EtcdModel, Refused
from tests.cluster.etcd_server import EtcdServer
from tests.cluster.examples import host, network
from tests.cluster.killing_proxy import KillingProxy
from tests.cluster.model_gateway import ModelGateway

SMALL = network("small", "10.32.0.0/22", vni=5000)
"""Four blocks: all hosts want the same ones."""
OVERLAPPING = (network("one", "10.40.0.0/16"), network("two", "10.40.128.0/17"), network("three", "10.41.0.0/16"))
FAULTS_MAX = 12
"""In one example. Without an end to them no call would end."""


class World:
    """The model, and what hosts want of it."""

    def __init__(self, data: st.DataObject) -> None:
        self.model = EtcdModel()
        self._data = data
        self._step = threading.Condition()
        self._asked: dict[str, tuple[str, Any]] = {}
        self._answers: dict[str, tuple[int, bytes] | NoAnswer] = {}
        self._running: set[str] = set()
        self._late: list[tuple[str, Any]] = []
        self._faults = FAULTS_MAX
        self.failures: list[BaseException] = []

    # called by the threads of hosts --------------------------------------------------
    def ask(self, call: str, body: bytes) -> tuple[int, bytes]:
        name = threading.current_thread().name
        with self._step:
            self._asked[name] = call, json.loads(body)
            self._step.notify_all()
            self._step.wait_for(lambda: name in self._answers)
            answer = self._answers.pop(name)
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    def run(self, hosts: Mapping[str, Callable[[], object]]) -> None:
        """Until all have ended, and what is late is done."""

        def body(do: Callable[[], object]) -> None:
            try:
                do()
            except BaseException as error:
                self.failures.append(error)
            finally:
                with self._step:
                    self._running.discard(threading.current_thread().name)
                    self._step.notify_all()

        self._running = set(hosts)
        threads = [threading.Thread(target=body, args=(do,), name=name, daemon=True) for name, do in hosts.items()]
        for thread in threads:
            thread.start()
        while self._wait():
            self._next()
        while self._late:
            self._do(*self._late.pop(0))
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    # ------------------------------------------------------------------------------------
    def _wait(self) -> bool:
        """Until each host that runs has asked. False if none runs."""
        with self._step:
            self._step.wait_for(lambda: set(self._asked) >= self._running)
            return bool(self._running)

    def _next(self) -> None:
        names = sorted(self._asked)
        if self._late and self._data.draw(st.integers(0, 3), "is something late done now") == 0:
            self._do(*self._late.pop(self._data.draw(st.integers(0, len(self._late) - 1), "which")))
            return
        name = self._data.draw(st.sampled_from(names), "whose request")
        fate = "answered"
        if self._faults:
            fate = self._data.draw(st.sampled_from(["answered", "answered", "before", "after", "late"]), "its fate")
        self._faults -= fate != "answered"
        call, request = self._asked.pop(name)
        answer: tuple[int, bytes] | NoAnswer = NoAnswer("lost", sent=True)
        if fate in ("answered", "after"):
            status, found = self._do(call, request)
            answer = (status, json.dumps(found).encode()) if fate == "answered" else answer
        elif fate == "late":
            self._late.append((call, request))
        with self._step:
            self._answers[name] = answer
            self._step.notify_all()
            self._step.wait_for(lambda: name not in self._answers)

    def _do(self, call: str, request: Any) -> tuple[int, Any]:
        try:
            found = 200, self.model.answer(call, request)
        except Refused as error:
            found = 400, {"error": str(error), "code": error.code}
        check_store(self.model)
        return found


class WorldConnection:
    """In place of cni_cnm.cluster.http.connection.Connection."""

    world: World

    def __init__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass

    cut = close

    def fresh(self) -> bool:
        return True

    def ask(self, _method: str, path: str, body: bytes, _headers: object, _until: float) -> Answer:
        return Answer(*self.world.ask(path.removeprefix("/v3/"), body), "")


def check_store(model: EtcdModel) -> None:
    """What holds at every moment: networks do not clash, and each block is of a network that is there."""
    networks = {}
    for key, pair in model.pairs.items():
        if key.startswith(b"/p/networks/"):
            name = key.decode().rsplit("/", 1)[1]
            networks[name] = value_json.network(name, pair.value, name)
    for one, other in combinations(networks.values(), 2):
        assert not clash_of(one, other)
    for key, pair in model.pairs.items():
        if key.startswith(b"/p/blocks/"):
            name = key.decode().split("/")[3]
            assert value_json.owner(pair.value, name).network_id == networks[name].id


class Host:
    """A host that claims and releases, and remembers what it has."""

    def __init__(self, own: ClusterHost, holders: dict[Block, str]) -> None:
        self.own = own
        self.holders = holders
        """Which host uses which block: shared by all hosts. The last entry is by the one that was told so last."""
        self.directory = directory()

    def do(self, actions: Sequence[str]) -> None:
        for action in actions:
            with suppress(CnmError):  # the store was not reached, or refused: what was held is held
                getattr(self, action)()

    def held(self) -> list[Block]:
        return sorted(block for block, name in self.holders.items() if name == self.own.name)

    def claim(self) -> None:
        self._use(self.directory.claim(SMALL, self.own))

    def find(self) -> None:
        """What a call claimed that did not get the answer."""
        for block in self.directory.snapshot().blocks.values():
            if (block.host, block.instance) == (self.own.name, self.own.instance):
                self._use(self.directory.claim(SMALL, self.own, [block.subnets]))

    def claim_first(self) -> None:
        self._use(self.directory.claim(SMALL, self.own, [(ip_network("10.32.0.0/24"),)]))

    def release(self) -> None:
        for block in self.held()[:1]:
            del self.holders[block]  # it is used no more, then released
            self.directory.release(block)

    def again(self) -> None:
        for block in self.held():
            assert self.directory.claim_again(block)

    def leave(self) -> None:
        for block in self.held():
            del self.holders[block]
        self.directory.leave(self.own.name, instance=self.own.instance)

    def create(self) -> None:
        for each in OVERLAPPING:
            with suppress(CnmError):
                self.directory.create_network(each)

    def delete(self) -> None:
        for each in (*OVERLAPPING, SMALL):
            self.directory.delete_network(each.name)

    def live(self) -> None:
        self.directory.show_life(self.own)

    def _use(self, block: Block) -> None:
        for other, name in self.holders.items():
            assert name == self.own.name or other.subnets != block.subnets, f"{name} and {self.own.name} have {block}"
        assert (block.host, block.instance) == (self.own.name, self.own.instance)
        self.holders[block] = self.own.name


def directory() -> EtcdDirectory:
    """With two servers, so that a reading that is lost is made again."""
    return EtcdDirectory(ClusterSettings("etcd", ("http://192.0.2.1:1", "http://192.0.2.2:1"), prefix="/p"), 5)


def put_network(model: EtcdModel, made: OverlayNetwork) -> None:
    from tests.cluster.etcd_server import b64

    request = {"key": b64(f"/p/networks/{made.name}"), "value": b64(value_json.network_json(made))}
    model.answer("kv/put", request)


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's connections are the world's, and its time stands still."""
    monkeypatch.setattr(client_module, "Connection", WorldConnection)
    monkeypatch.setattr(client_module, "monotonic", lambda: 0.0)
    monkeypatch.setattr(client_module, "sleep", lambda _seconds: None)


ACTIONS = ["claim", "claim", "find", "claim_first", "release", "again", "leave", "create", "delete", "live"]
same_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@given(data=st.data())
@same_fixture
def test_no_two_hosts_have_one_block(no_time: None, data: st.DataObject) -> None:
    world = WorldConnection.world = World(data)
    put_network(world.model, SMALL)
    holders: dict[Block, str] = {}
    hosts = [Host(host(name), holders) for name in ("a", "b", "c")[: data.draw(st.integers(2, 3), "hosts")]]
    plans = {
        each.own.name: data.draw(
            st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=5), f"actions of {each.own.name}"
        )
        for each in hosts
    }
    world.run({each.own.name: lambda each=each: each.do(plans[each.own.name]) for each in hosts})  # type: ignore[misc]
    for block, name in holders.items():  # what a host was given is still its own, also after all that came late
        stored = world.model.pairs.get(f"/p/blocks/small/{index(block)}".encode())
        assert stored is not None, f"{name} was given {block}, and it is free"
        assert value_json.owner(stored.value, "x").host == name


@given(data=st.data())
@same_fixture
def test_after_a_backup_was_restored_each_block_is_claimed_again_by_one_host(
    no_time: None, data: st.DataObject
) -> None:
    world = WorldConnection.world = World(data)
    put_network(world.model, SMALL)
    holders: dict[Block, str] = {}
    hosts = [Host(host(name), holders) for name in ("a", "b", "c")]
    claims = {each.own.name: data.draw(st.lists(st.just("claim"), max_size=2), "claims") for each in hosts}
    world.run({each.own.name: lambda each=each: each.do(claims[each.own.name]) for each in hosts})  # type: ignore[misc]
    backup = world.model.backup()
    more = st.lists(st.sampled_from(["claim", "release", "find"]), max_size=4)
    later = {each.own.name: data.draw(more, "after the backup") for each in hosts}
    world.run({each.own.name: lambda each=each: each.do(later[each.own.name]) for each in hosts})  # type: ignore[misc]
    world.model.restore(backup)
    kept: dict[str, list[Block]] = {each.own.name: [] for each in hosts}

    def claim_again(each: Host) -> None:
        for block in each.held():
            with suppress(CnmError):
                if each.directory.claim_again(block):
                    kept[each.own.name].append(block)
        with suppress(CnmError):  # one that goes on at once, as a host that joins
            kept[each.own.name].append(each.directory.claim(SMALL, each.own))

    world.run({each.own.name: lambda each=each: claim_again(each) for each in hosts})  # type: ignore[misc]
    for one, other in combinations(kept, 2):
        assert not {block.subnets for block in kept[one]} & {block.subnets for block in kept[other]}
    for name, blocks in kept.items():
        for block in blocks:
            stored = world.model.pairs[f"/p/blocks/small/{index(block)}".encode()]
            assert value_json.owner(stored.value, "x").host == name


def index(block: Block) -> int:
    return (int(block.subnets[0].network_address) >> 8) & 3


def test_a_release_that_is_done_late_does_not_take_a_block_that_was_claimed_since() -> None:
    own = host("a")
    with ModelGateway() as gateway:
        directory = EtcdDirectory(ClusterSettings("etcd", (gateway.url,)), 0.5)
        directory.announce(own)
        web = directory.create_network(network("web"))
        block = directory.claim(web, own)
        gateway.fault = lambda _call, request: "late" if "request_delete_range" in str(request) else ""
        with pytest.raises(DirectoryUnreachable):
            directory.release(block)
        assert directory.claim(web, own, [block.subnets]) == block
        gateway.do_late()
        assert directory.snapshot().blocks == {block.key: block}
        directory.close()


def test_no_two_hosts_have_one_block_of_a_real_etcd(etcd: EtcdServer) -> None:
    """Eight hosts, 64 blocks, and a proxy that kills connections before, within and after requests and answers."""
    with KillingProxy(etcd.port) as proxy:
        settings = ClusterSettings("etcd", (proxy.url, proxy.url), prefix="/split-brain")
        observer = EtcdDirectory(settings._replace(endpoints=(etcd.url,)), 5)
        web = observer.create_network(network("web", "10.32.0.0/18"))
        given: list[Block] = []
        lost = 0

        def work(number: int) -> None:
            nonlocal lost
            own = host(f"node{number}")
            directory = EtcdDirectory(settings, 10)
            for _ in range(7):
                try:
                    given.append(directory.claim(web, own))
                except CnmError:
                    lost += 1
            directory.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert proxy.killed > 20
    assert len({block.subnets for block in given}) == len(given)
    there = observer.snapshot()
    observer.close()
    assert len(given) + lost == 56
    for block in given:
        assert there.blocks[block.key] == block
