"""A real cluster's life: pods of two nodes while agent, API server, kubelet and Nodes come and go."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from tests.kubernetes.kube_proxy.service_checks import in_node
from tests.kubernetes.real.kubernetes_node import CONFLIST, KubernetesNode
from tests.kubernetes.real.lab import PORT, Lab
from tests.waiting import until


def reaches_api(node: KubernetesNode) -> bool:
    return bool(node.status()["store"]["reachable"])


def start_again(lab: Lab) -> None:
    """The API server and its controllers; until the agents follow."""
    lab.server.start()
    lab.server.start_controllers(cluster_cidrs=lab.cidrs)
    until(lambda: all(map(reaches_api, lab.nodes.values())), "agents go on", 120, lab.log)


class Pair:
    """One pod on each node."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.make_pod("one", "node1", wait=False)
        lab.make_pod("two", "node2", wait=False)
        lab.wait_running("one", "two")

    def talk(self) -> bool:
        """Both ways and in both families, with the pods' own addresses."""
        found = []
        for asks, answers in (("one", "two"), ("two", "one")):
            if not self.lab.runs(asks) or not self.lab.runs(answers):  # kubelet starts it after a reboot
                return False
            caller = self.lab.caller(asks)
            found += [
                caller.ask(address, PORT) == own
                for own, address in zip(caller.addresses, self.lab.addresses(answers), strict=True)
            ]
        return all(found)


@pytest.fixture(scope="module")
def pair(network: Lab) -> Pair:
    return Pair(network)


@pytest.fixture(autouse=True)
def together_afterwards(pair: Pair) -> Iterator[None]:
    """Whatever a test did, both pods go on."""
    yield
    until(pair.talk, "the pods talk", 60, pair.lab.log)


def test_pods_of_two_nodes_see_each_others_addresses(pair: Pair) -> None:
    assert pair.talk()
    for pod, node in (("one", "node1"), ("two", "node2")):
        blocks = [ip_network(each) for each in pair.lab.api.get(f"nodes/{node}")["spec"]["podCIDRs"]]
        for address, block in zip(pair.lab.addresses(pod), blocks, strict=True):
            assert ip_address(address) in block
    route = pair.lab.nodes["node1"].node.ip("route", "get", pair.lab.addresses("two")[0])[0]
    assert route["dev"] == "eth0", "the nodes are on one link, so without VXLAN"


def test_a_killed_agent(pair: Pair) -> None:
    node = pair.lab.nodes["node1"]
    before = node.status()["pid"]
    node.node.run("kill", "-9", str(before)).ok()
    until(lambda: node.status().get("pid") not in (None, before), "another agent runs", 60, node.log)
    assert pair.talk()


def test_pods_start_and_end_while_the_service_is_stopped(pair: Pair) -> None:
    lab, node = pair.lab, pair.lab.nodes["node1"]
    assert node.service is not None
    node.service.stop()
    assert node.node.path(CONFLIST).exists()
    lab.make_pod("meanwhile", "node1")
    assert lab.caller("meanwhile").ask(lab.addresses("two")[0], PORT) == lab.addresses("meanwhile")[0]
    lab.remove_pods("meanwhile")
    lab.serve("node1")


def test_the_api_server_is_away_and_comes_back(pair: Pair) -> None:
    """Pods go on, and the agents follow again afterwards."""
    lab, caller, others = pair.lab, pair.lab.caller("one"), pair.lab.addresses("two")
    lab.server.stop()
    until(lambda: not any(reaches_api(node) for node in lab.nodes.values()), "agents notice", 60, lab.log)
    assert [caller.ask(address, PORT) for address in others] == list(caller.addresses)
    start_again(lab)


def test_a_node_reboots_while_the_api_server_is_away(pair: Pair) -> None:
    """The data path stands from what is on its disk, and the runtime starts pods."""
    lab, others, node = pair.lab, pair.lab.addresses("two"), pair.lab.nodes["node1"]
    known = node.node.path("/var/lib/cni-cnm/cluster/known")
    until(lambda: known.exists() and "host node2" in known.read_text(), "the disk has the other node", 30)
    lab.server.stop()
    lab.reboot("node1")
    lab.serve("node1")
    until(lambda: node.cri.network_ready()[0], "the runtime is ready", 60, node.log)
    pod = node.cri.run_pod("alone")
    caller = in_node(node.node, (pod.addresses[0], pod.addresses[1]), pod.netns)
    assert [caller.ask(address, PORT) for address in others] == list(pod.addresses)
    node.cri.stop(pod.id)
    node.cri.remove(pod.id)
    start_again(lab)
    lab.wait_ready("node1")
    until(lambda: "one" in node.pods(), "kubelet starts the pod again", 120, lab.log)
    lab.wait_running("one")


