"""What `conf check` says of a file: each fault with its line, and nothing of a file that is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.host import Host
from cni_cnm.conflists import check as checks
from cni_cnm.conflists.check import ERROR, WARNING, Checked
from tests.memory_kernel.host import memory_host
from tests.program import ROOT
from tests.unit.conflists.files import put

ALL = dict.fromkeys(("portMappings", "bandwidth", "ips", "mac", "dns", "aliases"), True)
OURS: dict[str, Any] = {"type": "cni-cnm", "capabilities": ALL}


@pytest.fixture
def bin_folder(tmp_path: Path) -> str:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cni-cnm", "portmap", "flannel", "loopback"):
        (folder / name).touch(0o755)
    return str(folder)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return memory_host(tmp_path / "host")


def checked(host: Host, path: str, bin_folder: str) -> Checked:
    return checks.check(path, host, folder=str(Path(path).parent), bin_folders=[bin_folder])


@pytest.mark.parametrize(
    ("entry", "severity", "line", "sentence"),
    [
        ({"ipam": {"subnet": "10.0.0.1/24"}}, ERROR, 16, 'ipam.subnet is "10.0.0.1/24"'),
        ({"ipam": {"subnet": "127.0.0.0/24"}}, ERROR, 16, "ipam.subnet is 127.0.0.0/24"),
        ({"ipam": {"subnet": "10.0.0.0/24", "gateway": "10.1.0.1"}}, ERROR, 17, "not in the subnet 10.0.0.0/24"),
        ({"ipam": {"rutes": []}}, WARNING, 16, "ipam.rutes is unknown"),
        ({"mtu": 12}, ERROR, 15, "mtu is 12"),
        ({"driver": "weave"}, ERROR, 15, "'weave' is neither a built-in driver"),
        ({"driver": "host"}, ERROR, 15, "driver is 'host'"),
        ({"profile": "cmn"}, ERROR, 15, 'profile is "cmn"'),
        ({"options": {"team": "a"}}, ERROR, 16, "does not know the option team"),
        ({"bridge": "a/b"}, ERROR, 15, "bridge is"),
        ({"bridge": "cni0", "hairpinMode": True, "promiscMode": True}, ERROR, 16, "hairpinMode and promiscMode"),
        ({"tuning": {"mtu": "x"}}, ERROR, 16, 'tuning.mtu is "x"'),
        ({"firewall": {"ingressPolicy": "closed"}}, ERROR, 16, "ingressPolicy"),
        ({"driver": "macvlan", "bandwidth": {"ingressRate": 8, "ingressBurst": 8}}, ERROR, 16, "bandwidth"),
        ({"driver": "macvlan", "options": {"parent": "eth9"}}, ERROR, 17, "eth9"),
        ({"ipMasqBackend": "iptables", "bridge": "cni0"}, WARNING, 15, "ipMasqBackend is not used"),
        ({"capabilities": {**ALL, "aliases": False}}, WARNING, 7, "capabilities has no aliases"),
        ({"capabilities": {**ALL, "portmappings": True}}, WARNING, 7, "portmappings, which no runtime knows"),
        ({"type": "bridge"}, WARNING, 4, "this program has no part"),
        ({"type": ""}, ERROR, 6, "type is missing"),
    ],
)
def test_a_fault_of_the_plugin(
    tmp_path: Path, host: Host, bin_folder: str, entry: dict[str, Any], severity: str, line: int, sentence: str
) -> None:
    found = checked(host, put(tmp_path, "10-net.conflist", "net", {**OURS, **entry}), bin_folder)
    [one] = [one for one in found.findings if sentence in one.message]
    assert one.severity == severity
    assert one.line in (line, 6, 7), one  # a sentence without a key is about the whole entry
    assert found.failed == (severity == ERROR)


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ({"drivr": "bridge"}, "did you mean driver?"),
        ({"driver": "brigde"}, "did you mean bridge?"),
        ({"ipam": {"subnets": "10.0.0.0/24"}}, "did you mean subnet?"),
        ({"ipam": {"ranges": [[{"subnet": "10.0.0.0/24", "rangeStrat": "10.0.0.9"}]]}}, "did you mean rangestart?"),
        ({"ipam": {"type": "hostlocal"}}, "did you mean host-local?"),
        ({"runtimeConfig": {"portMappings": [{"hostPrt": 1}]}}, "did you mean hostport?"),
        ({"options": {"mtu": 1400}}, "did you mean com.docker.network.driver.mtu?"),
        ({"capabilities": {**ALL, "portMapping": True}}, "did you mean portMappings?"),
        ({"type": "cni-cmn"}, "did you mean cni-cnm?"),
        ({"ipam": {"type": "host-local", "colour": 1}}, ""),
    ],
)
def test_a_misspelled_word(tmp_path: Path, host: Host, bin_folder: str, entry: dict[str, Any], hint: str) -> None:
    found = checked(host, put(tmp_path, "10-net.conflist", "net", {**OURS, **entry}), bin_folder)
    assert [one.hint for one in found.findings if one.hint.startswith("did you mean")] == ([hint] if hint else [])


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ('{\n "name": "a",\n', 3, "is not JSON"),
        ("[]", 0, "must be a JSON object"),
        ('{"name": "a", "plugins": []}', 0, "empty list"),
        ('{"name": "a", "plugins": {}}', 0, "plugins is an object"),
    ],
)
def test_no_configuration_at_all(
    tmp_path: Path, host: Host, bin_folder: str, text: str, line: int, sentence: str
) -> None:
    path = tmp_path / "10-net.conflist"
    path.write_text(text, encoding="utf-8")
    [one] = checked(host, str(path), bin_folder).findings
    assert (one.severity, one.line) == (ERROR, line)
    assert sentence in one.message


def test_a_file_that_is_missing(tmp_path: Path, host: Host, bin_folder: str) -> None:
    [one] = checked(host, str(tmp_path / "nope"), bin_folder).findings
    assert "cannot be read: No such file" in one.message


@pytest.mark.parametrize(
    ("name", "listed", "sentence"),
    [
        ("10-net.conf", {}, "has a list of plugins, which runtimes read from files that end in .conflist"),
        ("10-net.yaml", {}, "runtimes do not read 10-net.yaml"),
        ("10-net.conflist", {"name": ""}, "name is missing"),
        ("10-net.conflist", {"name": "a/b"}, 'name is "a/b"'),
        ("10-net.conflist", {"cniVersion": "9.0.0"}, "incompatible CNI versions"),
    ],
)
def test_a_fault_of_the_list(
    tmp_path: Path, host: Host, bin_folder: str, name: str, listed: dict[str, Any], sentence: str
) -> None:
    found = checked(host, put(tmp_path, name, "net", OURS, **listed), bin_folder)
    assert sentence in "\n".join(one.message for one in found.findings if one.severity == ERROR)


def test_beside_other_files(tmp_path: Path, host: Host, bin_folder: str) -> None:
    """The first one is the runtime's, and a name stands for one network."""
    first = put(tmp_path, "10-a.conflist", "a", OURS)
    second = put(tmp_path, "20-a.conflist", "a", OURS)
    messages = [one.message for one in checked(host, second, bin_folder).findings]
    assert any(f"as in {first}" in one for one in messages)
    assert any(f"use {first} for pods" in one for one in messages)
    assert not any("for pods" in one.message for one in checked(host, first, bin_folder).findings)


