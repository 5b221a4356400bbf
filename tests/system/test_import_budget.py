"""What a pod's call loads, by name: every module is paid for by every pod of a node without a service.

A module that is not in import_budget.txt fails the test. Adding one is a decision: measure it (`python -X importtime`)
and put it there, or import it where only a rarer feature comes by.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import ROOT
from tests.side import Side

LAUNCHER = """#!{python} -I
import sys
sys.path.insert(0, {root!r})
from cni_cnm.__main__ import main
code = main()
sys.stdout.flush()
with open({listing!r}, "w") as file:
    file.write(" ".join(sys.modules))
sys.exit(code)
"""

VERSION = {"__future__", "cni_cnm", "cni_cnm.__main__", "cni_cnm.cni", "cni_cnm.cni.versions"}
"""Answered from a table."""

POD = set((ROOT / "build/import_budget.txt").read_text(encoding="utf-8").split())
"""A bridge network with addresses of its own and masquerade."""

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11),
    reason="the list is of Python 3.11's standard library, which the program is built with",
)

SIMPLE = {"cniVersion": "1.0.0", "name": "net", "ipam": {"subnet": "10.61.0.0/24"}}


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    launcher = tmp_path / "source"
    launcher.write_text(
        LAUNCHER.format(python=sys.executable, root=str(ROOT), listing=str(tmp_path / "modules")), encoding="utf-8"
    )
    launcher.chmod(0o755)
    made = Side(launcher, "cni-cnm")
    yield made
    made.close()


def bare() -> set[str]:
    """What the interpreter has loaded before it runs anything."""
    command = [sys.executable, "-Ic", "import sys; print(*sys.modules)"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def loaded(folder: Path) -> set[str]:
    return set((folder / "modules").read_text(encoding="utf-8").split()) - bare()


def test_every_verb_of_a_pod(side: Side, tmp_path: Path) -> None:
    """ADD, CHECK, DEL, GC and STATUS stay within the list, and each name of it is loaded by one of them."""
    side.container("c1")
    conf: dict[str, Any] = dict(SIMPLE)
    found: dict[str, set[str]] = {}
    added = side.add(conf).ok()
    found["ADD"] = loaded(tmp_path)
    side.check(conf, added.json).ok()
    found["CHECK"] = loaded(tmp_path)
    newer = {**conf, "cniVersion": "1.1.0"}
    side.call("STATUS", newer, container="", ifname="", netns="").ok()
    found["STATUS"] = loaded(tmp_path)
    valid = [{"containerID": "c1", "ifname": "eth0"}]
    side.call("GC", {**newer, "cni.dev/valid-attachments": valid}, container="", ifname="", netns="").ok()
    found["GC"] = loaded(tmp_path)
    side.delete(conf).ok()
    found["DEL"] = loaded(tmp_path)
    over = {verb: sorted(names - POD) for verb, names in found.items() if names - POD}
    assert not over, json.dumps(over, indent=1)
    assert sorted(POD - set().union(*found.values())) == [], "on the list and not loaded any more"


def test_a_delete_without_record_loads_no_driver(side: Side, tmp_path: Path) -> None:
    """Runtimes send a DEL before every ADD. Drivers are asked only where an interface is found that no record knows."""
    side.container("c1")
    side.delete(SIMPLE).ok()
    assert sorted(name for name in loaded(tmp_path) if name.startswith("cni_cnm.drivers.")) == []


def test_a_bridge_loads_no_other_driver(side: Side, tmp_path: Path) -> None:
    """Also beside a network of another driver on the same host, once the packet filter stands."""
    for container, conf in (("c1", {"name": "none", "driver": "null"}), ("c2", SIMPLE), ("c3", SIMPLE)):
        side.container(container)
        side.add({"cniVersion": "1.0.0", **conf}, container).ok()
    assert "cni_cnm.drivers.bridge" in loaded(tmp_path)
    assert not {f"cni_cnm.drivers.{name}" for name in ("null", "macvlan", "chained", "remote")} & loaded(tmp_path)


def test_netaddr_is_for_the_first_pod_only(side: Side, tmp_path: Path) -> None:
    """A network that names no subnet has one chosen by netaddr (60 ms) once; its next pod does without."""
    conf = {"cniVersion": "1.0.0", "name": "net"}
    for container, chooses in (("c1", True), ("c2", False)):
        side.container(container)
        side.add(conf, container).ok()
        assert ("netaddr" in loaded(tmp_path)) is chooses


def test_version(side: Side, tmp_path: Path) -> None:
    """Runtimes ask at every start; nothing is needed for the answer."""
    side.call("VERSION", SIMPLE).ok()
    assert sorted(loaded(tmp_path) - VERSION) == []
