"""Docker's own tests of its bridge driver, on Docker's bridge and on our network: both behave equally.

What differs is in DIFFERENCES, and docs/docker.md says it with the reason. What belongs to no network driver is in
NOT_OF_A_NETWORK.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.docker_host import OURS, docker_host
from tests.system.docker_scenarios import NOT_OF_A_NETWORK, scenarios
from tests.system.docker_scenarios.side import HOST4, HOST6, Side, uplink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.system.docker_host import DockerHost

_BY_VERSION = ("IPv4", "IPv6")
_NOTHING = {f"{what}, {v}": False for what in ("ping", "ping back", "port 80", "port 81") for v in _BY_VERSION}
_EVERYTHING = {f"{what}, {v}": True for what in ("ping", "port 80", "port 81") for v in _BY_VERSION}
DIFFERENCES: Mapping[str, Mapping[str, Any]] = {
    "ports_of_another_network": {
        f"{mode}, {policy}": _NOTHING for mode in ("routed", "nat-unprotected") for policy in ("ACCEPT", "DROP")
    },
    "from_another_host": {"routed": _EVERYTHING, "trusted": _EVERYTHING},
    "from_everywhere": {
        "both": {"host, ::1": False},
        "IPv4": {"host, ::1": False, f"host, {HOST6}": False, f"another host, {HOST6}": False},
    },
    "modes_by_ip_version": {mode: {HOST4: True, HOST6: True} for mode in ("nat, routed", "routed, nat")},
    "an_ipv6_address_for_ipv4": {"::1": False, HOST6: False},
    "by_the_gateway_of_each_ip_version": {one: {HOST4: True, HOST6: False} for one in ("four", "four alone")},
}
"""What is seen on our network where Docker's bridge shows something else. docs/docker.md says each, and why."""
MODULE = "github.com/moby/moby/v2@v2.0.0-beta.24/integration"
SOURCES = ("networking/*_test.go", "network/bridge/*_test.go")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerHost]:
    with docker_host(tmp_path_factory.mktemp("docker"), "--live-restore", release="29") as host:
        uplink(host)
        yield host


def _marked(name: str) -> Any:
    return pytest.param(name, marks=() if scenarios()[name].smoke else pytest.mark.long)


@pytest.mark.parametrize("name", [_marked(name) for name in scenarios()])
def test_as_on_dockers_bridge(host: DockerHost, name: str) -> None:
    found = []
    for driver in ((), OURS):
        side = Side(host, driver)
        try:
            found.append(scenarios()[name].run(side))
        finally:
            side.clear()
    theirs, ours = found
    expected = with_differences(theirs, DIFFERENCES.get(name, {}))
    assert ours == expected
    assert (expected != theirs) == (name in DIFFERENCES)


def with_differences(theirs: Mapping[str, Any], differences: Mapping[str, Any]) -> dict[str, Any]:
    found = {**theirs, **differences}
    return {
        what: with_differences(theirs[what], seen) if what in differences and isinstance(seen, dict) else seen
        for what, seen in found.items()
    }


def test_each_of_dockers_tests_has_its_scenario() -> None:
    """Those of the release that is run, if its source is in Go's cache of modules."""
    if shutil.which("go") is None:
        pytest.skip("needs go, whose cache has the source")
    cache = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=False).stdout.strip()
    source = Path(cache) / MODULE
    if not source.is_dir():
        pytest.skip(f"{MODULE} is not in the cache of modules")
    paths = [path for pattern in SOURCES for path in source.glob(pattern) if "_windows_" not in path.name]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    found = {name for text in texts for name in re.findall(r"^func (Test[A-Z0-9]\w+)", text, re.MULTILINE)}
    named = {test for one in scenarios().values() for test in one.tests}
    assert found - {"TestMain"} - named - NOT_OF_A_NETWORK.keys() == set()
