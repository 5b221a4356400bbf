"""The built program under libcni, the library every CNI runtime links: versions, results, cache, capabilities."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.program import ROOT
from tests.side import REFERENCE as PLUGINS
from tests.side import require_reference
from tests.system.fixtures import Libcni, Refused
from tests.system.node import Node
from tests.system.test_ports import ASK, SERVE

EXAMPLES = sorted(set((ROOT / "conf/cni-1.0.0").glob("*.conflist")) - {ROOT / "conf/cni-1.0.0/docker-plugin.conflist"})
"""But for the one that needs a Docker plugin: tests/system/test_remote_driver.py."""


def conflist(*, version: str = "1.0.0", name: str = "net", **plugin: Any) -> dict[str, Any]:
    return {"cniVersion": version, "name": name, "plugins": [{"type": "cni-cnm", **plugin}]}


REFERENCE: dict[str, Any] = {
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipam": {"type": "host-local", "subnet": "10.7.0.0/24"},
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_added_checked_and_taken_back(libcni: Libcni, example: Any) -> None:
    """ADD gives the interface its addresses, CHECK agrees, DEL leaves no link, lease or record; twice is fine."""
    node, network = libcni.node, json.loads(example.read_text())
    netns = node.add_netns("pod")
    node.run(
        "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0"
    ).ok()  # what macvlan's example stands on
    for end in ("eth0", "far0"):
        node.run("ip", "link", "set", end, "up").ok()
    before = node.links()
    result = libcni("ADD", network, netns)
    assert "eth0" in node.links(netns)
    assert node.addresses("eth0", netns=netns) == {ip["address"] for ip in result.get("ips", ())}
    for ip in result.get("ips", ()):
        if node.addresses(result["interfaces"][0]["name"]):
            assert node.ping(ip["gateway"], netns=netns)
    libcni("CHECK", network, netns)
    libcni("DEL", network, netns)
    libcni("DEL", network, netns)
    assert node.links(netns) == {"lo"}
    assert {name for name in node.links() - before if name.startswith("veth")} == set()
    left = node.files("/run/cni-cnm", "/var/lib/cni/networks", libcni.cache)
    assert {path for path in left if "/endpoints/" in path or "/sandboxes/" in path or "pod-1" in path} == set()
    assert {path for path in left if "/networks/" in path and path.rpartition("/")[2][0].isdigit()} == set()


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"])
def test_every_version_of_the_protocol_is_spoken(libcni: Libcni, version: str) -> None:
    """libcni validates the version, reads the result in that version's shape, and deletes with it."""
    netns = libcni.node.add_netns("pod")
    network = conflist(version=version, **REFERENCE)
    libcni("VERSION", network, netns)
    result = libcni("ADD", network, netns)
    assert result["cniVersion"] == version
    address = result["ip4"]["ip"] if version < "0.3" else result["ips"][0]["address"]
    assert libcni.node.addresses("eth0", netns=netns) == {address}
    libcni("DEL", network, netns)
    assert libcni.node.links(netns) == {"lo"}


def test_the_cached_result_is_the_result(libcni: Libcni) -> None:
    """What libcni cached after ADD is what ADD gave, and it is what CHECK passes as prevResult."""
    netns = libcni.node.add_netns("pod")
    network = conflist(**REFERENCE)
    result = libcni("ADD", network, netns)
    assert libcni("CACHED", network, netns) == result
    libcni("CHECK", network, netns)
    libcni("DEL", network, netns)
    assert libcni("CACHED", network, netns) == {}


def test_check_says_what_is_wrong(libcni: Libcni) -> None:
    """An address taken away behind our back fails CHECK with a message that names it, and CHECK repairs nothing."""
    netns = libcni.node.add_netns("pod")
    network = conflist(**REFERENCE)
    address = libcni("ADD", network, netns)["ips"][0]["address"]
    libcni.node.run("ip", "address", "del", address, "dev", "eth0", netns=netns).ok()
    for _ in range(2):
        with pytest.raises(Refused, match=address.partition("/")[0]):
            libcni("CHECK", network, netns)


