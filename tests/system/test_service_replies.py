"""What a node of a Kubernetes cluster needs of br_netfilter: docs/install.md says it, these connections show it.

kube-proxy redirects a connection to a Service by DNAT. The answer has to pass the host's connection tracking, or the
client gets it from an address that it has never asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import program
from tests.side import Side
from tests.system.test_ports import ask, port, serve

SERVICE, SERVICE6 = "10.96.0.10", "fd00:96::10"
CLIENT, CLIENT6, SERVER, SERVER6 = "10.60.0.2", "fd00:60::2", "10.60.0.3", "fd00:60::3"
KUBE_PROXY = f"""
table inet kube-proxy {{
    chain services {{
        type nat hook prerouting priority dstnat;
        meta l4proto {{ tcp, udp }} ip daddr {SERVICE} th dport 80 dnat ip to {SERVER}
        meta l4proto {{ tcp, udp }} ip6 daddr {SERVICE6} th dport 80 dnat ip6 to {SERVER6}
    }}
    chain network_policy {{
        type filter hook forward priority filter;
        ip saddr {CLIENT} ip daddr {SERVER} tcp dport 81 drop
        ip6 saddr {CLIENT6} ip6 daddr {SERVER6} tcp dport 81 drop
    }}
}}
"""
"""The Service, and a network policy for another port of the server."""
IPAM = {
    "type": "host-local", "ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd00:60::/64"}]],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
}  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    "cnm": {},
    "reference": {"bridge": "br0", "isGateway": True, "ipMasq": True},
    "ptp": {"driver": "ptp"},
}


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    """A node with a Service of one pod."""
    made = Side(program(tmp_path), "cni-cnm")
    made.node.run("nft", "-f", "-", stdin=KUBE_PROXY).ok()
    yield made
    made.close()


def pods(side: Side, kind: str, bridge_nf: str) -> None:
    """The client c1 and the server c2 on one network."""
    for key in ("iptables", "ip6tables"):
        done = side.node.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{key}={bridge_nf}")
        if done.code:
            pytest.skip(f"this kernel has no br_netfilter: {done.err.strip()}")
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": IPAM, **NETWORKS[kind]}
    for name in ("c1", "c2"):
        side.container(name)
        side.add({**config, "runtimeConfig": {"portMappings": [port(8080, 80)] if name == "c2" else []}}, name).ok()
    for protocol in ("tcp", "udp"):
        serve(side, "c2", protocol, 80)
    serve(side, "c2", "tcp", 81)


@pytest.mark.parametrize("kind", ["cnm", "reference"])
def test_a_neighbour_of_the_services_pod(side: Side, kind: str) -> None:
    """Inside a bridge answers pass connection tracking only with bridge-nf-call-iptables and -ip6tables."""
    pods(side, kind, "1")
    for protocol in ("tcp", "udp"):
        assert ask(side, protocol, SERVICE, 80, "c1") == CLIENT
        assert ask(side, protocol, SERVICE6, 80, "c1") == CLIENT6
    for server in (SERVER, SERVER6):
        assert ask(side, "tcp", server, 81, "c1").startswith("no "), "the policy does not apply"


@pytest.mark.parametrize("kind", ["cnm", "reference"])
def test_without_it(side: Side, kind: str) -> None:
    """A neighbour has no answer from the Service, and no policy applies. The pod and its published port answer."""
    pods(side, kind, "0")
    for protocol in ("tcp", "udp"):
        assert ask(side, protocol, SERVICE, 80, "c1").startswith("no ")
        assert ask(side, protocol, SERVICE6, 80, "c1").startswith("no ")
        assert ask(side, protocol, SERVER, 80, "c1") == CLIENT
    assert ask(side, "tcp", SERVER, 81, "c1") == CLIENT
    assert ask(side, "tcp", "10.60.0.1", 8080, "c1") == "10.60.0.1"
    side.container("c3")
    beside = {"type": "host-local", "subnet": "10.61.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
    side.add({"cniVersion": "1.0.0", "name": "beside", "ipam": beside}, "c3").ok()
    assert not ask(side, "tcp", SERVICE, 80, "c3").startswith("no "), "from another bridge"


def test_no_bridge_needs_none(side: Side) -> None:
    """Between pods of the driver ptp everything is routed."""
    pods(side, "ptp", "0")
    for protocol in ("tcp", "udp"):
        assert ask(side, protocol, SERVICE, 80, "c1") == CLIENT
        assert ask(side, protocol, SERVICE6, 80, "c1") == CLIENT6
