"""Real macvlan networks through CNI and the command line: who reaches whom, and what is left."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.program import form
from tests.side import Side

ROUTER = "/run/netns/router"


@pytest.fixture
def side(side: Side) -> Side:
    """A host whose lan0 leads to a router at 192.0.2.1, which has 203.0.113.9 behind it."""
    node = side.node
    node.add_netns("router")
    node.run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", "router").ok()
    node.run("ip", "link", "set", "lan0", "up").ok()
    for words in (
        "link set eth0 up",
        "link set lo up",
        "addr add 192.0.2.1/24 dev eth0",
        "addr add 203.0.113.9/32 dev lo",
        "addr add fd00:2::1/64 dev eth0 nodad",
    ):
        node.run("ip", *words.split(), netns=ROUTER).ok()
    return side


def conf(mode: str = "bridge", *, labels: dict[str, str] | None = None, **keys: Any) -> dict[str, Any]:
    options = {"parent": "lan0", "macvlan_mode": mode, **(labels or {})}
    ipam = {"ranges": [[{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.20"}], [{"subnet": "fd00:2::/64"}]]}
    return {"cniVersion": "1.1.0", "name": "lan", "driver": "macvlan", "options": options, "ipam": ipam, **keys}


def reaches(side: Side, container: str, address: str) -> bool:
    return side.node.ping(address, netns=f"/run/netns/{container}")


def nothing_left(side: Side) -> None:
    state = side.state()
    assert all(state[container]["links"].keys() == {"lo"} for container in ("c1", "c2"))
    assert side.node.links() == {"lo", "lan0"}
    assert {name for name in side.leases("lan") if not name.startswith("last")} == set()
    assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()


@pytest.mark.parametrize(("mode", "together"), [("bridge", True), ("private", False)])
def test_containers_of_one_parent(side: Side, mode: str, together: bool) -> None:
    """Both have a default route in the physical network; in mode bridge they reach each other, in private not."""
    results = {container: side.add(conf(mode), container).ok().json for container in ("c1", "c2")}
    for container in results:
        assert reaches(side, container, "192.0.2.1")
        assert reaches(side, container, "203.0.113.9")
        assert reaches(side, container, "fd00:2::1")
    assert reaches(side, "c1", results["c2"]["ips"][0]["address"].partition("/")[0]) is together
    assert side.node.links() == {"lo", "lan0"}
    for container, result in results.items():
        side.check(conf(mode), result, container).ok()
        side.delete(conf(mode), container).ok()
        side.delete(conf(mode), container).ok()
    nothing_left(side)


def test_several_networks_on_one_parent(side: Side) -> None:
    """Two networks of different modes and subnets stand on one link; one goes and the other stays."""
    other = conf("private", name="other", ipam={"subnet": "198.51.100.0/24"})
    side.add(conf(), "c1").ok()
    side.add(other, "c2").ok()
    side.delete(other, "c2").ok()
    side.node.run(str(side.executable), "network", "rm", "other").ok()
    assert reaches(side, "c1", "192.0.2.1")
    side.delete(conf(), "c1").ok()
    nothing_left(side)


def test_passthru_is_for_one(side: Side) -> None:
    """One container has the parent, its MAC and its promiscuous mode; a second one is refused until it is gone."""
    (parent,) = side.node.ip("link", "show", "lan0")
    result = side.add(conf("passthru")).ok().json
    assert result["interfaces"][0]["mac"] == parent["address"]
    assert reaches(side, "c1", "192.0.2.1")
    (shown,) = side.node.ip("-d", "link", "show", "lan0")
    assert shown["promiscuity"] > 0
    refused = side.add(conf("passthru"), "c2")
    assert (refused.json["code"], "must be alone" in refused.json["msg"]) == (104, True)
    refused = side.add(conf(name="beside"), "c2")
    assert (refused.json["code"], "cannot share lan0" in refused.json["msg"]) == (104, True)
    side.check(conf("passthru"), result).ok()
    side.delete(conf("passthru")).ok()
    (shown,) = side.node.ip("-d", "link", "show", "lan0")
    assert (shown["promiscuity"], shown["address"]) == (0, parent["address"])
    side.add(conf("passthru"), "c2").ok()
    side.delete(conf("passthru"), "c2").ok()
    nothing_left(side)


def test_internal_without_parent(side: Side) -> None:
    """Containers reach each other and nothing else; the parent goes with the network."""
    network = conf(labels={"parent": ""}, internal=True)
    addresses = [
        side.add(network, container).ok().json["ips"][0]["address"].partition("/")[0] for container in ("c1", "c2")
    ]
    assert reaches(side, "c1", addresses[1])
    assert not reaches(side, "c1", "192.0.2.1")
    assert not side.node.ip("route", "show", "default", netns="/run/netns/c1")
    (private,) = side.node.links() - {"lo", "lan0"}
    assert private.startswith("dm-")
    for container in ("c1", "c2"):
        side.delete(network, container).ok()
    side.node.run(str(side.executable), "network", "rm", "lan").ok()
    nothing_left(side)


def test_made_by_the_command_line(side: Side) -> None:
    """The network made beforehand with Docker's options is the one a configuration of its name means."""
    command = "network create --driver macvlan -o parent=lan0 -o macvlan_mode=private --subnet 192.0.2.0/24 lan"
    side.node.run(str(side.executable), *command.split()).ok()
    shown = json.loads(side.node.run(str(side.executable), "network", "inspect", "lan").ok().out)[0]
    assert (shown["driver"], shown["options"]["parent"], shown["options"]["mode"]) == ("macvlan", "lan0", "private")
    side.add(conf("private", ipam={"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.20"})).ok()
    assert reaches(side, "c1", "203.0.113.9")
    assert side.node.run(str(side.executable), "network", "rm", "lan").code != 0
    side.node.run("ip", "netns", "del", "c1").ok()
    side.containers.remove("c1")
    side.delete(conf("private"), netns="").ok()
    side.node.run(str(side.executable), "network", "rm", "lan").ok()
    assert side.node.links() == {"lo", "lan0"}
    unknown = side.node.run(str(side.executable), *command.replace("private", "l2").split())
    assert (unknown.code != 0, "macvlan_mode is 'l2'" in unknown.err) == (True, True)


