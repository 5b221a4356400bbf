"""What fails: hosts, store, disks, links. Each test says what an operator and a pod see."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.overlay.lab import WEB
from tests.overlay.test_reach import routes, together
from tests.waiting import until

if TYPE_CHECKING:
    from tests.overlay.lab import Host, Lab, Pod

pytestmark = pytest.mark.long
LEASE_S = 30


def pair(lab: Lab, *options: str) -> tuple[Host, Host]:
    """Two hosts behind different routers, with the network `web`: all their packets are VXLAN's."""
    one, two = lab.host("node1"), lab.host("node2", far=True)
    one.create(WEB, *options)
    return one, two


def pods(*hosts: Host) -> list[Pod]:
    """One on each host; they reach each other."""
    made = [host.pod("web") for host in hosts]
    for host in hosts:
        host.wait_ready("web")
    together(*made)
    return made


def lost(pod: Pod, address: str, seconds: float) -> int:
    """How many of the packets sent for that time were not answered: one each 20 ms."""
    count = int(seconds * 50)
    out = pod.host.node.run(
        "ping", "-i", "0.02", "-c", str(count), "-q", address, netns=pod.netns, timeout=seconds + 60
    ).out
    received = next(line for line in out.splitlines() if "received" in line)
    return count - int(received.split(",")[1].split()[0])


def test_lease_runs_out(lab: Lab) -> None:
    """A host cut from the store for longer than its lease is shown as silent, and not one packet is lost."""
    one, two = pair(lab)
    first, second = pods(one, two)
    lab.cut_store(two)
    assert lost(first, second.address, LEASE_S + 15) == 0
    one.wait_said("host node2 is silent")
    lab.heal_store()
    one.wait_said("host node2 shows life again", 60)
    together(first, second)


def test_agent_and_service_are_killed(lab: Lab) -> None:
    """Neither the end of an agent nor the start of the next one costs a packet."""
    one, two = pair(lab)
    first, second = pods(one, two)
    with ThreadPoolExecutor(1) as pool:
        counted = pool.submit(lost, first, second.address, 12)
        one.kill_agent()
        one.wait_ready("web")
        two.stop(signal.SIGKILL)
        two.serve()
        two.wait_ready("web")
        one.stop()
        one.serve()
        assert counted.result() == 0
    together(first, second)


def test_slow_store(lab: Lab) -> None:
    """A store that has all connections open and answers nothing holds no pod and no packet."""
    one, two = pair(lab)
    first, second = pods(one, two)
    lab.etcd.pause()
    try:
        started = one.pod("web")
        together(started, first, second)
        started.delete().ok()
        one.wait_said("does not answer", 90)
    finally:
        lab.etcd.resume()
    one.wait_said("answers again", 90)


def test_host_is_replaced(lab: Lab) -> None:
    """Another host of the name is refused, naming both; after `node rm` it is taken, and the other hosts follow."""
    one, two = pair(lab)
    first, _ = pods(one, two)
    instance = two.status()["instance"]
    two.power_off()
    until(
        lambda: "node2" not in " ".join(k for k in lab.etcd.stored() if "/alive/" in k),
        "the lease runs out",
        LEASE_S + 30,
    )
    new = lab.host("node2", far=True)
    new.wait_said(instance)
    status = new.side.call("STATUS", {"cniVersion": "1.1.0", "name": "web", "driver": "overlay"})
    assert status.code != 0
    _, answer = new.try_pod("web")
    assert answer.code != 0
    one.cnm("node", "rm", "node2").ok()
    until(lambda: new.status().get("conflict") == "", "the new host is taken", 60, new.said)
    replacement = new.pod("web")
    new.wait_ready("web")
    together(first, replacement)


def test_host_comes_back_with_another_address(lab: Lab) -> None:
    """Its pods are reached there, and nothing is left of the old address."""
    one, two = pair(lab)
    first, second = pods(one, two)
    old = two.addresses[0]
    lab.readdress(two, "192.0.2.100", "fd00:b::100")
    one.wait_said("host node2 is at 192.0.2.100")
    together(first, second)
    fdb = one.node.run("bridge", "fdb", "show").out
    assert old not in fdb
    assert "192.0.2.100" in fdb


