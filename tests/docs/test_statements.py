"""Sentences of the pages that were wrong once: each is tried on a host, and still stands on its page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.hosts import Host, host
from tests.program import ROOT


def says(page: str, *sentences: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert [sentence for sentence in sentences if sentence not in text] == []


def conf(name: str, **keys: Any) -> dict[str, Any]:
    return {"cniVersion": "1.1.0", "name": name, "type": "cni-cnm", **keys}


@pytest.fixture(scope="module")
def empty() -> Iterator[Host]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with host("empty") as made:
        for number in range(9):
            made.node.add_netns(f"c{number}")
        yield made


def pings(host: Host, container: str, address: str) -> bool:
    return host.node.ping(address, netns=f"/run/netns/{container}")


@pytest.mark.parametrize(("routed", "name"), [(True, "wide"), (False, "flat")])
def test_a_widened_subnet(empty: Host, routed: bool, name: str) -> None:
    """A container that runs keeps its prefix: it reaches the new part by its default route, or not at all."""
    says(
        "docs/operations.md",
        "the next ADD changes the bridge",
        "Containers that run keep their address and its prefix length: they reach the new part of the subnet by their "
        "default route, and without one only when they are made again.",
    )
    keys: dict[str, Any] = {} if routed else {"bridge": "br-flat", "isGateway": True}
    third = 33 if routed else 34
    ipam = {"type": "host-local", "subnet": f"10.{third}.0.0/29"}
    wide = {"type": "host-local", "subnet": f"10.{third}.0.0/24", "rangeStart": f"10.{third}.0.100"}
    empty.cni("ADD", conf(name, **keys, ipam=ipam), "c1", f"{name}0").ok()
    empty.cni("ADD", conf(name, **keys, ipam=wide), "c2", f"{name}0").ok()
    assert empty.node.addresses(f"{name}0", netns="/run/netns/c1") == {f"10.{third}.0.2/29"}
    bridge = (
        "br-flat" if keys else json.loads(empty.shell(f"cni-cnm network inspect {name}").out)[0]["options"]["bridge"]
    )
    assert empty.node.addresses(bridge) == {f"10.{third}.0.1/24"}
    assert pings(empty, "c1", f"10.{third}.0.100") is routed
    for container in ("c1", "c2"):
        empty.cni("DEL", conf(name), container, f"{name}0").ok()


def test_leases_of_both_families_are_counted(empty: Host) -> None:
    """By the command of the page: one of each family."""
    [command] = re.findall(
        r"^# (ls /var/lib/cni/networks/podnet \|.*)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE
    )
    ipam = {"ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd00:60::/64"}]]}
    empty.cni("ADD", conf("podnet", ipam=ipam), "c1", "pod0").ok()
    assert empty.shell(command).out.strip() == "2"
    empty.cni("DEL", conf("podnet"), "c1", "pod0").ok()


def test_who_leaves_an_endpoint_created(empty: Host) -> None:
    """The library, between `create_endpoint` and `join`."""
    says("docs/operations.md", "Only the Python library leaves an endpoint so; with Docker it is so between two calls.")
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom cni_cnm import open_controller\n"
        "open_controller().new_network('lib', ipam_config={'subnet': '10.61.0.0/24'}).create_endpoint('red')\n"
    )
    empty.node.run(sys.executable, "-I", "-c", program).ok()
    assert re.search(r"^\w+ +lib +red .* created$", empty.shell("cni-cnm endpoint ls --network lib").out, re.MULTILINE)


def test_unknown_keys(empty: Host) -> None:
    """In the configuration, in `ipam` and in a block: named in a warning, and the ADD goes on."""
    says(
        "docs/configuration.md", "An unknown key, also in `ipam` and in the blocks, is ignored with a warning on stderr"
    )
    ipam = {"subnet": "10.62.0.0/24", "frob": 1}
    done = empty.cni("ADD", conf("typo", ipam=ipam, mtuu=1, bandwidth={"rate": 1}), "c1", "typo0").ok()
    assert all(name in done.err for name in ("ipam.frob", "mtuu", "bandwidth.rate"))
    empty.cni("DEL", conf("typo"), "c1", "typo0").ok()


def test_labels_are_those_that_the_network_was_made_with(empty: Host) -> None:
    """An edit is no error and changes nothing, while the network is there."""
    says("docs/configuration.md", "those that the network was made with: a later edit changes nothing")
    for color in ("red", "blue"):
        empty.cni("ADD", conf("metadata", labels={"color": color}), "c1", "meta0").ok()
        empty.cni("DEL", conf("metadata"), "c1", "meta0").ok()
    assert json.loads(empty.shell("cni-cnm network inspect metadata").out)[0]["labels"] == {"color": "red"}


@pytest.mark.parametrize("profile", ["cnm", "reference"])
@pytest.mark.parametrize(
    ("gateway", "served"),
    [("10.40.0.0", ()), ("10.40.0.255", ()), ("fd00::1", ()), ("x", ()), ("10.41.0.1", ("reference",)),
     ("10.40.0.9", ("cnm", "reference"))],
)  # fmt: skip
def test_gateways(empty: Host, profile: str, gateway: str, served: tuple[str, ...]) -> None:
    """The row `gateway` of host-local: what is refused (7), in which profile."""
    says(
        "docs/configuration.md",
        "no address, of the other IP version, the subnet's own or its broadcast address: 7.",
        "Outside the subnet: 7 in the cnm profile",
    )
    keys = {"bridge": "brg"} if profile == "reference" else {}
    ipam = {"type": "host-local", "subnet": "10.40.0.0/24", "gateway": gateway}
    done = empty.cni("ADD", conf("gated", profile=profile, ipam=ipam, **keys), "c3", "gate0")
    assert (done.code == 0) is (profile in served)
    assert done.code == 0 or json.loads(done.out)["code"] == 7
    empty.cni("DEL", conf("gated"), "c3", "gate0").ok()
    empty.shell("cni-cnm network rm gated")


def test_codes_of_an_executable(empty: Host) -> None:
    """Its own, if it is one of the specification's; never 0 or 999."""
    says("docs/configuration.md", "0 and 999 are never used")
    for code, ours in ((0, 103), (999, 103), (11, 11), (100, 100)):
        text = f'#!/bin/sh\necho \'{{"code": {code}, "msg": "own"}}\'\nexit 1\n'
        empty.node.write("/opt/cni/bin/delegate", text)
        empty.node.path("/opt/cni/bin/delegate").chmod(0o755)
        done = empty.cni("ADD", conf("delegated", bridge="brd", ipam={"type": "delegate"}), "c4", "dele0")
        assert json.loads(done.out)["code"] == ours, code


