"""What a plugin has left of a container whose DEL it has failed, on the in-memory kernel."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

import pytest

from cni_cnm.fields import Fields
from cni_cnm.model import EndpointKey
from cni_cnm.reference import host_rules, leftover, names, saved_tuning
from cni_cnm.reference.host_rules import FoundRule, HostRules
from cni_cnm.reference.rule import Rule
from tests.memory_kernel.namespaces import MemoryNamespaces

KEY = EndpointKey("net", "c1", "eth0")
NETNS = "/run/netns/c1"


class Host:
    """A container with eth0, and the rules of the host."""

    def __init__(self, folder: Path) -> None:
        self.namespaces = MemoryNamespaces()
        self.target = self.namespaces.create(NETNS)
        self.namespaces.host().add_veth("veth0", peer="eth0", peer_stack=self.target)
        link = self.target.link("eth0")
        assert link is not None
        self.target.add_address(link.ifindex, ip_interface("10.1.0.2/24"))
        self.chains: dict[tuple[str, str], tuple[FoundRule, ...]] = {}
        self.elsewhere: frozenset[str] = frozenset()
        self.config = Fields({"dataDir": str(folder)})

    def put(self, rule: Rule) -> None:
        self.chains[rule.table, rule.chain] = (FoundRule(rule),)

    def left(self, plugin: str, netns: str = NETNS) -> str:
        return leftover.find(plugin, KEY, netns, self.config, self.namespaces)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(host_rules, "read", lambda: HostRules(made.chains, elsewhere=made.elsewhere))
    return made


@pytest.mark.parametrize("plugin", ["portmap", "firewall", "bandwidth", "tuning", "sbr"])
def test_nothing_is_left(host: Host, plugin: str) -> None:
    """The container is there, and rules of another one."""
    host.put(Rule("iptables filter", "CNI-FORWARD", "-s 10.1.0.3/32 -j ACCEPT"))
    host.put(Rule("ip cni_hostport", "hostports", 'tcp dport 80 dnat to 10.1.0.3:80 comment "c2"'))
    assert host.left(plugin) == host.left(plugin, "") == host.left(plugin, "/run/netns/gone") == ""


@pytest.mark.parametrize("plugin", ["bridge", "ptp", "macvlan", "ipvlan", "host-device"])
def test_an_interface(host: Host, plugin: str) -> None:
    assert host.left(plugin) == f"eth0 in {NETNS}"
    assert host.left(plugin, "") == host.left(plugin, "/run/netns/gone") == ""
    host.namespaces.create("/run/netns/empty")
    assert host.left(plugin, "/run/netns/empty") == ""


def test_published_ports(host: Host) -> None:
    """In the chain of either backend of iptables, or in nftables. The namespace does not matter."""
    chain = names.ports_chain(KEY)
    host.elsewhere = frozenset((chain,))
    assert chain in host.left("portmap", "")
    host.elsewhere = frozenset()
    host.put(Rule("ip6 cni_hostport", "hostports", 'tcp dport 80 dnat to [fd00::2]:80 comment "c1"'))
    assert "ip6 cni_hostport" in host.left("portmap", "")
    host.chains.clear()
    host.put(Rule("iptables nat", chain, "-j DNAT"))
    assert chain in host.left("portmap", "")


def test_rules_of_an_address(host: Host) -> None:
    """Only of one that the interface has: the rules name no container."""
    host.put(Rule("iptables filter", "CNI-FORWARD", "-s 10.1.0.2/32 -j ACCEPT"))
    assert "10.1.0.2/32" in host.left("firewall")
    assert host.left("firewall", "") == ""


def test_a_limit(host: Host) -> None:
    host.namespaces.host().add_ifb(names.ifb(KEY))
    assert names.ifb(KEY) in host.left("bandwidth", "")


def test_saved_attributes(host: Host, tmp_path: Path) -> None:
    """They matter while the interface is there."""
    saved_tuning.write(saved_tuning.path(KEY, str(tmp_path)), saved_tuning.SavedTuning(mtu=1500))
    assert str(tmp_path) in host.left("tuning")
    assert host.left("tuning", "") == ""
