"""The plugins of a list, called one by one by their names: one endpoint, taken down in any order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.records import READY
from cni_cnm.state import small_files
from cni_cnm.state.files import FileStore
from tests.memory_kernel.nft import MemoryNft
from tests.memory_kernel.stack import MemoryStack
from tests.unit.cni.engine import ask
from tests.unit.cni.names.runtime import ALL, BRIDGE, FIREWALL, PORTMAP, TUNING, Runtime

STEPS_MAX = 60


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(tmp_path)


def test_one_record(runtime: Runtime) -> None:
    """It has the parts of all plugins, and the result is that of the whole list."""
    result = runtime.add()
    record = runtime.record()
    assert record is not None
    assert (record.state, record.parts) == (READY, ("portmap", "firewall", "bandwidth", "tuning"))
    assert [link["name"][:3] for link in result["interfaces"]] == ["br0", "vet", "eth", "bwp"]
    assert runtime.check() == [{}] * 5
    assert runtime.delete() == [{}] * 5
    assert runtime.left() == []


def test_the_log_names_the_plugin() -> None:
    """A list is one line for each of its plugins."""
    ports = {"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}]}
    conf = {"type": "portmap", "runtimeConfig": ports, "prevResult": json.loads(ask().reply.out)}
    assert ask("ADD", conf, name="/opt/cni/bin/portmap").reply.summary == "ADD podnet c1/eth0 portmap added ok"
    assert ask("DEL", conf, name="/opt/cni/bin/portmap").reply.summary == "DEL podnet c1/eth0 portmap ok"
    failed = ask("ADD", {**conf, "prevResult": None}, name="/opt/cni/bin/portmap").reply.summary
    assert failed.startswith("ADD podnet c1/eth0 portmap failed")
    bridge = {"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}
    assert ask("ADD", bridge, name="/opt/cni/bin/bridge").reply.summary == "ADD podnet c1/eth0 bridge 10.1.0.2/24 ok"


def test_deleted_in_any_order(runtime: Runtime) -> None:
    """Each plugin twice, without the namespace and without a result."""
    for number, order in enumerate(list(permutations(range(5)))[::7]):
        container = f"c{number}"
        runtime.add(container)
        runtime.results.clear()
        if number % 2:
            runtime.namespaces.remove(f"/netns/{container}")
        answers = runtime.delete(container, [index for index in order for _ in range(2)])
        assert answers == [{}] * 10
        assert runtime.left() == [], order


class Killed(BaseException):
    """Nothing of the program runs after it, no undo step either."""


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The steps that are left when the block ends: below 0 if the kill came."""
    left = [step]

    def stepping(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return function(*arguments, **named)

        return run

    changes = (
        "add_bridge", "add_veth", "add_ifb", "set_link", "delete_link", "add_address", "set_port", "set_rate",
        "redirect_ingress", "set_sysctls",
    )  # fmt: skip
    with monkeypatch.context() as patch:
        places: list[tuple[object, str]] = [(FileStore, "put"), (FileStore, "delete"), (MemoryNft, "commit")]
        places += [(small_files, "create"), (small_files, "write"), (os, "unlink")]
        for place, name in (*places, *((MemoryStack, change) for change in changes)):
            patch.setattr(place, name, stepping(getattr(place, name)))
        try:
            yield left
        except Killed:
            pass


@pytest.mark.quick("0", "4")
@pytest.mark.parametrize("killed", range(5))
def test_killed_within_an_add(tmp_path: Path, killed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each step of each plugin. DEL without a result leaves nothing, and the container can be added again."""
    for step in range(STEPS_MAX):
        runtime = Runtime(tmp_path / str(step))
        runtime.add("other")
        runtime.delete("other")  # the network is there
        runtime.namespaces.create("/netns/c1")
        previous = None
        for index in range(killed):
            previous = runtime.call("ADD", index, "c1", previous)
        with killed_at(step, monkeypatch) as left:
            runtime.call("ADD", killed, "c1", previous)
        assert runtime.delete() == [{}] * 5
        assert runtime.left() == [], step
        assert "code" not in runtime.add()
        assert runtime.check() == [{}] * 5
        if left[0] >= 0:
            return
    pytest.fail(f"{ALL[killed]['type']} has more than {STEPS_MAX} steps")


@pytest.mark.quick("0", "1")
@pytest.mark.parametrize("killed", range(5))
def test_killed_within_a_del(tmp_path: Path, killed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime repeats it."""
    for step in range(STEPS_MAX):
        runtime = Runtime(tmp_path / str(step))
        runtime.add()
        for index in range(4, killed, -1):
            runtime.call("DEL", index)
        with killed_at(step, monkeypatch) as left:
            runtime.call("DEL", killed)
        assert runtime.delete() == [{}] * 5
        assert runtime.left() == [], step
        if left[0] >= 0:
            return
    pytest.fail(f"DEL of {ALL[killed]['type']} has more than {STEPS_MAX} steps")


def test_a_part_that_fails_leaves_the_endpoint_as_it_was(runtime: Runtime) -> None:
    """A port that another container has published. After DEL the port can be published by the next one."""
    runtime.add()
    runtime.namespaces.running.add(runtime.namespaces.open("/netns/c1").inode())
    answer = runtime.add("c2")
    assert answer["code"] == 999
    assert "8080" in answer["msg"]
    record = runtime.record("c2")
    assert record is not None
    assert (record.state, record.parts, record.ports) == (READY, (), ())
    assert runtime.check() == [{}] * 5
    assert runtime.delete("c2") == [{}] * 5
    runtime.delete()
    assert "code" not in runtime.add("c2")


def test_check_of_a_part(runtime: Runtime) -> None:
    """Each plugin says what differs of its own part."""
    runtime.add()
    stack = runtime.namespaces.open("/netns/c1")
    link = stack.link("eth0")
    assert link is not None
    stack.set_link(link.ifindex, mtu=1300)
    answers = runtime.check()
    assert answers[1:4] == [{}] * 3
    assert "mtu 1300" in answers[4]["msg"]


def test_a_list_that_does_nothing_beside(tmp_path: Path) -> None:
    """podman's: no ports, no policy but the default, tuning without keys. Their DELs change nothing."""
    runtime = Runtime(tmp_path, (BRIDGE, PORTMAP, {"type": "firewall"}, {"type": "tuning"}))
    runtime.ports = []
    runtime.add()
    record = runtime.record()
    assert record is not None
    assert record.parts == ("firewall",)
    assert runtime.check() == [{}] * 4
    assert [runtime.call("DEL", index) for index in (3, 2, 1)] == [{}] * 3
    assert runtime.record() is not None
    assert runtime.call("DEL", 0) == {}
    assert runtime.left() == []


def test_the_policy_is_the_networks(runtime: Runtime) -> None:
    """The next ADD of `bridge` does not change it back, and a later container does not open it for the others."""
    runtime.add()
    runtime.plugins = (BRIDGE, {"type": "firewall"}, TUNING)
    runtime.add("c2")
    assert runtime.isolated()
    runtime.delete()
    runtime.add("c3")
    assert runtime.isolated()
    runtime.delete("c2")
    runtime.delete("c3")
    runtime.add("c4")
    assert not runtime.isolated()


def closed(runtime: Runtime) -> set[str]:
    """The links whose frames to each other are dropped."""
    return {one.key for one in runtime.nft.elements("bridge cni_cnm") if one.set == "closed"}


def test_a_policy_that_isolates_counts_for_those_that_joined_before(tmp_path: Path) -> None:
    """The reference's rules name the bridge, so they have all of its containers."""
    runtime = Runtime(tmp_path, (BRIDGE, {"type": "firewall"}))
    runtime.add("c1")
    runtime.add("c2")
    assert closed(runtime) == set()
    runtime.plugins = (BRIDGE, {"type": "firewall", "ingressPolicy": "isolated"})
    runtime.add("c3")
    assert len(closed(runtime)) == 3
    assert [runtime.check(one) for one in ("c1", "c2", "c3")] == [[{}, {}]] * 3
    for container in ("c3", "c1", "c2"):
        runtime.delete(container)
    assert runtime.left() == []


def test_a_policy_that_isolates_no_more(tmp_path: Path) -> None:
    """The interface is made by the network's earlier policy. Nothing of that is left when the list has another one."""
    runtime = Runtime(tmp_path, (BRIDGE, {"type": "firewall", "ingressPolicy": "isolated"}))
    runtime.add()
    runtime.delete()
    runtime.plugins = (BRIDGE, FIREWALL)
    runtime.add()
    assert closed(runtime) == set()
    runtime.delete()
    assert runtime.left() == []


@pytest.mark.parametrize("killed", range(1, 5))
def test_killed_within_an_add_and_called_again(tmp_path: Path, killed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each step, as the relay does when the service ends in a call. The list goes on as if nothing had been."""
    for step in range(STEPS_MAX):
        runtime = Runtime(tmp_path / str(step))
        runtime.namespaces.create("/netns/c1")
        previous = None
        for index in range(killed):
            previous = runtime.call("ADD", index, "c1", previous)
        with killed_at(step, monkeypatch) as left:
            runtime.call("ADD", killed, "c1", previous)
        for index in range(killed, 5):
            previous = runtime.call("ADD", index, "c1", previous)
            assert "code" not in previous, (step, previous)
        runtime.results["c1"] = previous
        record = runtime.record()
        assert record is not None
        assert (record.state, record.parts) == (READY, ("portmap", "firewall", "bandwidth", "tuning"))
        assert runtime.check() == [{}] * 5
        assert runtime.delete() == [{}] * 5
        assert runtime.left() == []
        if left[0] >= 0:
            return
    pytest.fail(f"{ALL[killed]['type']} has more than {STEPS_MAX} steps")


def test_a_plugin_behind_one_that_was_killed(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, and the interface stays."""
    runtime.namespaces.create("/netns/c1")
    previous = runtime.call("ADD", 0)
    with killed_at(3, monkeypatch):
        runtime.call("ADD", 1, "c1", previous)
    record = runtime.record()
    assert record is not None
    assert record.state != READY
    refused = runtime.call("ADD", 2, "c1", previous)
    assert "half made" in refused["msg"]
    with runtime.namespaces.open("/netns/c1") as stack:
        assert stack.link("eth0") is not None
    runtime.delete()
    assert runtime.left() == []


def test_gc_of_each_plugin(runtime: Runtime) -> None:
    """What is not in the list goes, part by part, and then the endpoint."""
    runtime.add()
    runtime.ports = []
    runtime.add("c2")
    valid: dict[str, Any] = {"cni.dev/valid-attachments": [{"containerID": "c2", "ifname": "eth0"}]}
    for index in (1, 2, 3, 4, 0):
        assert runtime.call("GC", index, **valid) == {}
    assert runtime.record() is None
    record = runtime.record("c2")
    assert record is not None
    assert record.parts == ("firewall", "bandwidth", "tuning")


# behind the interface of another plugin ------------------------------------


@pytest.fixture
def behind(tmp_path: Path) -> Runtime:
    """A list whose first plugin is another program's: a veth pair, as ptp makes it."""
    return Runtime(tmp_path, (PORTMAP, FIREWALL, ALL[3], TUNING))


def foreign(runtime: Runtime, container: str = "c1") -> Any:
    """The result of that plugin."""
    stack = runtime.namespaces.create(f"/netns/{container}")
    host = runtime.namespaces.host()
    host.add_veth("veth7", peer="eth0", peer_stack=stack, up=True)
    return {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "veth7"}, {"name": "eth0", "sandbox": f"/netns/{container}"}],
        "ips": [{"address": "10.9.0.2/24", "interface": 1}],
    }


def test_firewall_behind_an_interface_without_an_end_on_the_host(tmp_path: Path) -> None:
    """As macvlan makes it: no packet of it is forwarded here, so the default policy is met, and no other can be."""
    runtime = Runtime(tmp_path, ({"type": "firewall"},))
    stack = runtime.namespaces.create("/netns/c1")
    stack.add_bridge("eth0", mac="02:00:00:00:00:09")  # any link that is no veth
    previous = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "sandbox": "/netns/c1"}],
        "ips": [{"address": "10.9.0.2/24", "interface": 0}],
    }
    assert "code" not in runtime.add(previous=previous)
    assert runtime.check() == [{}]
    runtime.delete()
    assert runtime.left() == []
    runtime.plugins = (FIREWALL,)
    assert "nothing to filter by" in runtime.add(previous=previous)["msg"]


