"""Editing a network and its file: both or neither, and what is not named stays."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.network import network_description
from cni_cnm.conflists import edit, folder, new_conflist
from cni_cnm.conflists.changes import Changes, applied
from cni_cnm.conflists.conflist import read
from cni_cnm.errors import Forbidden, InvalidConfig, IoFailed, NotFound
from tests.memory_kernel.host import memory_host
from tests.unit.conflists.files import put

WIDER = Changes([[{"subnet": "10.5.0.0/16"}]])


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    made = Controller(memory_host(tmp_path / "host"))
    made.new_network("net", ipam_config={"subnet": "10.5.0.0/24", "routes": [{"dst": "10.9.0.0/16"}]})
    return made


@pytest.fixture
def conf_dir(tmp_path: Path) -> Path:
    made = tmp_path / "net.d"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    ("changes", "given", "found"),
    [
        (
            WIDER,
            {"IPAM": {"type": "host-local", "Subnet": "10.5.0.0/24", "rangeStart": "10.5.0.9", "routes": []}},
            {"IPAM": {"type": "host-local", "routes": [], "ranges": [[{"subnet": "10.5.0.0/16"}]]}},
        ),
        (Changes(internal=True), {"internal": False, "mtu": 5}, {"internal": True, "mtu": 5}),
        (Changes(masquerade_except=[]), {"masqueradeexcept": ["10.0.0.0/8"]}, {"masqueradeexcept": []}),
        (Changes(options={"parent": "eth1"}), {"options": {"Parent": "eth0"}}, {"options": {"Parent": "eth1"}}),
        (Changes(options={"mtu": "1400"}), {"bridge": "cni0"}, {"bridge": "cni0", "mtu": "1400"}),
        (Changes(labels={"a": "2"}), {"labels": {"a": "1", "b": "1"}}, {"labels": {"a": "2", "b": "1"}}),
        (Changes(allow_overlap=True), {}, {"allowOverlap": True}),
    ],
)
def test_changes(changes: Changes, given: dict[str, Any], found: dict[str, Any]) -> None:
    assert applied(changes, given) == found


def test_without_a_file(controller: Controller, conf_dir: Path) -> None:
    """The route and the driver's options stay; labels are added."""
    network = controller.network("net")
    before = network.record.options
    edit.edit(network, WIDER._replace(labels={"a": "b"}), str(conf_dir), with_file=False)
    after = controller.network("net")
    assert [str(subnet) for subnet in after.subnets] == ["10.5.0.0/16"]
    assert (after.record.options, dict(after.labels)) == (before, {"a": "b"})
    assert after.record.ipam["routes"] == [{"dst": "10.9.0.0/16"}]
    assert network.record == after.record


def test_with_a_file(controller: Controller, conf_dir: Path) -> None:
    """An ADD finds the network as its file says."""
    entry = {"type": "cni-cnm", "statusExhausted": True, "ipam": {"subnet": "10.5.0.0/24"}}
    path = put(conf_dir, "10-net.conflist", "net", {"type": "loopback"}, entry, disableCheck=True)
    network = controller.network("net")
    with pytest.raises(Forbidden, match=r"is configured by .*10-net\.conflist"):
        edit.edit(network, WIDER, str(conf_dir), with_file=False)
    edit.edit(network, WIDER, str(conf_dir), with_file=True)
    written = read(path)
    assert written.ours is not None
    assert written.document["disableCheck"] is True
    assert written.ours.given["statusExhausted"] is True
    assert network_description.is_current(
        controller.network("net").record, new_conflist.network_of(written, written.ours)
    )
    assert os.listdir(conf_dir) == ["10-net.conflist"]


def test_a_file_that_cannot_be_written(controller: Controller, conf_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is as before."""
    put(conf_dir, "10-net.conflist", "net", {"type": "cni-cnm", "ipam": {"subnet": "10.5.0.0/24"}})

    def full(path: str, data: bytes) -> None:
        raise IoFailed(f"{path} cannot be written: No space left on device")

    monkeypatch.setattr(folder, "replace", full)
    with pytest.raises(IoFailed, match="No space left"):
        edit.edit(controller.network("net"), WIDER, str(conf_dir), with_file=True)
    assert [str(subnet) for subnet in controller.network("net").subnets] == ["10.5.0.0/24"]


def test_no_file_or_several(controller: Controller, conf_dir: Path) -> None:
    network = controller.network("net")
    with pytest.raises(NotFound, match="no file of"):
        edit.edit(network, WIDER, str(conf_dir), with_file=True)
    for name in ("10-a.conflist", "20-a.conflist"):
        put(conf_dir, name, "net")
    with pytest.raises(Forbidden, match=r"10-a\.conflist and .*20-a\.conflist"):
        edit.edit(network, WIDER, str(conf_dir), with_file=True)


def test_what_an_endpoint_does_not_allow(controller: Controller, conf_dir: Path) -> None:
    network = controller.network("net")
    network.create_endpoint("e")
    with pytest.raises(InvalidConfig, match="now says the subnets"):
        edit.edit(network, Changes([[{"subnet": "10.6.0.0/24"}]]), str(conf_dir), with_file=False)
    with pytest.raises(InvalidConfig, match="was made with internal"):
        edit.edit(network, Changes(internal=True), str(conf_dir), with_file=False)
    edit.edit(network, Changes(masquerade_except=["10.0.0.0/8"]), str(conf_dir), with_file=False)
    assert network.record.policy.masquerade_except


def test_networks_of_others(controller: Controller, conf_dir: Path) -> None:
    """Docker is not told of a change, so there is none."""
    network = controller.network("net")
    network.record = network.record._replace(docker_networks=("0123456789abcdef",))
    with pytest.raises(Forbidden, match="Docker has made the network net") as caught:
        edit.edit(network, WIDER, str(conf_dir), with_file=False)
    assert "docker network rm 0123456789ab" in caught.value.hint


@pytest.mark.parametrize("driver", ["bridge", "ptp"])
def test_a_new_file(controller: Controller, conf_dir: Path, driver: str) -> None:
    """It makes the network as it is, so the first ADD changes nothing."""
    made = controller.new_network("web", driver=driver, options={"mtu": 1400}, internal=True, labels={"a": "b"})
    path = f"{conf_dir}/10-web.conflist"
    new_conflist.write(path, made.record, allow_overlap=True)
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    assert (document["cniVersion"], document["name"]) == ("1.0.0", "web")
    [entry] = document["plugins"]
    assert (entry["internal"], entry["mtu"], entry["labels"], entry["allowOverlap"]) == (True, 1400, {"a": "b"}, True)
    written = read(path)
    assert written.ours is not None
    assert network_description.is_current(made.record, new_conflist.network_of(written, written.ours))


def test_a_driver_that_no_file_names() -> None:
    with pytest.raises(InvalidConfig, match="the driver is 'host'"):
        new_conflist.refuse("host")
