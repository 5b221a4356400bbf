"""The built program under libcni, the library every CNI runtime links: versions, results, cache, capabilities."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.system.fixtures import Libcni, Refused
from tests.system.node import ROOT

EXAMPLES = sorted((ROOT / "conf" / "cni-1.0.0").glob("*.conflist"))


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
