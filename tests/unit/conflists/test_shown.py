"""Where the value of each key is from."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.host import Host
from cni_cnm.conflists import shown
from cni_cnm.errors import NoSuchNetwork
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
