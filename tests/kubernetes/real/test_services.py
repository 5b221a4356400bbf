"""Services and ports of a real cluster: the program kube-proxy in its modes, beside our network over two nodes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pytest

from tests.kubernetes.kube_proxy.service_checks import Caller, Callers, Targets, failures, in_node
from tests.kubernetes.real.lab import OUTSIDE, OUTSIDE6, PORT, Lab, new_lab
from tests.waiting import until

HOST_PORT = 30090


class Services(NamedTuple):
    lab: Lab
    callers: Callers
    targets: Targets


@pytest.fixture(scope="module", params=["auto", "never"], ids=["routes", "vxlan"])
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    """A server on node1 with a hostPort, behind two Services. Pods that ask are on both nodes."""
    with new_lab() as lab:
        lab.start()
        lab.serve(settings=f'direct = "{request.param}"')
        lab.wait_ready()
        yield made(lab)


def made(lab: Lab) -> Services:
    lab.make_pod("server", "node1", ports=[{"containerPort": PORT, "hostPort": HOST_PORT}], wait=False)
    lab.make_pod("near", "node1", wait=False)
    lab.make_pod("far", "node2", wait=False)
    lab.wait_running("server", "near", "far")
    web = lab.make_service("web", {"app": "server"}, type="NodePort")
    local = lab.make_service("local", {"app": "server"}, type="NodePort", externalTrafficPolicy="Local")
    one, two = lab.nodes["node1"], lab.nodes["node2"]
    callers = Callers(
        lab.caller("server"), lab.caller("near"), lab.caller("far"), in_node(one.node, one.addresses),
        in_node(two.node, two.addresses),
        Caller((OUTSIDE, OUTSIDE6), lambda *argv: lab.switch.run(*argv, check=False)),
    )  # fmt: skip
    addresses = web["clusterIPs"]
    ports = web["ports"][0]["nodePort"], local["ports"][0]["nodePort"]
    return Services(lab, callers, Targets((addresses[0], addresses[1]), *ports, HOST_PORT))


@pytest.mark.parametrize("bridge_nf", [True, False], ids=["bridge-nf-1", "bridge-nf-0"])
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_services_and_ports(services: Services, mode: str, bridge_nf: bool) -> None:
    lab, callers, targets = services
    for node in lab.nodes.values():
        node.proxy(mode)
        for key in ("iptables", "ip6tables"):
            node.node.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{key}={bridge_nf:d}").ok()
    for caller in (callers.here, callers.there):
        for address in targets.web:
            until(partial(caller.ask, address, 80), f"kube-proxy ({mode}) serves {address}", 60, lab.log)
    assert failures(callers, targets) == []