def test_mtu_changes(lab: Lab) -> None:
    """The device follows the uplink."""
    one, two = pair(lab)
    pods(one, two)
    one.node.run("ip", "link", "set", "eth0", "mtu", "1400").ok()

    def follows() -> bool:
        return bool(one.node.ip("link", "show", "cnm-vx4096")[0]["mtu"] == 1350)

    until(follows, "the device has the uplink's MTU less 50", 20, one.said)


def test_node_rm(lab: Lab) -> None:
    """A live host is refused; one that is gone leaves nothing on the others."""
    one, two = pair(lab)
    pods(one, two)
    assert one.cnm("node", "rm", "node2").code != 0
    block = next(dst for dst in routes(one, "-4") if dst != "10.32.0.0/16")
    two.power_off()
    until(lambda: not [k for k in lab.etcd.stored() if k.endswith("/alive/node2")], "the lease runs out", LEASE_S + 30)
    assert block in routes(one, "-4"), "a silent host keeps its routes"
    one.cnm("node", "rm", "node2").ok()
    until(lambda: block not in routes(one, "-4"), "its route goes", 20, one.said)
    assert two.addresses[0] not in one.node.run("bridge", "fdb", "show").out
    assert not [key for key in lab.etcd.stored() if "node2" in key]


def test_cloned_disk(lab: Lab) -> None:
    """Two hosts with one disk: the one that was announced first says so, with both addresses."""
    one, two = pair(lab)
    pods(one)
    clone = lab.host("node1", far=True, serve=False)
    clone.take_disk(one)
    clone.serve()
    one.wait_said("one disk is a copy of the other's", 60)
    conflict = one.status()["conflict"]
    assert one.addresses[0] in conflict
    assert clone.addresses[0] in conflict
    status = one.side.call("STATUS", {"cniVersion": "1.1.0", "name": "web", "driver": "overlay"})
    assert status.json["code"] == 50
    assert two.status()["conflict"] == ""


def test_copied_disk_under_another_name(lab: Lab) -> None:
    """It is refused before anything is written to the store."""
    one, _ = pair(lab)
    pods(one)
    copy = lab.host("node3", serve=False)
    copy.take_disk(one)
    copy.serve()
    copy.wait_said("is of the host node1")
    assert not [key for key in lab.etcd.stored() if key.endswith("/hosts/node3")]
    status = copy.side.call("STATUS", {"cniVersion": "1.1.0", "name": "web", "driver": "overlay"})
    assert status.json["code"] == 50
    assert "is of the host node1" in status.json["msg"]


