"""Where the value of each key is from."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.host import Host
from cni_cnm.cnm.records import load_network
from cni_cnm.conflists import shown
from cni_cnm.errors import NoSuchNetwork
from cni_cnm.kernel.contract.route import RouteEntry
from tests.memory_kernel.host import memory_host
from tests.unit.conflists.files import put


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return memory_host(tmp_path / "host")


def sources(host: Host, folder: Path) -> tuple[dict[str, tuple[object, str]], str]:
    rows, notes = shown.rows(host, "net", str(folder))
    return {row["key"]: (row["value"], row["source"]) for row in rows}, " ".join(notes)


def test_a_network_of_the_command_line(host: Host, tmp_path: Path) -> None:
    Controller(host).new_network("net", options={"mtu": 1400}, ipam_config={"subnet": "10.5.0.0/24"})
    found, notes = sources(host, tmp_path)
    assert found["profile"] == ("cnm", "as there is no key of the reference bridge plugin")
    assert found["mtu"] == (1400, "network create")
    assert found["ipam.subnet"] == ("10.5.0.0/24", "network create")
    assert found["ipam.gateway"] == ("10.5.0.1", "default")
    assert found["options.com.docker.network.bridge.enable_ip_masquerade"] == (True, "default")
    assert notes == ""


def test_a_network_of_a_file(host: Host, tmp_path: Path) -> None:
    """Each with its line, also under another name; and what follows from other keys."""
    options = {"com.docker.network.driver.mtu": "1400"}
    path = put(tmp_path, "10-net.conflist", "net", {"type": "cni-cnm", "options": options})
    found, notes = sources(host, tmp_path)
    assert found["mtu"] == (1400, f"{path}:8")
    assert "no container has joined the network net yet" in notes
    path = put(tmp_path, "10-net.conflist", "net", {"type": "cni-cnm", "bridge": "b", "isDefaultGateway": True})
    found, _ = sources(host, tmp_path)
    assert found["profile"] == ("reference", "because of bridge")
    assert found["isDefaultGateway"] == (True, f"{path}:8")
    assert found["isGateway"] == (True, "follows from other keys")


def test_a_file_that_was_edited(host: Host, tmp_path: Path) -> None:
    Controller(host).new_network("net", ipam_config={"subnet": "10.5.0.0/24"})
    put(tmp_path, "10-net.conflist", "net", {"type": "cni-cnm", "ipam": {"subnet": "10.5.0.0/16"}})
    found, notes = sources(host, tmp_path)
    assert found["ipam.subnet"][0] == "10.5.0.0/24"
    assert "says something else, which the next container's ADD puts into effect" in notes


def test_no_network(host: Host, tmp_path: Path) -> None:
    with pytest.raises(NoSuchNetwork, match="no file of"):
        shown.rows(host, "net", str(tmp_path))


@pytest.mark.parametrize("driver", ["null", "host", "ptp"])
def test_every_driver(host: Host, tmp_path: Path, driver: str) -> None:
    """Also one without profiles."""
    Controller(host).new_network("net", driver=driver)
    found, _ = sources(host, tmp_path)
    assert found["driver"] == (driver, "network create")
    assert ("profile" in found) == (driver == "ptp")


def test_what_follows_from_internal(host: Host, tmp_path: Path) -> None:
    """Its masquerade is off, whose default is on: neither a default nor what a file says."""
    Controller(host).new_network("net", internal=True)
    key = "options.com.docker.network.bridge.enable_ip_masquerade"
    assert sources(host, tmp_path)[0][key] == (False, "follows from internal")
    put(tmp_path, "10-net.conflist", "net", {"type": "cni-cnm", "internal": True, "options": {key[8:]: "true"}})
    assert sources(host, tmp_path)[0][key] == (False, "follows from internal")


def test_an_mtu_that_no_key_names(host: Host, tmp_path: Path) -> None:
    """It is that of the bridge; before there is one, that of the uplink; without an uplink the kernel's."""
    put(tmp_path, "10-net.conflist", "net", {"type": "cni-cnm"})
    assert sources(host, tmp_path)[0]["mtu"] == (1500, "default")
    host.stack.add_bridge("up0", mac="02:00:00:00:00:01", mtu=1442)
    link = host.stack.link("up0")
    assert link is not None
    host.stack.set_link(link.ifindex, up=True)
    host.stack.add_address(link.ifindex, ip_interface("192.0.2.2/24"))
    host.stack.add_route(RouteEntry(ip_network("0.0.0.0/0"), ip_address("192.0.2.1"), link=link.ifindex))
    assert sources(host, tmp_path)[0]["mtu"] == (1442, "of the link up0")
    Controller(host).new_network("net").create_endpoint("one")
    record = load_network(host.store, "net")
    assert record is not None
    bridge = host.stack.link(record.policy.bridge)
    assert bridge is not None
    host.stack.set_link(bridge.ifindex, mtu=1400)
    assert sources(host, tmp_path)[0]["mtu"] == (1400, f"of the link {bridge.name}")


@pytest.mark.parametrize(("driver", "options", "mtu"), [
    ("ptp", {}, (1500, "default")),
    ("bridge", {"bridge": "b0"}, (1500, "default")),
    ("macvlan", {"master": "up0", "profile": "reference"}, (9000, "of the link up0")),
])  # fmt: skip
def test_the_mtu_of_other_networks(
    host: Host, tmp_path: Path, driver: str, options: dict[str, str], mtu: tuple[int, str]
) -> None:
    host.stack.add_bridge("up0", mac="02:00:00:00:00:01", mtu=9000)
    put(tmp_path, "10-net.conflist", "net", {"type": "cni-cnm", "driver": driver, **options})
    assert sources(host, tmp_path)[0]["mtu"] == mtu
