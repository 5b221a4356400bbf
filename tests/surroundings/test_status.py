"""STATUS is 50 exactly if the next ADD would fail for a reason of the host's, and says which."""

from __future__ import annotations

from typing import Any

import pytest

from tests.program import form
from tests.side import Side
from tests.surroundings.configs import cnm, network


def ask(side: Side, config: dict[str, Any]) -> Any:
    return side.call("STATUS", {**config, "cniVersion": "1.1.0"})


def test_a_run_folder_that_is_read_only(side: Side) -> None:
    """No record could be written."""
    if form() == "service":
        pytest.skip("the service has its socket there")
    side.node.run("sh", "-c", "mkdir -p /run/cni-cnm && mount -t tmpfs -o ro none /run/cni-cnm").ok()
    refused = ask(side, network())
    assert (refused.code, refused.json["code"]) == (1, 50)
    assert "/run/cni-cnm" in refused.json["msg"]
    side.container("c1")
    assert side.add(network()).code == 1


FULL = {"blocks": "size=16k", "inodes": "size=256k,nr_inodes=3"}


@pytest.mark.parametrize("options", FULL.values(), ids=FULL.keys())
@pytest.mark.parametrize("folder", ["/run/cni-cnm", "/var/lib/cni-cnm", "/var/lib/cni/networks"])
@pytest.mark.quick("/run/cni-cnm-inodes", "/var/lib/cni-cnm-blocks", "/var/lib/cni/networks-inodes")
def test_a_folder_that_is_full(side: Side, folder: str, options: str) -> None:
    """No space or no inode is left in one of the folders that an ADD writes to."""
    if form() == "service" and folder == "/run/cni-cnm":
        pytest.skip("the service has its socket there")
    fill = (
        f"mkdir -p {folder}; mount -t tmpfs -o {options} none {folder}; cd {folder}; touch a b c d; cat </dev/zero >a"
    )
    side.node.run("sh", "-c", f"({fill}) 2>/dev/null")
    refused = ask(side, network())
    assert (refused.code, refused.json["code"]) == (1, 50)
    assert folder in refused.json["msg"]
    side.node.run("sh", "-c", f"rm {folder}/a; umount {folder}").ok()
    ask(side, network()).ok()


def test_neither_libnftables_nor_nft(side: Side) -> None:
    """A network that masquerades cannot be served; one that needs no packet filter can."""
    if form() == "service":
        pytest.skip("the service has loaded the library")
    side.node.run("sh", "-c", "for f in $(ls /usr/sbin/nft /sbin/nft /usr/lib/*/libnftables.so* 2>/dev/null); do "
                  "mount --bind /dev/null $(readlink -f $f); done").ok()  # fmt: skip
    refused = ask(side, network(ipMasq=True))
    assert (refused.code, refused.json["code"]) == (1, 50)
    assert "nft" in refused.json["msg"]
    side.container("c1")
    assert side.add(network(ipMasq=True)).code == 1
    ask(side, network()).ok()


CONFLICTS: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "no bridge": (["ip link add br-net type veth peer name x"], network(), "br-net"),
    "another address": (
        ["ip link add br-net type bridge", "ip addr add 10.1.1.1/24 dev br-net"], network(), "10.1.1.1/24",
    ),
    "another address, cnm": (
        ["ip link add br0 type bridge", "ip addr add 10.1.1.1/24 dev br0"],
        cnm(options={"com.docker.network.bridge.name": "br0"}), "10.1.1.1/24",
    ),
    "altname": (
        ["ip link add br0 type bridge", "ip link property add dev br0 altname br-net"], network(), "br0",
    ),
    "no parent": ([], {**cnm(), "driver": "macvlan", "master": "nowhere"}, "nowhere"),
    "parent is a port": (
        ["ip link add br0 type bridge", "ip link add up0 type veth peer name x", "ip link set up0 master br0"],
        {**cnm(), "driver": "macvlan", "master": "up0"}, "up0",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("commands", "config", "word"), CONFLICTS.values(), ids=CONFLICTS.keys())
def test_a_conflict_that_fails_the_next_add(side: Side, commands: list[str], config: dict[str, Any], word: str) -> None:
    """STATUS and ADD agree, and both name what is in the way."""
    for command in commands:
        side.node.run(*command.split()).ok()
    refused = ask(side, config)
    assert (refused.code, refused.json["code"]) == (1, 50)
    assert word in refused.json["msg"]
    side.container("c1")
    failed = side.add(config)
    assert failed.code == 1
    assert word in failed.json["msg"]


def test_an_edit_that_the_next_add_refuses(side: Side) -> None:
    """The configuration names another bridge than the one containers stand on."""
    side.container("c1")
    side.add(network()).ok()
    edited = network(bridge="br9")
    refused = ask(side, edited)
    assert (refused.code, refused.json["code"]) == (1, 50)
    assert "br9" in refused.json["msg"]
    side.container("c2")
    assert side.add(edited, "c2").json["code"] == 7
    ask(side, network()).ok()


def test_what_fails_no_add_is_no_reason(side: Side) -> None:
    """Forced addresses, another network's address of the other family, a bridge that is down."""
    for command in ("ip link add br-net type bridge", "ip addr add 10.1.1.1/24 dev br-net"):
        side.node.run(*command.split()).ok()
    ask(side, network(forceAddress=True)).ok()
    ask(side, network("net", "fd00:90::/64")).ok()
    ask(side, network(isGateway=False)).ok()
    side.container("c1")
    side.add(network("net", "fd00:90::/64")).ok()
    ask(side, network("net", "fd00:90::/64")).ok()
