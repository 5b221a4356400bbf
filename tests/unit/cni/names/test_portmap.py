"""portmap and others behind a result that says less than that of `bridge`: of an old version, of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.cni.names.runtime import BANDWIDTH, BRIDGE, FIREWALL, PORTMAP, TUNING, Runtime
from tests.unit.cni.names.test_chained_plugin import foreign

SBR = {"type": "sbr"}


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_of_a_version_without_interfaces(tmp_path: Path, version: str) -> None:
    """It is passed on as it is."""
    runtime = Runtime(tmp_path, (BRIDGE, PORTMAP, TUNING, SBR))
    runtime.version = version
    result = runtime.add()
    assert result == {
        "cniVersion": version, "dns": {},
        "ip4": {"ip": "10.1.0.2/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]},
    }  # fmt: skip
    record = runtime.record()
    assert record is not None
    assert (record.driver, record.parts) == ("bridge", ("portmap", "tuning", "sbr"))
    assert runtime.delete() == [{}] * 4
    assert runtime.left() == []


def test_that_lists_the_link_on_the_host_alone(tmp_path: Path) -> None:
    """As Calico's does: its addresses name no interface."""
    runtime = Runtime(tmp_path, (PORTMAP, FIREWALL, BANDWIDTH, TUNING, SBR))
    previous: dict[str, Any] = {**foreign(runtime), "interfaces": [{"name": "veth7"}]}
    previous["ips"] = [{"address": "10.9.0.2/32"}]
    result = runtime.add(previous=previous)
    record = runtime.record()
    assert record is not None
    assert (record.driver, record.parts) == ("chained", ("portmap", "firewall", "bandwidth", "tuning", "sbr"))
    assert [(link["name"][:3], "sandbox" in link) for link in result["interfaces"]] == [("vet", False), ("bwp", False)]
    assert (result["ips"], [port.host_port for port in record.ports]) == (previous["ips"], [8080])
    assert runtime.check() == [{}] * 5
    assert runtime.delete() == [{}] * 5
    assert runtime.left() == ["veth7"]


def test_of_another_interface(tmp_path: Path) -> None:
    """One that lists interfaces of containers, and not this one."""
    runtime = Runtime(tmp_path, (PORTMAP,))
    previous = foreign(runtime)
    previous["interfaces"][1]["name"] = "net1"
    assert runtime.add(previous=previous)["msg"] == "prevResult does not list eth0 in a sandbox"


def test_without_addresses(tmp_path: Path) -> None:
    """No port can be published then. CHECK says so no more than ADD does."""
    runtime = Runtime(tmp_path, ({**BRIDGE, "isDefaultGateway": False, "ipMasq": False, "ipam": {}}, PORTMAP))
    assert "code" not in runtime.add()
    assert runtime.check() == [{}] * 2
    assert runtime.delete() == [{}] * 2
    assert runtime.left() == []
