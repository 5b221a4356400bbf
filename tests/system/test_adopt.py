"""`cni-cnm adopt` and `release` on pods of the real reference plugins, whose connections stay open through both."""

from __future__ import annotations

import json
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from tests.side import REFERENCE, require_reference
from tests.system.adoption_host import BIN, CONFLIST, HERE, OUTSIDE, AdoptionHost, newest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["debian-iptables", "newest-iptables", "newest-nftables"])
def host(request: pytest.FixtureRequest, libcni_client: Path, tmp_path: Path) -> Iterator[AdoptionHost]:
    version, form = request.param.split("-")
    require_reference()
    plugins = REFERENCE if version == "debian" else newest()
    made = AdoptionHost(tmp_path, plugins, form, libcni_client)
    made.add("p1", port=8080, limits=True)
    made.add("p2")
    made.open("p1", OUTSIDE, 7000)
    made.open("outside", HERE, 8080)
    made.open("p2", HERE, 8080)
    made.open("", HERE, 8080)
    made.said = {name: made.refused("CHECK", name) for name in ("p1", "p2")}
    yield made
    made.close()


@pytest.mark.quick("newest-nftables")
def test_connections_stay_through_adopt_and_release(host: AdoptionHost) -> None:
    """Pods keep links, addresses and limits; each side's CHECK and DEL pass while the pods are its own."""
    node = host.node
    rules, links, cached = host.rules(), host.links(), host.cached()
    before = node.path(CONFLIST).read_text()
    shown = host.command("adopt", "net")
    assert "p1         eth0       10.7.0.2/24  ready" in shown
    assert "nothing was changed" in shown
    assert (host.rules(), host.links(), host.cached()) == (rules, links, cached)

    host.command("adopt", "net", "--yes")
    host.talk()
    assert [one["type"] for one in json.loads(node.path(CONFLIST).read_text())["plugins"]] == ["cni-cnm"]
    assert not [line for line in host.rules() if "10.7.0.2" in line or "10.7.0.3" in line]
    assert host.links() == links
    for name in ("p1", "p2"):
        host.check(name)
    assert host.command("doctor").strip().endswith("no findings")
    host.open("outside", HERE, 8080)
    host.add("p3", port=9090, limits=True)
    host.open("outside", HERE, 9090)
    host.delete("p2")
    host.talk()

    host.command("release", "net", "--yes")
    host.talk()
    assert node.path(CONFLIST).read_text() == before
    for name in ("p1", "p3"):
        assert host.refused("CHECK", name) == host.said["p1"]
    assert "10.7.0." not in host.command("endpoint", "ls")
    host.delete("p3")
    assert host.cached() == {name: value for name, value in cached.items() if "p1" in name}
    host.add("p4")
    host.delete("p4")
    host.delete("p1")
    left = node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni-cnm")
    assert left == set()
    assert not [name for name in node.links() if name.startswith(("veth", "bwp"))]
    assert not [line for line in host.rules() if "10.7.0." in line]


