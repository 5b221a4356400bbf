"""Agents of a Kubernetes cluster over the stand-in for its API: what they announce, and what STATUS says of it."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cni_cnm.cluster.actions import Announce
from cni_cnm.cluster.agent import Agent
from cni_cnm.cluster.assigned_blocks import AssignedBlocks
from cni_cnm.cluster.host_file import HostIdentity
from cni_cnm.cluster.known import Known
from cni_cnm.cluster.kubernetes.announcement import ANNOTATION
from cni_cnm.cluster.kubernetes.directory import KubernetesDirectory
from cni_cnm.cluster.uplink import Uplink
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import NotReady
from cni_cnm.service.pod_network import wanted_network
from tests.kubernetes.api_server import ApiServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.api_model import ApiModel

NAMES = ("n1", "n2", "n3")
SIX = Uplink(ip_address("2001:db8::5"), 2, "eth0", 1500, (ip_network("2001:db8::/64"),))


def _add(name: str, address: str, model: ApiModel) -> None:
    model.add(name, address)


class Cluster:
    """Nodes of an IPv4 cluster, each with the agent that was started last."""

    def __init__(self, api: ApiServer, kubeconfig: str) -> None:
        self.api = api
        self.opened = ExitStack()
        self.kubeconfig = kubeconfig
        self.address: Uplink | None = None
        """Of each host, in place of its Node's."""
        for name in NAMES:
            api.do(partial(_add, name, str(self.uplink(name).address)))

    def uplink(self, name: str) -> Uplink:
        address = ip_address(f"192.0.2.{11 + NAMES.index(name)}")
        return Uplink(address, 2, "eth0", 1500, (ip_network("192.0.2.0/24"),))

    def start(self, name: str, *more: Uplink, known: Known | None = None, **settings: Any) -> One:
        """The agent of a node, once it has read, announced, and read again."""
        wanted = ClusterSettings("kubernetes", kubeconfig=self.kubeconfig, node=name, conflist="/x", **settings)
        one = One(name, self.opened.enter_context(closing(KubernetesDirectory(wanted, 5))), wanted, known or Known())
        list(one.agent.found_uplinks((self.address or self.uplink(name), *more)))
        one.list_all()
        one.list_all()
        return one

    def announced(self, name: str) -> dict[str, Any]:
        found: list[str] = []
        self.api.do(lambda model: found.append(model.nodes[name]["metadata"]["annotations"][ANNOTATION]))
        said: dict[str, Any] = json.loads(found[0])
        return said


class One:
    """One agent."""

    def __init__(self, name: str, directory: KubernetesDirectory, settings: ClusterSettings, known: Known) -> None:
        me = HostIdentity(name, str(NAMES.index(name)) * 32)
        self.directory = directory
        self.agent = Agent(
            me, known, "kubernetes", AssignedBlocks(me, "kubernetes", wanted_network(settings), joins=True)
        )
        self.announcements = 0

    def list_all(self) -> None:
        for action in list(self.agent.listed(self.directory.snapshot(), self.directory.skipped(), 0.0)):
            if isinstance(action, Announce):
                self.announcements += 1
                self.directory.announce(action.host)
                list(self.agent.announced(action.host))

    def why(self) -> str:
        return self.agent.status(1, {}).networks["pods"].why


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ApiServer(cluster_cidrs=("10.244.0.0/16",)) as api:
        made = Cluster(api, api.kubeconfig(tmp_path / "kubeconfig"))
        with made.opened:
            yield made


@pytest.mark.parametrize(("key", "old", "new"), [("port", 4799, 4800), ("direct", "auto", "never")])
def test_settings_that_change_on_all_nodes(cluster: Cluster, key: str, old: Any, new: Any) -> None:
    """Node by node the announcement has the new value. When most have it, it holds, and no host is ever left out."""
    for name in NAMES:
        cluster.start(name)
    first = cluster.start("n2", **{key: new})
    assert cluster.announced("n2")[key] == new
    assert f"this host's settings have {key} {new}, and most nodes of the network {old}" in first.why()
    others = cluster.start("n1")
    assert others.agent.known.hosts.keys() == set(NAMES), "packets to it go on"
    assert not others.why().startswith("this host's settings")
    second = cluster.start("n3", **{key: new})
    assert not second.why().startswith("this host's settings")
    others.list_all()
    assert others.agent.known.hosts.keys() == set(NAMES)
    assert f"have {key} {old}, and most nodes of the network {new}" in others.why()
    first.list_all()
    assert not first.why().startswith("this host's settings")
    cluster.start("n1", **{key: new})
    assert [cluster.announced(name)[key] for name in NAMES] == [new] * 3


def test_a_node_keeps_its_block_while_its_announcement_changes(cluster: Cluster) -> None:
    cluster.start("n1")
    one = cluster.start("n1", port=4800)
    assert one.announcements == 1
    assert "10.244.0.0/24" in [str(block.subnets[0]) for block in one.agent.known.blocks_of("n1")]
    one.list_all()
    assert one.announcements == 1, "once is enough"


def test_nodes_with_an_address_that_their_node_does_not_have(cluster: Cluster) -> None:
    """Such as by the IPv6 default route of a network that the IPv4 cluster does not use."""
    one = cluster.start("n1", SIX)
    assert cluster.announced("n1")["addresses"] == ["192.0.2.11"]
    assert [str(uplink.address) for uplink in one.agent.uplinks] == ["192.0.2.11"]
    assert one.agent.host is not None
    assert "has given no podCIDR" not in one.why()
    assert "does not have this host" not in one.why()
    one.list_all()
    assert one.announcements == 1, "once is enough"
    assert not [action for action in one.agent.ticked() if isinstance(action, Announce)]
    list(one.agent.found_uplinks((cluster.uplink("n1"), SIX)))
    assert one.announcements == 1
    again = cluster.start("n1", SIX, known=one.agent.known)
    assert [str(uplink.address) for uplink in again.agent.uplinks] == ["192.0.2.11"]


def test_an_address_that_the_node_gets_later(cluster: Cluster) -> None:
    """The agent's next start announces it."""
    cluster.start("n1", SIX)
    cluster.api.do(
        lambda model: model.nodes["n1"]["status"]["addresses"].append(
            {"type": "InternalIP", "address": str(SIX.address)}
        )
    )
    one = cluster.start("n1", SIX)
    assert cluster.announced("n1")["addresses"] == ["192.0.2.11", "2001:db8::5"]
    assert one.agent.uplinks == (cluster.uplink("n1"), SIX)


def test_a_node_with_none_of_the_addresses(cluster: Cluster) -> None:
    cluster.address = SIX
    with pytest.raises(NotReady, match=r"this host's underlay address is 2001:db8::5, and Node n1 has 192\.0\.2\.11"):
        cluster.start("n1")