def test_a_program_that_is_missing(tmp_path: Path, host: Host, bin_folder: str) -> None:
    found = checked(host, put(tmp_path, "10-net.conflist", "net", OURS, {"type": "sbr"}), bin_folder)
    assert [(one.severity, "type sbr" in one.message) for one in found.findings] == [(WARNING, True)]


def test_the_host_has_the_subnet(tmp_path: Path, host: Host, bin_folder: str) -> None:
    """What the first ADD would refuse, and what the next one would change."""
    Controller(host).new_network("old", ipam_config={"subnet": "10.5.0.0/24"})
    other = put(tmp_path, "10-new.conflist", "new", {**OURS, "ipam": {"subnet": "10.5.0.0/16"}})
    [one] = checked(host, other, bin_folder).findings
    assert (one.severity, "overlaps with 10.5.0.0/24 of the network old" in one.message) == (ERROR, True)
    same = put(tmp_path, "05-old.conflist", "old", {**OURS, "ipam": {"subnet": "10.5.0.0/24"}})
    assert checked(host, same, bin_folder).findings == []
    wider = put(tmp_path, "05-old.conflist", "old", {**OURS, "ipam": {"subnet": "10.5.0.0/23"}})
    [one] = checked(host, wider, bin_folder).findings
    assert "the next ADD changes it" in one.message