def test_deletion_needs_no_namespace_and_no_cache(libcni: Libcni) -> None:
    """With the namespace gone, its path empty and libcni's cache lost, DEL still gives everything back."""
    node = libcni.node
    netns = node.add_netns("pod")
    network = conflist(**REFERENCE)
    libcni("ADD", network, netns)
    node.run("ip", "netns", "del", "pod").ok()
    libcni.cache = "/var/lib/cni-runtime-lost"
    libcni("DEL", network, "")
    assert not [name for name in node.links() if name.startswith("veth")]
    assert not [path for path in node.files("/var/lib/cni/networks") if "10.7.0.2" in path]
    assert not node.files("/run/cni-cnm/endpoints")


def test_capabilities_reach_the_endpoint(libcni: Libcni) -> None:
    """`ips`, `mac` and `ipRanges` of a runtime, declared in the configuration, decide address and MAC."""
    netns = libcni.node.add_netns("pod")
    capabilities = {"ips": True, "mac": True, "ipRanges": True}
    ipam = {"type": "host-local", "subnet": "10.8.0.0/24"}
    network = conflist(capabilities=capabilities, bridge="cni0", isGateway=True, ipam=ipam)
    wishes = {
        "ips": ["10.8.0.77"],
        "mac": "02:00:00:00:00:77",
        "ipRanges": [[{"subnet": "fd00:8::/64", "rangeStart": "fd00:8::50"}]],
    }
    result = libcni("ADD", network, netns, capabilities=wishes)
    assert {ip["address"] for ip in result["ips"]} == {"10.8.0.77/24", "fd00:8::50/64"}
    assert libcni.node.ip("link", "show", "dev", "eth0", netns=netns)[0]["address"] == "02:00:00:00:00:77"
    libcni("DEL", network, netns, capabilities=wishes)


def test_arguments_reach_the_endpoint(libcni: Libcni) -> None:
    """CNI_ARGS as Kubernetes runtimes send them, with IP= and MAC= beside, decide address and MAC."""
    netns = libcni.node.add_netns("pod")
    args = [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", "default"),
        ("K8S_POD_NAME", "web-0"),
        ("IP", "10.7.0.9"),
        ("MAC", "02:00:00:00:00:09"),
    ]
    result = libcni("ADD", conflist(**REFERENCE), netns, args=args)
    assert [ip["address"] for ip in result["ips"]] == ["10.7.0.9/24"]
    assert libcni.node.ip("link", "show", "dev", "eth0", netns=netns)[0]["address"] == "02:00:00:00:00:09"


def test_a_failed_addition_leaves_nothing(libcni: Libcni) -> None:
    """ADD of an interface name that exists fails with a code to act on; leases and links are as before."""
    node = libcni.node
    netns = node.add_netns("pod")
    node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other", netns=netns).ok()
    with pytest.raises(Refused) as refused:
        libcni("ADD", conflist(**REFERENCE), netns)
    assert refused.value.code not in (0, 999)
    assert "eth0" in refused.value.msg
    assert node.links(netns) == {"lo", "eth0", "other"}
    assert not [name for name in node.links() if name.startswith("veth")]
    assert not [path for path in node.files("/var/lib/cni/networks") if "10.7.0.2" in path]
    assert not node.files("/run/cni-cnm/endpoints")
    libcni("DEL", conflist(**REFERENCE), netns)


