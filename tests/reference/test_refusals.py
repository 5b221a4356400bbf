"""Pods of the real plugins that were changed since, or that share something: named, and not touched."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.errors import Conflict, IoFailed
from cni_cnm.kernel import iptables
from cni_cnm.kernel.netns import KernelNamespaces
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.reference import change, discover
from tests.reference.pods import Pods
from tests.reference.test_pods import LIMITS, PORTS, V4, V6, chain, read, without_order

MakePods = Callable[[Path, str], Pods]
CHAIN = "CNI-623e1c388032b20529218ecc"
SPOOF = "bridge nat cni-br-iface-c1-eth0"


@pytest.fixture
def pods(make_pods: MakePods, newest: Path) -> Pods:
    """One pod, c1: its ports in nftables, its masquerade in iptables."""
    pods = make_pods(newest, "iptables")
    plugins = chain("iptables", V4, V6)
    plugins[1]["backend"] = "nftables"
    pods.add("c1", pods.conflist(plugins), portMappings=PORTS, bandwidth=LIMITS)
    return pods


def run(command: str) -> None:
    subprocess.run(command, shell=True, check=True, capture_output=True)


def reasons(pods: Pods) -> dict[str, str]:
    found = discover.read_all(KernelNamespaces(), pods.cache)
    return {one.key.container_id + one.key.ifname: "; ".join(one.not_understood) for one in found.attachments}


NOT_MADE = "is not one that its plugins make"
COMMENT = '-m comment --comment \'name: "net" id: "c1"\''
CHANGES = [
    (
        f"iptables -t nat -D {CHAIN} 1; iptables -t nat -A {CHAIN} -d 10.77.0.0/24 {COMMENT} -j ACCEPT",
        f"the rules of its chain {CHAIN} of iptables nat are in another order",
    ),
    (
        f"iptables -t nat -A {CHAIN} -d 192.0.2.1 -j ACCEPT",
        f"`{CHAIN} -d 192.0.2.1/32 -j ACCEPT` of iptables nat {NOT_MADE}",
    ),
    (
        f"ip6tables -t nat -I POSTROUTING -p tcp -j {CHAIN}",
        f"`POSTROUTING -p tcp -j {CHAIN}` of ip6tables nat {NOT_MADE}",
    ),
    (
        "iptables -D CNI-FORWARD -s 10.77.0.2 -j ACCEPT",
        "its rule `CNI-FORWARD -s 10.77.0.2/32 -j ACCEPT` of iptables filter is missing",
    ),
    (
        "ip6tables -A CNI-FORWARD -d fd00:77::2 -j DROP",
        f"`CNI-FORWARD -d fd00:77::2/128 -j DROP` of ip6tables filter {NOT_MADE}",
    ),
    (
        "iptables -D FORWARD -m comment --comment 'CNI firewall plugin rules' -j CNI-FORWARD",
        'the shared rule `FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD` of iptables filter',
    ),
    (
        """nft add rule ip cni_hostport hostports tcp dport 1 dnat to 10.77.0.2:1 comment '"c1"'""",
        f'`hostports tcp dport 1 dnat to 10.77.0.2:1 comment "c1"` of ip cni_hostport {NOT_MADE}',
    ),
    (f"nft add rule {SPOOF} accept", f"`cni-br-iface-c1-eth0 accept` of bridge nat {NOT_MADE}"),
    ("tc qdisc change dev LINK root tbf rate 2mbit burst 9k latency 25ms", "the rate limits of LINK are not those"),
    ("ip link set LINK nomaster", "LINK is not a port of cni0"),
    ("ip -n c1 address del 10.77.0.2/24 dev eth0", "does not have the address 10.77.0.2"),
]


def test_changes_are_named(pods: Pods, host: KernelStack) -> None:
    """One after the other. Then nothing is removed or written."""
    link = next(one["name"] for one in pods.pods["c1eth0"].result["interfaces"] if one["name"].startswith("veth"))
    attachment = read(pods)["c1"]
    for command, reason in CHANGES:
        if command.startswith("ip -n c1 "):
            command = f"nsenter --net={attachment.cached.netns} ip {command.removeprefix('ip -n c1 ')}"
        run(command.replace("LINK", link))
        assert reason.replace("LINK", link) in reasons(pods)["c1eth0"]
    Path(pods.folder, "leases/net/fd00:77::2").write_text("c9\r\neth0")
    assert "fd00:77::2 is of c9 eth0" in reasons(pods)["c1eth0"]
    Path(pods.folder, "tuning/c1_eth0.json").unlink()
    assert "which tuning restores from, is missing" in reasons(pods)["c1eth0"]
    found, before = discover.read_all(KernelNamespaces(), pods.cache).attachments[0], pods.state()
    for verb in (change.write, change.remove):
        with pytest.raises(Conflict, match="eth0 of the container c1 is not as the reference plugins make it"):
            verb(found, host)
    assert pods.state() == before


def test_two_interfaces_of_a_container_in_one_network(make_pods: MakePods, newest: Path) -> None:
    """Their chains have one name, because the plugins leave the interface out of it."""
    pods = make_pods(newest, "iptables")
    plugins: list[dict[str, Any]] = chain("iptables", V4)[:1]
    one = pods.add("c1", pods.conflist(plugins))
    assert reasons(pods) == {"c1eth0": ""}
    pods.add("c1", pods.conflist(plugins), ifname="eth1", netns=one.netns)
    found = reasons(pods)
    assert all("is not one that its plugins make" in found[name] for name in ("c1eth0", "c1eth1"))


def test_two_networks_of_a_container(make_pods: MakePods, newest: Path, host: KernelStack) -> None:
    """The comments of published ports in nftables have the container alone: the address says whose they are."""
    pods = make_pods(newest, "nftables")
    plugins = chain("nftables", V4)[:2]
    one = pods.add("c1", pods.conflist(plugins), portMappings=PORTS[:1])
    other = chain("nftables", [{"subnet": "10.78.0.0/24"}])[:2]
    other[0]["bridge"] = "cni1"
    alone = pods.state()
    two = pods.add("c1", pods.conflist(other, "other"), ifname="eth1", netns=one.netns, portMappings=PORTS[1:2])
    found = discover.read_all(KernelNamespaces(), pods.cache).attachments
    assert [attachment.not_understood for attachment in found] == [(), ()]
    change.remove(next(each for each in found if each.key == two.key), host)
    assert pods.state()["nft"] == alone["nft"]


def test_a_failure_is_undone(pods: Pods, host: KernelStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second family's program fails: what the first has changed is put back, by write as by remove."""
    attachment = read(pods)["c1"]

    def fails(family: str, script: str, real: Any = iptables.restore) -> bool:
        if family == "ip6tables":
            raise IoFailed("ip6tables-restore failed: no")
        return bool(real(family, script))

    both = pods.state()
    for verb in (change.remove, change.write):
        before = pods.state()
        with monkeypatch.context() as patched:
            patched.setattr(iptables, "restore", fails)
            with pytest.raises(IoFailed, match="ip6tables-restore failed: no"):
                verb(attachment, host)
        assert without_order(pods.state()) == without_order(before)
        verb(attachment, host)
    assert without_order(pods.state()) == without_order(both)
