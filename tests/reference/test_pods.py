"""Pods of the real reference plugins, read, removed and put back: by Debian's and the newest, in each of the forms."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.kernel.netns import KernelNamespaces
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.reference import change, discover
from cni_cnm.reference.attachment import Attachment
from tests.reference.pods import Pods

MakePods = Callable[[Path, str], Pods]
V4, V6 = [{"subnet": "10.77.0.0/24"}], [{"subnet": "fd00:77::/64"}]
PORTS = [
    {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
    {"hostPort": 8081, "containerPort": 81, "protocol": "udp", "hostIP": "127.0.0.1"},
    {"hostPort": 82, "containerPort": 82, "protocol": "tcp", "hostIP": "::1"},
]
OTHERS = (
    "iptables -A CNI-ADMIN -s 10.77.0.3 -j RETURN",
    "iptables -t nat -I POSTROUTING -s 10.77.0.3 -j ACCEPT",
    "ip6tables -A FORWARD -d fd00:77::3 -j ACCEPT",
)
"""Rules of the administrator with the addresses of the pod c1."""
LIMITS = {"ingressRate": 1_000_000, "ingressBurst": 100_000, "egressRate": 2_000_001, "egressBurst": 4_294_967_295}


def chain(form: str, *ranges: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Every plugin that is understood, in a form."""
    nft = form == "nftables"
    ipam = {"type": "host-local", "ranges": list(ranges)}
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "macspoofchk": True, "ipam": ipam}
    return [
        {**bridge, **({"ipMasqBackend": "nftables"} if nft else {})},
        {"type": "portmap", "capabilities": {"portMappings": True}, **({"backend": "nftables"} if nft else {})},
        {"type": "firewall", "ingressPolicy": "same-bridge"},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "mtu": 1400, "mac": "02:00:00:00:00:05"},
    ]


def read(pods: Pods) -> dict[str, Attachment]:
    """By container. All of it is understood."""
    found = discover.read_all(KernelNamespaces(), pods.cache)
    assert not found.unreadable
    assert {one.key.container_id: one.not_understood for one in found.attachments if one.not_understood} == {}
    return {one.key.container_id: one for one in found.attachments}


def without_order(state: dict[str, list[str]]) -> dict[str, list[str]]:
    """The order of chains, and of rules of different pods in one chain, says nothing."""
    return {kind: sorted(lines) for kind, lines in state.items()}


def same_but_for_links(state: dict[str, list[str]], other: dict[str, list[str]]) -> None:
    """What `remove` leaves of a pod is its veth, its leases and its noqueue."""
    for kind in ("iptables", "ip6tables", "nft", "ifb"):
        assert state[kind] == other[kind]


@pytest.mark.long
def test_the_isolation_of_a_bridge(make_pods: MakePods, newest: Path, host: KernelStack) -> None:
    """Its rules are removed without those of another bridge, and put back with the pod's."""
    pods = make_pods(newest, "iptables")
    plugins = chain("iptables", V4, V6)
    plugins[2]["ingressPolicy"] = "isolated"
    pods.add("c1", pods.conflist(plugins))
    other = chain("iptables", [{"subnet": "10.78.0.0/24"}], [{"subnet": "fd00:78::/64"}])
    other[0]["bridge"] = "cni01"
    pods.add("c2", pods.conflist(other, "other"))
    both, attachment = pods.state(), read(pods)["c1"]
    for _ in range(2):
        change.remove_isolation("cni0")
    left = pods.state()
    for name in ("iptables", "ip6tables"):
        gone = set(both[name]) - set(left[name])
        assert len(gone) == 3
        assert all("STAGE" in line and "-o cni0 " in line for line in gone)
    change.write(attachment, host)
    assert without_order(pods.state()) == without_order(both)


@pytest.mark.parametrize("version", ["newest", "debian"])
@pytest.mark.parametrize("form", ["iptables", "legacy", "nftables"])
@pytest.mark.quick("iptables-debian", "nftables-newest")
def test_a_pod_is_read_removed_and_put_back(
    make_pods: MakePods, request: pytest.FixtureRequest, host: KernelStack, version: str, form: str
) -> None:
    """Beside another pod: its own CHECK and DEL pass after that, and nothing of either is changed or left."""
    pods = make_pods(request.getfixturevalue(version), form)
    conflist = pods.conflist(chain(form, V4, V6))
    other = pods.add("c2", conflist, portMappings=[{**PORTS[0], "hostPort": 9090}], bandwidth=LIMITS)
    for command in OTHERS:
        subprocess.run(command, shell=True, check=True, env={"PATH": pods.path})
    alone = pods.state()
    pod = pods.add("c1", conflist, portMappings=PORTS, bandwidth=LIMITS)
    both, failing = pods.state(), pods.check(pod)
    assert failing == (["portmap"] if version == "debian" else [])
    attachment = read(pods)["c1"]
    change.write(attachment, host)
    assert pods.state() == both
    for _ in range(2):
        change.remove(attachment, host)
        same_but_for_links(pods.state(), alone)
    for _ in range(2):
        change.write(attachment, host)
        assert without_order(pods.state()) == without_order(both)
    assert read(pods)["c1"] == attachment
    assert pods.check(pod) == failing
    pods.delete(pod)
    assert pods.state() == alone
    assert pods.check(other) == failing
