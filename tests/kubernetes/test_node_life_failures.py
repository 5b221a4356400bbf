"""A node's life with the stand-in API server: what changes and what fails, as an operator and a pod see it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.kubernetes.api_model import ApiModel
from tests.kubernetes.api_server import AGENT
from tests.kubernetes.node_lab import CONFLIST, NETWORK, PODS, NodeLab, PodNode
from tests.overlay.lab import CONFIG, Pod
from tests.overlay.test_failures import lost
from tests.overlay.test_reach import routes, together
from tests.waiting import until

pytestmark = pytest.mark.long
CIDRS = ("10.244.0.0/16", "fd00:10:244::/56")


@pytest.fixture
def lab() -> Iterator[NodeLab]:
    if os.geteuid():
        pytest.skip("nodes are network and mount namespaces, which need root")
    with NodeLab(*CIDRS) as made:
        yield made


def pair(lab: NodeLab) -> tuple[PodNode, PodNode]:
    """Behind different routers: all their packets are VXLAN's."""
    nodes = lab.node("node1"), lab.node("node2", far=True)
    for node in nodes:
        node.wait_conflist()
    return nodes


def pods(*nodes: PodNode) -> list[Pod]:
    """One on each node; they reach each other."""
    made = [node.pod(PODS) for node in nodes]
    together(*made)
    return made


