"""What a sample has of a host."""

from __future__ import annotations

from pathlib import Path

from cni_cnm.cnm.controller import Controller
from cni_cnm.kernel.link_traffic import Traffic
from cni_cnm.watch import sample
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces


def test_a_host(tmp_path: Path) -> None:
    namespaces = MemoryNamespaces()
    host = memory_host(tmp_path, namespaces)
    controller = Controller(host)
    namespaces.create("/run/netns/red")
    joined = controller.new_network("shop").create_endpoint("e")
    joined.join(controller.new_sandbox("c1", "/run/netns/red"))
    controller.new_network("web", driver="null").create_endpoint("waits")

    def traffic() -> dict[str, Traffic]:
        return {"veth": Traffic(1)}

    found = sample.read(host, traffic=traffic)
    assert (found.networks, found.traffic) == ({"shop": "bridge", "web": "null"}, traffic())
    seen = {one.network: one for one in found.endpoints.values()}
    assert (seen["shop"].container, seen["shop"].ifname, seen["shop"].state) == ("c1", "eth0", "ready")
    assert (seen["web"].state, seen["web"].link) == ("created", "")
    assert set(found.links.values()) == {"up"}
    assert len(found.links) == 2

    link = host.stack.link(seen["shop"].link)
    assert link is not None
    host.stack.delete_link(link.ifindex)
    found = sample.read(host, ["shop"], traffic)
    assert found.links[seen["shop"].link] == "missing"
    assert list(found.networks) == ["shop"]
    assert [one.network for one in found.endpoints.values()] == ["shop"]