def test_behind_another_plugin(tmp_path: Path, host: Host, bin_folder: str) -> None:
    """It adds to that plugin's interface. Behind loopback it makes one."""
    chained = put(tmp_path, "10-a.conflist", "a", {"type": "flannel"}, OURS)
    assert dict(checked(host, chained, bin_folder).meaning)["driver"].startswith("chained: ")
    own = put(tmp_path, "10-a.conflist", "a", {"type": "loopback"}, OURS)
    assert dict(checked(host, own, bin_folder).meaning)["driver"].startswith("bridge: ")


def test_every_example_is_right(host: Host, bin_folder: str) -> None:
    """In conf/, for both versions; what is missing is a Docker plugin and a link of this host."""
    for path in sorted((ROOT / "conf").glob("cni-*/*.conflist")):
        found = checks.check(str(path), host, folder="/nowhere", bin_folders=[bin_folder])
        assert found.meaning, path
        if path.stem not in ("docker-plugin", "macvlan"):
            assert found.findings == [], path


@pytest.mark.parametrize(
    ("entry", "term", "sentence"),
    [
        ({}, "profile", "cnm, as there is no key of the reference bridge plugin"),
        ({"bridge": "cni0"}, "profile", "reference, because of bridge"),
        ({}, "addresses", "a subnet is chosen from the default address pools"),
        ({"ipam": {"subnet": "10.5.0.0/24"}}, "addresses", "one from 10.5.0.0/24 (253 addresses, gateway 10.5.0.1)"),
        (
            {"ipam": {"subnet": "10.5.0.0/24", "rangeStart": "10.5.0.9", "rangeEnd": "10.5.0.10"}},
            "addresses",
            "one from 10.5.0.0/24 from 10.5.0.9 to 10.5.0.10 (2 addresses, gateway 10.5.0.1)",
        ),
        ({"ipam": {"type": "none"}}, "addresses", "none: the interface has no address (layer 2)"),
        ({"internal": True}, "outside", "nothing outside the network is reached from it: internal is true"),
        ({"masqueradeExcept": ["10.0.0.0/8"]}, "outside", "except to 10.0.0.0/8"),
        ({}, "reached by", "other hosts reach published ports only"),
        ({"firewall": {"ingressPolicy": "open"}}, "reached by", "everything that has a route to them"),
        ({"mtu": 1400}, "mtu", "1400 bytes"),
        ({"dns": {"nameservers": ["10.5.0.53"]}}, "dns", "10.5.0.53, for the runtime"),
    ],
)
def test_what_it_means(
    tmp_path: Path, host: Host, bin_folder: str, entry: dict[str, Any], term: str, sentence: str
) -> None:
    found = checked(host, put(tmp_path, "10-net.conflist", "net", {**OURS, **entry}), bin_folder)
    assert sentence in dict(found.meaning)[term]