@pytest.mark.parametrize("host", ["newest-iptables"], indirect=True)
def test_what_is_left_alone_and_what_is_refused(host: AdoptionHost) -> None:
    """Each with its reason, and nothing is changed by what is refused."""
    node = host.node
    node.run("iptables", "-t", "filter", "-D", "CNI-FORWARD", "-s", "10.7.0.3/32", "-j", "ACCEPT").ok()
    shown = host.command("adopt", "net", "--yes")
    assert "p2         eth0       10.7.0.3/24  left alone  its rule `CNI-FORWARD -s 10.7.0.3/32 -j ACCEPT`" in shown
    host.check("p1")
    host.delete("p2")  # with the configuration of now: the plugins' rules are removed all the same
    assert not [line for line in host.rules() if "10.7.0.3" in line]

    node.add_netns("p9")
    environment = {"CNI_CONTAINERID": "p9", "CNI_NETNS": "/run/netns/p9", "CNI_IFNAME": "eth0", "CNI_PATH": BIN}
    entry = json.loads(node.path(CONFLIST).read_text())["plugins"][0]
    config = {**entry, "cniVersion": "1.0.0", "name": "net"}
    node.run(f"{BIN}/cni-cnm", stdin=json.dumps(config), env={**environment, "CNI_COMMAND": "ADD"}).ok()
    refused = host.command("release", "net", "--yes", code=1)
    assert "the reference plugins cannot have net/p9/eth0: libcni's cache does not know it" in refused
    node.run(
        f"{BIN}/cni-cnm", stdin=json.dumps(config), env={**environment, "CNI_PATH": BIN, "CNI_COMMAND": "DEL"}
    ).ok()

    edited = {"cniVersion": "1.0.0", "name": "net", "plugins": [{**entry, "hairpinMode": False}]}
    node.write(CONFLIST, json.dumps(edited))
    assert "was edited since" in host.command("release", "net", "--yes", code=1)
    assert "was edited since" in host.command("adopt", "net", code=1)
    host.talk()
    host.command("release", "net", "--yes", "--discard-edit")
    host.talk()
    assert json.loads(node.path(CONFLIST).read_text())["plugins"][0]["type"] == "bridge"
    host.check("p1")


def reboot(host: AdoptionHost) -> None:
    """Kernel objects and /run are gone. Files of /var and /etc stay, libcni's cache and leases among them."""
    node = host.node
    for name in ("p1", "p2"):
        node.run("ip", "netns", "del", name).ok()
    script = """
    for table in nat filter; do iptables -t $table -F; iptables -t $table -X; done
    nft flush ruleset; ip link del cni0
    for link in $(ip -br link show type ifb | cut -d' ' -f1); do ip link del $link; done
    rm -rf /run/cni-cnm
    """
    node.run("sh", "-c", script).ok()