def test_loopback_is_the_same_program(libcni: Libcni) -> None:
    """Called by its other name it brings lo up, says so, and lets it be deleted."""
    netns = libcni.node.add_netns("pod")
    network = {"cniVersion": "1.0.0", "name": "lo", "plugins": [{"type": "loopback"}]}
    result = libcni("ADD", network, netns, ifname="lo")
    assert result["interfaces"] == [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": netns}]
    assert libcni.node.ping("127.0.0.1", netns=netns)
    libcni("CHECK", network, netns, ifname="lo")
    libcni("DEL", network, netns, ifname="lo")


CAPABILITIES = {
    "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
    "bandwidth": {"ingressRate": 10**8, "ingressBurst": 10**7, "egressRate": 10**8, "egressBurst": 10**7},
}
DUAL = {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "fd00:7::/64"}]]}
CHAINS: dict[str, list[dict[str, Any]]] = {
    "ours first": [
        {"type": "cni-cnm", "bridge": "cni0", "isDefaultGateway": True, "hairpinMode": True, "ipam": DUAL},
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "firewall", "ingressPolicy": "same-bridge"},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}},
    ],
    "behind ptp": [
        {"type": "ptp", "ipMasq": True, "ipam": {**DUAL, "routes": [{"dst": "0.0.0.0/0"}]}},
        {
            "type": "cni-cnm", "capabilities": {"portMappings": True, "bandwidth": True},
            "firewall": {"ingressPolicy": "same-bridge"}, "tuning": {"sysctl": {"net.core.somaxconn": "500"}},
        },
    ],
    "between": [
        {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "hairpinMode": True, "ipam": DUAL},
        {"type": "cni-cnm", "capabilities": {"portMappings": True}, "firewall": {"ingressPolicy": "same-bridge"}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}},
    ],
}  # fmt: skip


def address_of(result: dict[str, Any]) -> str:
    return str(result["ips"][0]["address"].partition("/")[0])


def serve(node: Node, netns: str, port: int) -> None:
    server = subprocess.Popen(
        node.command(sys.executable, "-Ic", SERVE, "tcp", str(port), netns=netns), stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"up\n"
    server.stdout.close()
    server.returncode = 0  # it ends with the node's init, like everything there


@pytest.mark.parametrize("plugins", CHAINS.values(), ids=CHAINS)
def test_chains_with_the_reference_plugins(libcni: Libcni, plugins: list[dict[str, Any]]) -> None:
    """Each interface plugin: the port leads to the pod, it is limited and tuned; CHECK, DEL, and DEL again.

    Afterwards there is no rule, limit, lease or record, also with the runtime's results lost and the namespace gone.
    """
    require_reference()
    node, libcni.path = libcni.node, [*libcni.path, str(PLUGINS)]
    network: dict[str, Any] = {"cniVersion": "1.0.0", "name": "net", "plugins": plugins}
    # the CHECK of Debian's portmap looks for the rules of one family in the other
    checked = {**network, "plugins": [plugin for plugin in plugins if plugin["type"] != "portmap"]}
    for number, lost in enumerate((False, True)):
        netns = node.add_netns(f"pod{number}")
        result = libcni("ADD", network, netns, capabilities=CAPABILITIES)
        assert {ip["address"].partition("/")[0][:7] for ip in result["ips"]} == {"10.7.0.", "fd00:7:"}
        libcni("CHECK", checked, netns, capabilities=CAPABILITIES)
        assert node.run("sh", "-c", "cat /proc/sys/net/core/somaxconn", netns=netns).out.strip() == "500"
        assert "rate 100Mbit" in node.run("tc", "qdisc", "show").out
        node.run("ip", "addr", "replace", "192.0.2.1/32", "dev", "lo").ok()
        serve(node, netns, 80)
        for address, source in (("192.0.2.1", ""), ("127.0.0.1", ""), ("192.0.2.1", netns)):
            assert not node.run(sys.executable, "-Ic", ASK, "tcp", address, "8080", netns=source).out.startswith("no")
        if lost:
            node.run("sh", "-c", f"ip netns pids pod{number} | xargs kill").ok()
            node.run("ip", "netns", "del", f"pod{number}").ok()
            libcni.cache = "/var/lib/cni-runtime-lost"
        for _ in range(2):
            libcni("DEL", network, "" if lost else netns, capabilities=CAPABILITIES)
        assert not [name for name in node.links() if name.startswith(("veth", "bwp"))]
        rules = node.run("nft", "list", "ruleset").out
        assert "net/pod-1" not in rules
        if not lost:  # those of the reference stay then: they are told by what was lost
            assert address_of(result) not in rules
            assert node.links(netns) == {"lo"}
        files = node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni/networks")
        assert not [path for path in files if "endpoints" in path or "sandboxes" in path or "/10.7." in path]