def test_behind_another_plugin(behind: Runtime) -> None:
    """One record of the driver `chained`, which ends with its last part. The interface stays."""
    previous = foreign(behind)
    result = behind.add(previous=previous)
    record = behind.record()
    assert record is not None
    assert (record.driver, record.parts) == ("chained", ("portmap", "firewall", "bandwidth", "tuning"))
    assert [link["name"][:3] for link in result["interfaces"]] == ["vet", "eth", "bwp"]
    assert behind.check() == [{}] * 4
    for order in ((3, 2, 1, 0), (0, 1, 2, 3), (1, 3, 0, 2)):
        assert behind.delete(order=order) == [{}] * 4
        assert behind.left() == ["veth7"]
        assert "code" not in behind.add(previous=previous)


def test_called_again_behind_another_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of the plugins before stay."""
    for step in range(STEPS_MAX):
        behind = Runtime(tmp_path / str(step), (PORTMAP, FIREWALL, ALL[3], TUNING))
        result = behind.call("ADD", 0, "c1", foreign(behind))
        with killed_at(step, monkeypatch) as left:
            behind.call("ADD", 1, "c1", result)
        for index in (1, 2, 3):
            result = behind.call("ADD", index, "c1", result)
        behind.results["c1"] = result
        record = behind.record()
        assert record is not None
        assert record.parts == ("portmap", "firewall", "bandwidth", "tuning")
        assert record.ports
        assert behind.check() == [{}] * 4
        assert behind.delete() == [{}] * 4
        assert behind.left() == ["veth7"]
        if left[0] >= 0:
            return
    pytest.fail(f"firewall has more than {STEPS_MAX} steps")


@pytest.mark.quick("0")
@pytest.mark.parametrize("killed", range(4))
def test_killed_behind_another_plugin(tmp_path: Path, killed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(STEPS_MAX):
        runtime = Runtime(tmp_path / str(step), (PORTMAP, FIREWALL, ALL[3], TUNING))
        previous = first = foreign(runtime)
        for index in range(killed):
            previous = runtime.call("ADD", index, "c1", previous)
        with killed_at(step, monkeypatch) as left:
            runtime.call("ADD", killed, "c1", previous)
        assert runtime.delete() == [{}] * 4
        assert runtime.left() == ["veth7"], step
        assert "code" not in runtime.add(previous=first)
        assert runtime.check() == [{}] * 4
        if left[0] >= 0:
            return
    pytest.fail(f"plugin {killed} has more than {STEPS_MAX} steps")
