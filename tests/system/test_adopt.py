"""`cni-cnm adopt` and `release` on pods of the real reference plugins, whose connections stay open through both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.side import REFERENCE, require_reference
from tests.system.adoption_host import CONFLIST, HERE, OUTSIDE, AdoptionHost, newest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["debian-iptables", "newest-iptables", "newest-nftables"])
def host(request: pytest.FixtureRequest, libcni_client: Path, tmp_path: Path) -> Iterator[AdoptionHost]:
    version, form = request.param.split("-")
    require_reference()
    plugins = REFERENCE if version == "debian" else newest()
    made = AdoptionHost(tmp_path, plugins, form, libcni_client)
    made.add("p1", port=8080, limits=True)
    made.add("p2")
    made.open("p1", OUTSIDE, 7000)
    made.open("outside", HERE, 8080)
    made.open("p2", HERE, 8080)
    made.open("", HERE, 8080)
    yield made
    made.close()


@pytest.mark.quick("debian-iptables", "newest-nftables")
def test_connections_stay_through_adopt_and_release(host: AdoptionHost) -> None:
    """Pods keep links, addresses and limits; each side's CHECK and DEL pass while the pods are its own."""
    node = host.node
    said = host.refused("CHECK", "p1")  # Debian's portmap looks for IPv6 rules that it has not made
    rules, links, cached = host.rules(), host.links(), host.cached()
    before = node.path(CONFLIST).read_text()
    shown = host.command("adopt", "net")
    assert "p1         eth0       10.7.0.2/24  ready" in shown
    assert "nothing was changed" in shown
    assert (host.rules(), host.links(), host.cached()) == (rules, links, cached)

    host.command("adopt", "net", "--yes")
    host.talk()
    assert [one["type"] for one in json.loads(node.path(CONFLIST).read_text())["plugins"]] == ["cni-cnm"]
    assert not [line for line in host.rules() if "10.7.0.2" in line or "10.7.0.3" in line]
    assert host.links() == links
    for name in ("p1", "p2"):
        host.check(name)
    assert host.command("doctor").strip().endswith("no findings")
    host.open("outside", HERE, 8080)
    host.add("p3", port=9090, limits=True)
    host.open("outside", HERE, 9090)
    host.delete("p2")
    host.talk()

    host.command("release", "net", "--yes")
    host.talk()
    assert node.path(CONFLIST).read_text() == before
    for name in ("p1", "p3"):
        assert host.refused("CHECK", name) == said
    assert "10.7.0." not in host.command("endpoint", "ls")
    host.delete("p3")
    assert host.cached() == {name: value for name, value in cached.items() if "p1" in name}
    host.add("p4")
    host.delete("p4")
    host.delete("p1")
    left = node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni-cnm")
    assert left == set()
    assert not [name for name in node.links() if name.startswith(("veth", "bwp"))]
    assert not [line for line in host.rules() if "10.7.0." in line]