def assign(lab: NodeLab, name: str, *cidrs: str) -> None:
    """Set a Node's podCIDRs. The API server allows that once; a test sets them again."""
    lab.api.do(lambda model: model.change(name, {"spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)}}))


def remove(lab: NodeLab, name: str) -> None:
    """`kubectl delete node`."""
    lab.api.do(lambda model: model.remove(name))


def test_rights_are_missing(lab: NodeLab) -> None:
    """What the API refuses is why the node is not ready. With the rights it is, without a restart."""
    lab.api.tokens["agent"] = frozenset()
    one = lab.node("node1")
    one.wait_why("cannot list")
    assert "cannot list" in one.runtime_status()["msg"]
    lab.api.tokens["agent"] = AGENT - {"patch nodes/status"}
    one.wait_why("cannot patch", 60)
    assert one.status()["store"]["reachable"]
    assert not one.has_conflist()
    lab.api.tokens["agent"] = AGENT
    one.wait_conflist(60)


def test_service_ends_and_starts_again(lab: NodeLab) -> None:
    """As with an update and a rollback: pods start, are checked and end without it, and no packet is lost."""
    one, two = pair(lab)
    first, second = pods(one, two)
    with ThreadPoolExecutor(1) as aside:
        counted = aside.submit(lost, first, second.address, 12.0)
        for _ in range(2):
            one.stop()
            assert one.has_conflist()
            without = one.pod(PODS)
            without.check().ok()
            together(without, second)
            without.delete().ok()
            one.serve()
            one.wait_ready(NETWORK)
        assert counted.result() == 0
    first.delete().ok()
    together(one.pod(PODS), second)


def test_service_killed(lab: NodeLab) -> None:
    """kill -9 of all of it, pods deleted meanwhile: nothing of them is left when it is back."""
    one, two = pair(lab)
    first, second = pods(one, two)
    assert one.service is not None
    one.stop(signal.SIGKILL)
    first.delete().ok()
    one.serve()
    one.wait_ready(NETWORK)
    together(one.pod(PODS), second)
    assert first.address not in one.node.run("nft", "list", "ruleset").out


def test_api_away_with_a_reboot(lab: NodeLab) -> None:
    """From the disk: pods start again and reach others; what came and went meanwhile is learned afterwards."""
    one, two = pair(lab)
    _, second = pods(one, two)
    known = one.node.path("/var/lib/cni-cnm/cluster/known")
    until(lambda: known.is_file() and "node2" in known.read_text(), "it is on the disk", 20)
    lab.leave_api()
    one.reboot()
    assert one.has_conflist(), "it is in /etc: the runtime starts pods at once"
    before = one.pod(PODS)
    one.serve()
    one.wait_ready(NETWORK)
    together(before, one.pod(PODS), second)
    assert one.runtime_status() == {}
    lab.api.model.remove("node2")
    lab.api.model.add("node3", "192.0.2.99")
    lab.return_api()
    until(lambda: not routes(one, "-4"), "node2's route goes", 90, one.said)
    assert one.status()["store"]["reachable"]


def test_a_node_that_starts_while_the_api_is_away(lab: NodeLab) -> None:
    """It knows nothing: no file, and STATUS says why. It joins when the API answers."""
    one, _ = pair(lab)
    lab.leave_api()
    three = lab.node("node3", register=False)
    three.wait_said("does not answer")
    assert not three.has_conflist()
    assert three.runtime_status()["code"] == 50
    lab.return_api()
    lab.register(three)
    three.wait_conflist(90)
    together(one.pod(PODS), three.pod(PODS))


def test_node_made_again_with_another_block(lab: NodeLab) -> None:
    """Pods that run keep their addresses and reach their node; new ones reach all; it is said on the way."""
    one, two = pair(lab)
    first, second = pods(one, two)
    gateway = first.result["ips"][0]["gateway"]
    remove(lab, "node1")
    one.wait_why("does not have this host as Node node1")
    assert one.runtime_status()["code"] == 50
    assert one.has_conflist(), "pods live on it"
    until(lambda: not routes(two, "-4"), "the others have no route to it", 20, two.said)
    lab.register(one, ["10.244.200.0/24", "fd00:10:244:c8::/64"])
    one.wait_ready(NETWORK)
    assert one.runtime_status() == {}
    new = one.pod(PODS)
    assert new.address.startswith("10.244.200.")
    together(new, second)
    assert first.pings(gateway)
    assert first.pings(new.address)
    one.wait_warning("are not reached by other hosts")
    first.check().ok()
    first.delete().ok()
    until(lambda: one.status()["warnings"] == [], "the old block is off the disk", 30, lambda: str(one.status()))
    one.cnm("network", "inspect", NETWORK).ok()


def test_node_made_again_with_its_block(lab: NodeLab) -> None:
    """Nothing changes for pods, and it is announced at once."""
    one, two = pair(lab)
    first, second = pods(one, two)
    blocks = lab.api.model.nodes["node1"]["spec"]["podCIDRs"]
    remove(lab, "node1")
    until(lambda: not routes(two, "-4"), "the others have no route to it", 20, two.said)
    lab.register(one, blocks)
    together(first, second)
    assert one.annotation()["instance"] == one.status()["instance"]


def test_second_family(lab: NodeLab) -> None:
    """Added: new pods have both. Removed again: new ones have the one, and no pod that runs notices."""
    one, two = lab.node("node1", pod_cidrs=["10.244.1.0/24"]), lab.node("node2", far=True)
    one.wait_conflist()
    first = one.pod(PODS)
    assert len(first.addresses) == 1
    assign(lab, "node1", "10.244.1.0/24", "fd00:10:244:1::/64")
    one.wait_said("fd00:10:244:1::/64")
    until(lambda: "fd00:10:244:1::/64" in two.cnm("node", "ls").out or "fd00:10:244:1::/64" in str(routes(two, "-6")),
          "node2 has the route", 20, two.said)  # fmt: skip
    both, second = one.pod(PODS), two.pod(PODS)
    assert len(both.addresses) == 2
    together(both, second)
    assert first.pings(second.address)
    assign(lab, "node1", "10.244.1.0/24")
    until(lambda: not routes(two, "-6"), "node2 has no route by IPv6", 20, two.said)
    one.wait_ready(NETWORK)
    last = one.pod(PODS)
    assert len(last.addresses) == 1
    assert both.pings(both.result["ips"][1]["gateway"])
    assert last.pings(second.address)
    for pod in (first, both, last):
        pod.delete().ok()


def test_node_renamed(lab: NodeLab) -> None:
    """It is another node, with another block. Others accept it when the old Node is gone, which has its address."""
    one, two = pair(lab)
    first, second = pods(one, two)
    one.stop()
    one.name = "renamed"
    one.node.write("/etc/cni-cnm/config.toml", one.settings.replace("node1", "renamed"))
    one.serve()
    one.wait_said("this host is called renamed now, it was node1")
    lab.register(one)
    one.wait_warning("Node node1 claims the address")
    two.wait_warning("which the older Node node1 has")
    remove(lab, "node1")
    one.wait_ready(NETWORK)
    new = one.pod(PODS)
    assert new.address.rsplit(".", 1)[0] != first.address.rsplit(".", 1)[0]
    together(new, second)
    first.delete().ok()


def test_machine_set_up_anew(lab: NodeLab) -> None:
    """The same Node with an empty disk: it takes its place, because it has the addresses."""
    one, two = pair(lab)
    _, second = pods(one, two)
    old = one.annotation()["instance"]
    one.stop()
    one.node.run("sh", "-c", "rm -rf /var/lib/cni-cnm/* /run/cni-cnm/*").ok()
    one.serve()
    until(lambda: one.annotation()["instance"] != old, "it is announced", 30, one.said)
    one.wait_ready(NETWORK)
    assert one.status()["conflict"] == ""
    together(one.pod(PODS), second)


def test_drain_and_delete(lab: NodeLab) -> None:
    """All pods end at once and the Node goes: the others have nothing of it left. The file is not removed."""
    one, two = pair(lab)
    many = [two.pod(PODS) for _ in range(12)]
    together(one.pod(PODS), many[0])
    address = two.addresses[0]
    with ThreadPoolExecutor(12) as pool:
        for answer in pool.map(lambda pod: pod.delete(), many):
            answer.ok()
    two.stop()
    remove(lab, "node2")
    until(lambda: not routes(one, "-4"), "its routes go", 20, one.said)
    assert address not in one.node.run("bridge", "fdb", "show", "dev", "cnm-vx4096").out
    assert address not in one.node.run("nft", "list", "ruleset").out
    assert many[0].address.rsplit(".", 1)[0] not in one.node.run("nft", "list", "ruleset").out
    assert two.node.path(CONFLIST).is_file()


def test_rules_flushed_by_another_program(lab: NodeLab) -> None:
    """What exempts other nodes' blocks from masquerade comes back with the rest."""
    one, two = pair(lab)
    first, second = pods(one, two)
    two.serve_who(second)
    one.node.run("nft", "flush", "ruleset").ok()

    def there() -> bool:
        rules = one.node.run("nft", "list", "table", "inet", "cni_cnm").out
        return "goto outside_" in rules and "@remote4_24 accept" in rules

    until(there, "the rules are back", 10, one.said)
    assert one.seen_as(f"http://{second.address}", first) == first.address
    assert "cni_cnm_underlay" in one.node.run("nft", "list", "tables").out


@pytest.mark.parametrize("direct", ["never", "always"])
def test_direct(lab: NodeLab, direct: str) -> None:
    """Two nodes on one link: with VXLAN all the same, or without it in any case."""
    setting = f'direct = "{direct}"'
    one, two = lab.node("node1", settings=setting), lab.node("node2", settings=setting)
    for node in (one, two):
        node.wait_conflist()
    pods(one, two)
    assert set(routes(one, "-4").values()) == {"cnm-vx4096" if direct == "never" else "eth0"}


def test_settings_that_differ(lab: NodeLab) -> None:
    """Of two the older one decides; the other one says both values, and gets no file."""
    one = lab.node("node1")
    one.wait_conflist()
    two = lab.node("node2", settings="port = 4800")
    two.wait_why("this host's settings have port 4800, and most nodes of the network 4799")
    assert two.runtime_status()["code"] == 50
    assert not two.has_conflist()


def test_another_port_on_all_nodes(lab: NodeLab) -> None:
    """Node by node, with pods that run: no pod starts between, then all are as before, by the new port."""
    one, two = pair(lab)
    first, second = pods(one, two)
    for node in (two, one):
        node.stop()
        node.node.write(CONFIG, f"{node.settings}port = 4800\n")
        node.serve()
        if node is two:
            node.wait_why("this host's settings have port 4800, and most nodes of the network 4799")
            until(lambda: "gives no address: this host's settings" in two.said(), "it is on record", 10, two.said)
    for node in (one, two):
        until(partial(_has_port, node, 4800), f"{node.name} has the new port", 10, node.said)
        node.wait_ready(NETWORK)
    together(first, second, *pods(one, two))


def _has_port(node: PodNode, port: int) -> bool:
    """Its VXLAN device."""
    found = node.node.run("ip", "-d", "-j", "link", "show", "cnm-vx4096").out
    return f'"port":{port},' in found


def test_an_ipv4_cluster_on_nodes_with_ipv6() -> None:
    """The nodes have default routes of both IP versions, and their kubelets report the IPv4 address."""
    if os.geteuid():
        pytest.skip("nodes are network and mount namespaces, which need root")
    with NodeLab(CIDRS[0]) as lab:
        nodes = [lab.node(name, far=name == "node2", register=False) for name in ("node1", "node2")]
        for node in nodes:
            address = next(one for one in node.addresses if ":" not in one)
            lab.api.do(partial(_register, node.name, address))
            node.wait_conflist()
            assert node.annotation()["addresses"] == [address]
        pods(*nodes)


def _register(name: str, address: str, model: ApiModel) -> None:
    model.add(name, address)


def test_subnets_are_known(lab: NodeLab) -> None:
    """With the cluster's CIDRs in the settings: one exception for all blocks, and packets to no block stay here."""
    setting = f'subnets = ["{CIDRS[0]}", "{CIDRS[1]}"]'
    one, two = lab.node("node1", settings=setting), lab.node("node2", far=True, settings=setting)
    for node in (one, two):
        node.wait_conflist()
    first, second = pods(one, two)
    assert routes(one, "-4")[CIDRS[0]] == "unreachable"
    two.serve_who(second)
    assert one.seen_as(f"http://{second.address}", first) == first.address
    assert "block of pods" not in one.node.run("nft", "list", "ruleset").out


@pytest.mark.parametrize("versions", [(4,), (6,)])
def test_underlay_of_one_version(versions: tuple[int, ...]) -> None:
    """Pods of both IP versions over nodes of one."""
    if os.geteuid():
        pytest.skip("nodes are network and mount namespaces, which need root")
    with NodeLab(*CIDRS, version=versions[0]) as lab:
        nodes = [lab.node("node1", versions=versions), lab.node("node2", versions=versions)]
        nodes.append(lab.node("far1", far=True, versions=versions))
        for node in nodes:
            node.wait_conflist()
        made = pods(*nodes)
        assert [len(pod.addresses) for pod in made] == [2, 2, 2]
        assert nodes[0].node.ip("link", "show", "cnm-vx4096")[0]["mtu"] == (1450 if versions == (4,) else 1430)
        nodes[2].serve_who(made[2])
        for address in (made[2].address, f"[{made[2].addresses[1]}]"):
            assert nodes[0].seen_as(f"http://{address}", made[0]) in made[0].addresses


@pytest.mark.parametrize("cidr", CIDRS)
def test_single_stack(cidr: str) -> None:
    if os.geteuid():
        pytest.skip("nodes are network and mount namespaces, which need root")
    with NodeLab(cidr) as lab:
        nodes = pair(lab)
        assert [len(pod.addresses) for pod in pods(*nodes)] == [1, 1]