@pytest.mark.long
@pytest.mark.parametrize("host", ["newest-iptables"], indirect=True)
@pytest.mark.parametrize("way", ["adopt", "release"])
def test_a_reboot_in_the_middle(host: AdoptionHost, way: str) -> None:
    """The containers are gone. The files are wholly of one side afterwards, and the runtime's DEL and ADD work."""
    host.command("adopt", "net", "--yes")
    half = state(host) | {"done": False, "way": "adopt"}
    host.node.write("/var/lib/cni-cnm/adopt/net.json", json.dumps(half))
    host.hang_up()
    reboot(host)
    assert "that has not ended" in host.command("doctor", code=3)
    host.command(way, "net", "--yes")
    assert bool(state(host)) is (way == "adopt")
    for name in ("p1", "p2"):
        host.delete(name)
    assert host.cached() == {}
    host.add("p3", port=8080)
    host.check("p3")
    assert bool(host.node.files("/run/cni-cnm/endpoints")) is (way == "adopt")
    host.delete("p3")
    assert not [path for path in host.node.files("/var/lib/cni/networks/net") if "10.7.0." in path]


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("host", ["newest-iptables", "newest-nftables"], indirect=True)
def test_a_runtime_that_goes_on(host: AdoptionHost) -> None:
    """Containers come and go all the time, with the file as the runtime reads it. In the end nothing is left."""
    ended = Event()
    failures: list[str] = []

    def churn(number: int) -> None:
        name = f"x{number}"
        host.prepare(name)
        while not ended.is_set():
            for verb in ("ADD", "DEL"):
                for _ in range(10):
                    why = host.refused(verb, name)
                    if not why:
                        break
                    failures.append(why)
                    host.refused("DEL", name)

    threads = [Thread(target=churn, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for way in ("adopt", "release") * 5:
        host.command(way, "net", "--yes")
        host.talk()
    ended.set()
    for thread in threads:
        thread.join()
    assert [why for why in failures if "resource busy" not in why] == []  # a chain that both change
    assert not state(host)
    for name in ("p1", "p2"):
        host.check(name)
    host.delete("p1")
    host.delete("p2")
    assert not [line for line in host.rules() if "10.7.0." in line]
    assert host.node.files("/run/cni-cnm/endpoints") == set()
    assert not [name for name in host.node.links() if name.startswith(("veth", "bwp"))]


CALLS = "sendto,sendmsg,rename,link,linkat,unlink,write,clone,clone3,vfork,fcntl"
"""What a run changes anything with, or starts a program with that does."""
WAYS = {"adopt": "release", "release": "adopt"}


def storm(host: AdoptionHost, times: int) -> None:
    """Kill `adopt` and `release` at that many places each. The same command goes on, or the other one goes back."""
    points = {way: chosen(points_of(host, way), times) for way in WAYS}
    assert {way: len(some) for way, some in points.items()} == dict.fromkeys(WAYS, times)
    for at in range(times):
        for way, back in WAYS.items():
            kill(host, points[way][at], way)
            host.talk()
            if at % 2:
                if state(host):
                    host.command(back, "net", "--yes")
                judge(host, theirs=way == "adopt")
                host.command(way, "net", "--yes")
            elif state(host) or way == "adopt":
                host.command(way, "net", "--yes")
            host.talk()
            judge(host, theirs=way == "release")


def points_of(host: AdoptionHost, way: str) -> list[tuple[str, int]]:
    """Each of these system calls of a run that is not killed: its name, and which of that name it is."""
    done = host.node.run("strace", "-qqq", "-c", "-e", f"trace={CALLS}", f"{BIN}/cni-cnm", way, "net", "--yes").ok()
    rows = [line.split() for line in done.err.splitlines()]
    counts = {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[-1] in CALLS.split(",")}
    return [(name, number) for name, count in counts.items() for number in range(1, count + 1)]


def chosen(points: list[tuple[str, int]], number: int) -> list[tuple[str, int]]:
    return [points[len(points) * (2 * at + 1) // (2 * number)] for at in range(number)]


def kill(host: AdoptionHost, point: tuple[str, int], way: str) -> None:
    """Run it, and kill it where it enters that system call."""
    name, number = point
    inject = f"inject={name}:signal=SIGKILL:when={number}"
    command = (f"{BIN}/cni-cnm", way, "net", "--yes")
    done = host.node.run("strace", "-qqq", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject, *command)
    assert done.code in (0, 137, -9), (point, done.code, done.out, done.err)


def state(host: AdoptionHost) -> dict[str, object]:
    """What is on disk of the adoption; empty if there is none."""
    path = host.node.path("/var/lib/cni-cnm/adopt/net.json")
    return json.loads(path.read_text()) if path.exists() else {}


def judge(host: AdoptionHost, *, theirs: bool) -> None:
    """Each pod is wholly of one side, whose CHECK passes. Nothing of the other side is left."""
    rules = [line for line in host.rules() if "10.7.0.2" in line or "10.7.0.3" in line]
    assert bool(rules) is theirs
    assert bool(host.node.files("/run/cni-cnm/endpoints")) is not theirs
    assert bool(state(host)) is not theirs
    plugins = [one["type"] for one in json.loads(host.node.path(CONFLIST).read_text())["plugins"]]
    assert (plugins == ["cni-cnm"]) is not theirs
    for name in ("p1", "p2"):
        assert host.refused("CHECK", name) == (host.said[name] if theirs else "")


@pytest.mark.parametrize("host", ["debian-iptables"], indirect=True)
def test_killed_at_a_few_moments(host: AdoptionHost) -> None:
    """Connections stay."""
    storm(host, 2)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("host", ["newest-iptables", "newest-nftables"], indirect=True)
def test_killed_at_many_moments(host: AdoptionHost) -> None:
    """At 200 places in all."""
    storm(host, 50)
    assert host.command("doctor", code=None).strip() in ("", "no findings")