def test_restored_backup(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A backup from before a host joined: it claims its block again, and running pods do not notice."""
    one, two = pair(lab)
    pods(one)
    backup = str(tmp_path_factory.mktemp("backup") / "snapshot")
    lab.etcd.ctl("snapshot", "save", backup)
    first, second = pods(one, two)
    blocks = {key for key in lab.etcd.stored() if "/blocks/" in key}
    lab.etcd.restore(backup)
    until(
        lambda: {key for key in lab.etcd.stored() if "/blocks/" in key} == blocks,
        "blocks are claimed again",
        90,
        two.said,
    )
    two.wait_said("restored from a backup")
    together(first, second)
    together(one.pod("web"), two.pod("web"))


def test_restored_backup_and_a_block_of_another_host(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The loser's pods stay, it gives out no new address of the block, and says who has it."""
    one, two = pair(lab)
    pods(one)
    backup = str(tmp_path_factory.mktemp("backup") / "snapshot")
    lab.etcd.ctl("snapshot", "save", backup)
    _, second = pods(one, two)
    key = next(key for key in lab.etcd.stored() if "/blocks/" in key and "node2" in lab.etcd.ctl("get", key))
    value = json.loads(lab.etcd.ctl("get", key, "--print-value-only"))
    two.stop()
    lab.etcd.restore(backup)
    lab.etcd.ctl("put", key, json.dumps({**value, "host": "node9", "instance": "9" * 32}))
    two.serve()
    two.wait_said("belongs to host node9", 60)
    gateway = second.result["ips"][0]["gateway"]
    assert second.pings(gateway), "its pod stays"
    _, answer = two.try_pod("web")
    assert answer.json["code"] == 50
    assert "other hosts have this host's blocks" in answer.json["msg"]
    status = two.side.call("STATUS", {"cniVersion": "1.1.0", "name": "web", "driver": "overlay"})
    assert status.json["code"] == 50


def test_block_is_full(lab: Lab) -> None:
    """A host whose block has no address left claims a further one, and its pods are reached all the same."""
    one, two = lab.host("node1"), lab.host("node2", far=True)
    one.create(("web", "--subnet", "10.32.0.0/24"), "-o", "block=29")
    other = two.pod("web")
    many = [one.pod("web") for _ in range(8)]
    assert len({pod.address for pod in many}) == 8
    assert len([key for key in lab.etcd.stored() if "/blocks/" in key and "node1" in lab.etcd.ctl("get", key)]) == 2
    for host in (one, two):
        host.wait_ready("web")
    together(other, many[0])
    together(other, many[-1])
    together(many[0], many[-1])


def test_block_is_full_without_store(lab: Lab) -> None:
    """11, with the reason: a runtime tries again."""
    one = lab.host("node1")
    one.create(("web", "--subnet", "10.32.0.0/24"), "-o", "block=29")
    for _ in range(5):
        one.pod("web")
    lab.etcd.stop()
    _, answer = one.try_pod("web")
    assert answer.json["code"] == 11
    assert "etcd does not answer" in answer.json["msg"]
    lab.etcd.start()
    one.pod("web")


def test_storm(lab: Lab) -> None:
    """200 pods on three hosts at once: every address once."""
    hosts = [lab.host(name) for name in ("node1", "node2", "node3")]
    hosts[0].create(WEB)
    containers = [(host, f"{host.name}-s{number}") for number in range(67) for host in hosts][:200]
    for host, name in containers:
        host.side.container(name)
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(
                lambda one: one[0].side.add({"cniVersion": "1.0.0", "name": "web", "driver": "overlay"}, one[1]),
                containers,
            )
        )
    assert [answer.code for answer in answers] == [0] * 200
    addresses = [ip["address"] for answer in answers for ip in answer.json["ips"]]
    assert len(addresses) == 400
    assert len(set(addresses)) == 400
    for host in hosts:
        host.wait_ready("web")
    together(*(host.pod("web") for host in hosts))


def test_unknown_host(lab: Lab) -> None:
    """A VXLAN packet from an address that is no known host's reaches no pod."""
    one, two = pair(lab, "-o", "direct=never")
    _, second = pods(one, two)
    block = second.address.rsplit(".", 1)[0]
    intruder = lab.host("intruder", serve=False)
    mac = two.node.ip("link", "show", "cnm-vx4096")[0]["address"]
    for command in (
        f"link add vx0 type vxlan id 4096 dstport 4799 local {intruder.addresses[0]} nolearning",
        "link set vx0 up",
        "address add 10.32.255.1/32 dev vx0",
        f"route add {block}.0/24 via {block}.0 dev vx0 onlink",
        f"neigh add {block}.0 lladdr {mac} dev vx0 nud permanent",
    ):
        intruder.node.run("ip", *command.split()).ok()
    intruder.node.run("bridge", "fdb", "add", mac, "dev", "vx0", "dst", two.addresses[0]).ok()

    def received() -> int:
        return int(two.node.ip("-s", "link", "show", "cnm-vx4096")[0]["stats64"]["rx"]["packets"])

    before = received()
    assert not intruder.node.ping(second.address, wait=1)
    assert received() == before


def test_device_is_deleted(lab: Lab) -> None:
    """It comes back with its entries, and routes of other programs stay."""
    one, two = pair(lab)
    first, second = pods(one, two)
    one.node.run("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.1").ok()
    one.node.run("ip", "link", "delete", "cnm-vx4096").ok()
    until(lambda: "cnm-vx4096" in one.node.links(), "the device is back", 20, one.said)
    together(first, second)
    block = f"{second.address.rsplit('.', 1)[0]}.0/24"
    one.node.run("ip", "route", "delete", block).ok()
    until(lambda: block in routes(one, "-4"), "the route is back", 20, one.said)
    assert one.node.run("ip", "route", "show", "198.51.100.0/24").out.strip()