def test_kubelet_and_containerd_are_restarted(pair: Pair) -> None:
    lab, node = pair.lab, pair.lab.nodes["node2"]
    before = lab.addresses("two")
    node.stop_kubelet(signal.SIGKILL)
    node.restart_containerd()
    node.start_kubelet()
    lab.wait_ready("node2")
    lab.wait_running("two")
    assert lab.addresses("two") == before


def test_a_limit_by_kubernetes_annotations(pair: Pair) -> None:
    """Of the traffic to the pod, at the host's end of its veth."""
    lab, node = pair.lab, pair.lab.nodes["node1"]
    before = node.links()
    lab.make_pod("limited", "node1", annotations={"kubernetes.io/ingress-bandwidth": "8M"})
    (link,) = node.links() - before
    assert "rate 8Mbit" in node.node.run("tc", "qdisc", "show", "dev", link).ok().out
    assert lab.caller("limited").ask(lab.addresses("two")[0], PORT)
    lab.remove_pods("limited")
    until(lambda: node.links() == before, "its link is gone", 60, node.log)


def test_many_pods_at_once(pair: Pair) -> None:
    """They have addresses of their own, and leave none behind."""
    lab, node = pair.lab, pair.lab.nodes["node1"]
    before = node.links()
    names = [f"many{number}" for number in range(12)]
    for name in names:
        lab.make_pod(name, "node1", wait=False)
    lab.wait_running(*names, limit=180)
    assert len({address for name in names for address in lab.addresses(name)}) == 2 * len(names)
    for name in names:
        lab.api.delete(f"pods/{name}")
    until(lambda: not any(lab.api.there(f"pods/{name}") for name in names), "the pods are gone", 120, lab.log)
    until(lambda: node.links() == before, "their links are gone", 60, lambda: f"{node.links() ^ before}")


def test_a_node_that_is_deleted_and_registers_again(pair: Pair) -> None:
    """kube-controller-manager gives it a block anew. New pods get addresses of it, and the other node follows."""
    lab, node = pair.lab, pair.lab.nodes["node2"]
    old = [ip_network(each) for each in lab.api.get("nodes/node2")["spec"]["podCIDRs"]]
    node.stop_kubelet()
    lab.api.delete("nodes/node2")
    other = lab.nodes["node1"]
    until(lambda: other.status()["figures"]["hosts"] == 1, "the other node notices", 60, lab.log)
    lab.api.create("nodes", {"metadata": {"name": "joined-meanwhile"}})  # it may get the block
    lab.api.wait("nodes/joined-meanwhile", lambda found: found["spec"].get("podCIDRs"), "it has podCIDRs", 60)
    node.start_kubelet()
    until(lambda: lab.api.there("nodes/node2"), "it registers again", 60, lab.log)
    lab.wait_ready("node2")
    until(lambda: other.status()["figures"]["hosts"] == 2, "the other node sees it again", 60, lab.log)
    lab.remove_pods("two")  # the garbage collector may have removed it with its Node
    until(lambda: not lab.api.there("pods/two"), "the pod is gone", 60, lab.log)
    lab.make_pod("two", "node2")
    blocks = [ip_network(each) for each in lab.api.get("nodes/node2")["spec"]["podCIDRs"]]
    assert blocks != old
    lab.api.delete("nodes/joined-meanwhile")
    assert all(ip_address(one) in block for one, block in zip(lab.addresses("two"), blocks, strict=True))


def test_a_drained_node(pair: Pair) -> None:
    """Evicted pods leave no address behind; what does not belong to a controller is named by force."""
    lab, node = pair.lab, pair.lab.nodes["node2"]
    before = node.links()
    lab.make_pod("evicted", "node2")
    lab.api.delete("pods/two", grace=0)
    lab.server.kubectl("drain", "node2", "--force", "--ignore-daemonsets", "--timeout=60s")
    until(lambda: len(node.links()) == len(before) - 1, "its links are gone", 60, lambda: f"{node.links()}")
    lab.server.kubectl("uncordon", "node2")
    lab.make_pod("two", "node2")