def test_what_a_failed_add_leaves(empty: Host) -> None:
    """No network, link, lease or record; what belongs to the host stays as the page says."""
    says("docs/configuration.md", "What belongs to the host stays: forwarding that was switched on, and our tables.")
    folders = ("/run/cni-cnm/endpoints", "/var/lib/cni-cnm", "/var/lib/cni")
    before = empty.node.links(), empty.node.files(*folders)
    wish = {"portMappings": [{"hostPort": 1, "containerPort": 2, "hostIP": "::"}]}
    failed = empty.cni("ADD", conf("undone", ipam={"subnet": "10.63.0.0/24"}, runtimeConfig=wish), "c5")
    assert failed.code == 1
    assert (empty.node.links(), empty.node.files(*folders)) == before
    assert empty.shell("sysctl -n net.ipv4.ip_forward").out.strip() == "1"


def test_status_of_a_full_network(empty: Host) -> None:
    """A warning, or 50 with `statusExhausted`."""
    says("docs/configuration.md", "A full network is only a warning on stderr", "`statusExhausted` makes it 50.")
    full = conf("full", ipam={"subnet": "10.64.0.0/30", "rangeStart": "10.64.0.2", "rangeEnd": "10.64.0.2"})
    empty.cni("ADD", full, "c6").ok()
    assert "no free address" in empty.cni("STATUS", full, "c6").ok().err
    assert json.loads(empty.cni("STATUS", {**full, "statusExhausted": True}, "c6").out)["code"] == 50


def test_network_create_and_endpoint_rm(empty: Host) -> None:
    """The bridge is there at once. An endpoint of a container that runs is removed as well, with its interface."""
    says(
        "docs/cni-cnm.8.md",
        "A network is made when the first container joins it, or at once by **network create**, bridge included.",
        "A container that runs loses the interface.",
    )
    identifier = empty.shell("cni-cnm network create --subnet 10.65.0.0/24 made").out.strip()
    assert empty.node.addresses(f"br-{identifier[:12]}") == {"10.65.0.1/24"}
    empty.cni("ADD", conf("made"), "c7").ok()
    assert empty.shell("cni-cnm endpoint rm c7").out.strip() == "made/c7/eth0"
    assert empty.node.links("/run/netns/c7") == {"lo"}


def test_the_package_is_typed(tmp_path: Path) -> None:
    """The wheel has `py.typed`, as the library's page says."""
    says("docs/library.md", "The package has type annotations (`py.typed`).")
    assert (ROOT / "cni_cnm/py.typed").exists()
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    assert "cni_cnm/py.typed" in zipfile.ZipFile(wheel).namelist()