def test_foreign_entries(lab: Lab) -> None:
    """Another program's neighbour, forwarding entry, VXLAN device and table stay over a restart of the agent."""
    one, two = pair(lab)
    first, second = pods(one, two)
    for command in (
        ("ip", "link", "add", "other0", "type", "vxlan", "id", "7", "dstport", "4790", "nolearning"),
        ("ip", "neigh", "add", "10.32.99.0", "lladdr", "02:00:00:00:00:99", "dev", "cnm-vx4096", "nud", "permanent"),
        ("bridge", "fdb", "add", "02:00:00:00:00:99", "dev", "cnm-vx4096", "dst", "198.51.100.9"),
        ("nft", "add", "table", "inet", "other"),
    ):
        one.node.run(*command).ok()
    one.kill_agent()
    one.wait_ready("web")
    together(first, second)
    assert "other0" in one.node.links()
    assert "10.32.99.0" in one.node.run("ip", "neigh", "show", "dev", "cnm-vx4096").out
    assert "198.51.100.9" in one.node.run("bridge", "fdb", "show", "dev", "cnm-vx4096").out
    assert "other" in one.node.run("nft", "list", "tables").out


def test_reboot_without_store(lab: Lab) -> None:
    """The disk is enough: pods start again, with other hosts' pods in reach."""
    one, two = pair(lab)
    _, second = pods(one, two)
    time.sleep(6)  # what is known is written five seconds after it has changed
    lab.etcd.stop()
    one.reboot()
    one.serve()
    again = one.pod("web")
    one.wait_ready("web")
    together(again, second)
    lab.etcd.start()
    one.wait_said("answers", 60)


@pytest.mark.parametrize("versions", [(4,), (6,)])
def test_underlay_of_one_version(lab: Lab, versions: tuple[int, ...]) -> None:
    """Pods of both IP versions over an underlay of one; the device's MTU leaves room for its header."""
    one, two = lab.host("node1", versions=versions), lab.host("node2", far=True, versions=versions)
    one.create(WEB)
    pods(one, two)
    assert one.node.ip("link", "show", "cnm-vx4096")[0]["mtu"] == (1450 if versions == (4,) else 1430)


def test_partition_of_hosts(lab: Lab) -> None:
    """Two hosts that do not reach each other: the third reaches both, and it ends with the partition."""
    one, two = pair(lab)
    three = lab.host("node3")
    made = pods(one, two, three)
    lab.cut(one, two)
    assert not made[0].pings(made[1].address, wait=1)
    together(made[0], made[2])
    together(made[1], made[2])
    lab.heal(one, two)
    together(*made)


def test_clocks_differ(lab: Lab) -> None:
    """Nothing compares clocks: a host whose clock is ten years ahead is as any other.

    A time namespace does not change the calendar's clock, so the host's programs get another one by a library.
    """
    library = fake_clock(lab)
    one = lab.host("node1")
    two = lab.host("node2", far=True, serve=False)
    two.environ = {"LD_PRELOAD": library}
    two.serve()
    assert "203" in two.node.run("env", f"LD_PRELOAD={library}", "date", "+%Y").out
    one.create(WEB)
    first, second = pods(one, two)
    assert lost(first, second.address, 3) == 0
    together(one.pod("web"), two.pod("web"))
    assert "silent" not in one.said()


def fake_clock(lab: Lab) -> str:
    """A library that adds ten years to the calendar's clock."""
    source = lab.folder / "clock.c"
    source.write_text(
        "#define _GNU_SOURCE\n#include <time.h>\n#include <sys/time.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n"
        "#define AHEAD 315360000L\n"
        "int clock_gettime(clockid_t id, struct timespec *t) {\n"
        "  int r = syscall(SYS_clock_gettime, id, t); if (!r && id == CLOCK_REALTIME) t->tv_sec += AHEAD; return r; }\n"
        "time_t time(time_t *t) { struct timespec n; clock_gettime(CLOCK_REALTIME, &n); if (t) *t = n.tv_sec;\n"
        "  return n.tv_sec; }\n"
        "int gettimeofday(struct timeval *t, void *z) { struct timespec n; clock_gettime(CLOCK_REALTIME, &n);\n"
        "  t->tv_sec = n.tv_sec; t->tv_usec = n.tv_nsec / 1000; return 0; }\n"
    )
    library = lab.folder / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return str(library)
