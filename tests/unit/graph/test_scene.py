"""What is read of a host: networks, their links, endpoints with their containers, and pairs that are open."""

from __future__ import annotations

from pathlib import Path

from cni_cnm.cnm.controller import Controller
from cni_cnm.graph import scene as scenes
from cni_cnm.graph.scene import DOWN, MASQUERADE, MISSING, NOWHERE, UP
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces


def test_a_host(tmp_path: Path) -> None:
    namespaces = MemoryNamespaces()
    host = memory_host(tmp_path, namespaces)
    controller = Controller(host)
    web = controller.new_network("web", ipam_config={"subnet": "10.5.0.0/24"})
    controller.new_network("db", ipam_config={"subnet": "10.6.0.0/24"}, internal=True)
    controller.new_network("wire", driver="null")
    controller.allow("web", "db")
    namespaces.create("/run/netns/c1")
    sandbox = controller.new_sandbox("c1", "/run/netns/c1")
    for name in ("web", "db"):
        joined = controller.network(name).create_endpoint("e", ports=["8080:80"] if name == "web" else [])
        joined.join(sandbox)
    web.create_endpoint("waits")

    found = scenes.read(host, "node1")
    assert [(one.name, one.driver, one.outside, one.link_state) for one in found.networks] == [
        ("db", "bridge", NOWHERE, UP),
        ("web", "bridge", MASQUERADE, UP),
        ("wire", "null", NOWHERE, ""),
    ]
    assert found.allowed == (("db", "web"),)
    of_web = found.networks[1]
    assert (of_web.subnets, of_web.gateways) == (("10.5.0.0/24",), ("10.5.0.1/24",))
    [first, second] = of_web.endpoints
    assert (first.name, first.addresses, first.ports) == ("c1", ("10.5.0.2/24",), ("8080→80/tcp",))
    assert (first.also_in, first.is_well, second.is_well) == (("db",), True, False)

    link = host.stack.link(first.link)
    bridge = host.stack.link(of_web.link)
    assert link is not None
    assert bridge is not None
    host.stack.delete_link(link.ifindex)
    host.stack.set_link(bridge.ifindex, up=False)
    found = scenes.read(host, "node1", ["web"])
    assert [one.name for one in found.networks] == ["web"]
    assert found.allowed == ()
    assert (found.networks[0].link_state, found.networks[0].endpoints[0].link_state) == (DOWN, MISSING)
    assert not found.networks[0].endpoints[0].is_well