def test_garbage_is_collected(side: Side) -> None:
    """GC removes the interface of a container that is not in the list."""
    for container in ("c1", "c2"):
        side.add(conf(), container).ok()
    claimed = [{"containerID": "c2", "ifname": "eth0"}]
    side.call("GC", {**conf(), "cni.dev/valid-attachments": claimed}, "").ok()
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert reaches(side, "c2", "192.0.2.1")
    side.delete(conf(), "c2").ok()
    nothing_left(side)


def test_two_networks_of_a_container(side: Side) -> None:
    """The default route is a bridge's, beside it is a macvlan: one default route, each interface leaves by itself."""
    bridge = {"cniVersion": "1.0.0", "name": "pods", "ipam": {"subnet": "10.66.0.0/24"}}
    side.add(bridge).ok()
    result = side.add(conf(), ifname="net1").ok().json
    assert [route for route in result.get("routes", ()) if route["dst"] == "0.0.0.0/0"] == []
    (default,) = side.node.ip("route", "show", "default", netns="/run/netns/c1")
    assert default["dev"] == "eth0"
    side.delete(bridge).ok()
    assert reaches(side, "c1", "203.0.113.9")  # the default route is the macvlan's now
    side.delete(conf(), ifname="net1").ok()
    assert side.node.links("/run/netns/c1") == {"lo"}


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}}, 7),
        ({"bandwidth": {"ingressRate": 8000, "ingressBurst": 8000}}, 7),
        ({"firewall": {"ingressPolicy": "isolated"}}, 7),
        ({"options": {"parent": "none0"}}, 7),
        ({"options": {"parent": "lo"}}, 7),
        ({"options": {"parent": "lan0", "com.docker.network.driver.mtu": "9000"}}, 7),
    ],
    ids=["ports", "bandwidth", "policy", "parent", "lo", "mtu"],
)
def test_refusals(side: Side, keys: dict[str, Any], code: int) -> None:
    """Refused with its code before anything is made, the network's record included."""
    refused = side.add(conf(**keys))
    assert (refused.code, refused.json["code"]) == (1, code), refused.json
    nothing_left(side)
    assert side.node.files("/var/lib/cni-cnm/networks") == set()


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("vlan", {"options": {"parent": "lan0.50"}}),
        ("ipvlan", {"driver": "ipvlan", "options": {"parent": "lan0"}}),
        ("ipvlan", {"driver": "ipvlan", "options": {"parent": "lan0", "ipvlan_mode": "l3"}}),
    ],
)
def test_what_the_kernel_may_not_have(side: Side, kind: str, keys: dict[str, Any]) -> None:
    """With the kernel's driver containers of the parent reach each other; without, 102 names it and nothing is left."""
    answer = side.add(conf(**keys))
    if answer.code:
        assert (answer.json["code"], f"no {kind} driver" in answer.json["msg"]) == (102, True), answer.json
        assert "modprobe" in answer.json["msg"]
        nothing_left(side)
        assert side.node.files("/var/lib/cni-cnm/networks") == set()
        return
    second = side.add(conf(**keys), "c2").ok().json
    assert reaches(side, "c1", second["ips"][0]["address"].partition("/")[0])
    side.check(conf(**keys), second, "c2").ok()
    for container in ("c1", "c2"):
        side.delete(conf(**keys), container).ok()
    side.node.run(str(side.executable), "network", "rm", "lan").ok()
    nothing_left(side)


def test_killed_at_any_call_that_changes_something(side: Side) -> None:
    """SIGKILL entering calls of an ADD that change something: the DEL leaves nothing, and the container can come."""
    if form() == "service":
        pytest.skip("here the killed process is the relay; tests/system/test_service.py kills the service")
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    environment = {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
        "CNI_PATH": side.path,
    }  # fmt: skip
    seen_links = set()
    # strace counts each system call by itself: those that talk to the kernel's network are counted apart.
    # The first round makes the network, in the second one it exists.
    others = "rename,unlink,setns,flock,write,pwrite64,fcntl"
    for calls, step in (("sendto,sendmsg", 1), ("sendto,sendmsg", 1), (others, 2)):
        for number in range(step, 400, step):
            inject = f"inject={calls}:signal=SIGKILL:when={number}"
            done = side.node.run(
                "strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject, str(side.executable),
                stdin=json.dumps({**conf(), "type": "cni-cnm"}), env=environment,
            )  # fmt: skip
            if done.code == 0:
                break
            seen_links |= side.node.links("/run/netns/c1")
            side.delete(conf()).ok()
            nothing_left(side)
        assert number > 5, "an ADD has more steps than that: did the injection work?"
        side.delete(conf()).ok()
    assert seen_links == {"lo", "eth0"}, "no kill came after the link was made"
    nothing_left(side)
