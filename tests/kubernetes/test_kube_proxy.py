"""A network over two hosts beside kube-proxy: its rules of each mode, as a real one has written them (kube_proxy/).

The rules are of kube-proxy 1.36 (tests/kubernetes/real/record_kube_proxy.py). The server's address in them is replaced
with the pod's. tests/kubernetes/real has the same checks with the program itself. For ipvs see kube_proxy/ipvs.py.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.kernel.lab import Namespace
from tests.kubernetes.kube_proxy import ipvs
from tests.kubernetes.kube_proxy.scene import LOCAL, NODES, PORT, SERVER, WEB, SceneNode, rules
from tests.kubernetes.kube_proxy.service_checks import Caller, Callers, Targets, failures, in_node
from tests.kubernetes.node_lab import PODS, NodeLab, PodNode
from tests.overlay.lab import Host, Pod
from tests.system.daemon import Daemon

SAY_CALLER = """
import http.server, socket
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", %d), Answer).serve_forever()
"""
HOST_PORT = 30090


class Cluster(NamedTuple):
    hosts: tuple[PodNode, PodNode]
    server: Pod
    callers: Callers


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if os.geteuid():
        pytest.skip("hosts are network and mount namespaces, which need root")
    with NodeLab() as lab:
        one, two = (lab.node(node.name, pod_cidrs=node.blocks) for node in NODES)
        for host in (one, two):
            host.wait_conflist()
        published = [{"hostPort": HOST_PORT, "containerPort": PORT, "protocol": "tcp"}]
        server = one.pod({**PODS, "runtimeConfig": {"portMappings": published}})
        near, far = one.pod(PODS), two.pod(PODS)
        daemon = Daemon(one.node, "nsenter", f"--net={server.netns}", sys.executable, "-Ic", SAY_CALLER % PORT)
        callers = Callers(
            _pod(server), _pod(near), _pod(far), in_node(one.node, _two(one.addresses)),
            in_node(two.node, _two(two.addresses)), _outside(lab.router),
        )  # fmt: skip
        yield Cluster((one, two), server, callers)
        daemon.stop(signal.SIGKILL)


def _two(addresses: tuple[str, ...]) -> tuple[str, str]:
    first, second = addresses
    return first, second


def _pod(pod: Pod) -> Caller:
    return in_node(pod.host.node, _two(pod.addresses), pod.netns)


def _outside(router: Namespace) -> Caller:
    return Caller(("192.0.2.1", "fd00:a::1"), lambda *argv: router.run(*argv, check=False))


def _apply(host: Host, node: SceneNode, mode: str, server: Pod) -> None:
    if mode == "ipvs":
        ipvs.start(host.node, node, _two(server.addresses))
        return
    for family, recorded, real in zip((4, 6), SERVER, _two(server.addresses), strict=True):
        text = rules(mode, node, family).read_text().replace(recorded, real)
        command = ("nft", "-f", "-") if mode == "nftables" else (f"ip{'6' * (family == 6)}tables-restore", "--noflush")
        host.node.run(*command, stdin=text).ok()


def _remove(host: Host, mode: str) -> None:
    if mode == "ipvs":
        ipvs.stop(host.node)
    for family, command in (("ip", "iptables"), ("ip6", "ip6tables")):
        if mode == "nftables":
            host.node.run("nft", "delete", "table", family, "kube-proxy").ok()
        else:
            for table in ("filter", "nat", "mangle"):
                host.node.run(command, "--table", table, "--flush").ok()
                host.node.run(command, "--table", table, "--delete-chain").ok()


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs"])
def test_services_and_ports(cluster: Cluster, mode: str) -> None:
    """From pods, nodes and outside, with bridge-nf-call-iptables 1 and 0."""
    for host, node in zip(cluster.hosts, NODES, strict=True):
        _apply(host, node, mode, cluster.server)
    wrong = {}
    try:
        for bridge_nf in (True, False):
            for host in cluster.hosts:
                for key in ("iptables", "ip6tables"):
                    host.node.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{key}={bridge_nf:d}").ok()
            targets = Targets(WEB.addresses, WEB.node_port, LOCAL.node_port, HOST_PORT)
            wrong[f"bridge-nf-call-iptables {bridge_nf:d}"] = failures(cluster.callers, targets)
    finally:
        for host in cluster.hosts:
            _remove(host, mode)
    assert not any(wrong.values()), wrong
