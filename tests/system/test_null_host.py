"""The drivers without an interface: null through CNI, host through the library and the command line."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.program import ROOT
from tests.side import Side


def conf(**keys: Any) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": "nothing", "driver": "null", **keys}


def test_null_is_loopback(side: Side) -> None:
    """ADD brings lo up and reports it; CHECK sees it down; DEL leaves no record, twice if asked."""
    result = side.add(conf()).ok().json
    assert result["interfaces"] == [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": "/run/netns/c1"}]
    assert not {"ips", "routes"} & result.keys()
    assert side.node.ping("127.0.0.1", netns="/run/netns/c1")
    assert side.node.links("/run/netns/c1") == {"lo"}
    side.check(conf(), result).ok()
    assert side.add(conf()).json["code"] == 104
    side.node.run("ip", "link", "set", "lo", "down", netns="/run/netns/c1").ok()
    assert "lo is down" in side.check(conf(), result).json["msg"]
    side.delete(conf()).ok()
    side.delete(conf()).ok()
    assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni") == set()


@pytest.mark.parametrize(
    "keys",
    [
        {"ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}},
        {"ipam": {"subnet": "10.1.0.0/24"}},
        {"mac": "02:00:00:00:00:01"},
        {"options": {"parent": "eth0"}},
        {"tuning": {"mtu": 1400}},
        {
            "capabilities": {"portMappings": True},
            "runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 1}]},
        },
        {"bandwidth": {"ingressRate": 8000, "ingressBurst": 8000}},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_null_gives_nothing_else(side: Side, keys: dict[str, Any]) -> None:
    """What an interface would be needed for is refused with 7, and nothing is left."""
    refused = side.add(conf(**keys))
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm/networks") == set()


def test_null_needs_a_version_that_can_say_it(side: Side) -> None:
    """0.2.0 has no result without addresses: refused before any effect."""
    assert side.add(conf(cniVersion="0.2.0")).json["code"] == 7


def test_host_is_refused_by_cni(side: Side) -> None:
    """A pod in the host's network needs no plugin."""
    refused = side.add(conf(driver="host"))
    assert refused.json["code"] == 7
    assert "run the pod in the host's network" in refused.json["msg"]


HOST = """
from cni_cnm import errors, open_controller
controller = open_controller()
network = controller.network("shared")
endpoint = network.create_endpoint("agent")
attachment = endpoint.join(controller.new_sandbox("agent", "/proc/self/ns/net"))
print([link.name for link in attachment.interfaces], attachment.addresses, endpoint.record.ifname)
other = network.create_endpoint("other")
try:
    other.join(controller.new_sandbox("other", "/run/netns/c1"))
except errors.Forbidden as error:
    print("refused:", error.msg)
for one in (endpoint, other):
    one.delete(force=True)
for sandbox in list(controller.sandboxes()):
    sandbox.delete()
network.delete()
"""


def test_host_by_command_line_and_library(side: Side) -> None:
    """The network is made by the command line; its endpoint joins the host's namespace only, and nothing changes."""
    before = side.state()
    side.node.run(str(side.executable), "network", "create", "--driver", "host", "shared").ok()
    listed = side.node.run(str(side.executable), "network", "ls").ok().out
    assert "host" in listed
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{HOST}"
    out = side.node.run(sys.executable, "-I", "-c", script).ok().out
    assert "['lo'] () \n" in out
    assert "refused: the sandbox /run/netns/c1 has a namespace of its own" in out
    assert side.state() == before
    assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni-cnm") == set()
