"""Versions: what is spoken, which verbs each has, and what VERSION costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cni_cnm.cni import versions
from cni_cnm.cni.plugin import handle
from cni_cnm.errors import IncompatibleVersion
from tests.program import ROOT
from tests.unit.cni.engine import FakeEngine, ask


def test_version_is_one_fixed_line() -> None:
    """As the reference's library prints it: compact, all versions, a newline."""
    assert versions.answer() == (
        '{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n'
    )


def test_version_reads_no_stdin() -> None:
    """VERSION answers while stdin stays open, and without any other variable."""

    def read() -> bytes:
        raise AssertionError("stdin was read")

    reply = handle({"CNI_COMMAND": "VERSION"}, read, FakeEngine)
    assert (reply.code, json.loads(reply.out)["cniVersion"]) == (0, "1.1.0")


@pytest.mark.parametrize("version", versions.SUPPORTED)
@pytest.mark.parametrize(
    ("verb", "since"),
    [("ADD", "0.1.0"), ("DEL", "0.1.0"), ("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")],
)
def test_verbs_by_version(verb: str, since: str, version: str) -> None:
    """CHECK exists since 0.4.0, GC and STATUS since 1.1.0, the others always."""
    if versions.SUPPORTED.index(version) >= versions.SUPPORTED.index(since):
        versions.require(verb, version)
        return
    with pytest.raises(IncompatibleVersion, match=f"config version does not allow {verb}"):
        versions.require(verb, version)


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_unknown_version_is_code_1_for_every_verb(verb: str) -> None:
    """A version none of ours means a protocol that is not understood: nothing is done, not even by DEL."""
    answer = ask(verb, {"cniVersion": "2.0.0"})
    assert (answer.code, answer.engine.calls) == (1, [])
    assert answer.json["msg"].startswith("incompatible CNI versions")


def test_absent_version_is_the_first() -> None:
    """Without cniVersion the configuration is of 0.1.0, and so is its result."""
    assert ask(conf={"cniVersion": None}).json["cniVersion"] == "0.1.0"
    assert ask(conf={"cniVersion": ""}).json["cniVersion"] == "0.1.0"


@pytest.mark.parametrize("module", ["cni_cnm.cni.plugin", "cni_cnm.cni.result", "cni_cnm.cni.names.loopback"])
def test_imports_stay_small(module: str) -> None:
    """Every pod pays for imports: the frontend loads nothing that is banned on the way of a pod."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    banned = {"dataclasses", "logging", "hashlib", "pathlib", "subprocess", "netaddr", "asyncio", "pyroute2"}
    assert not banned & set(loaded.stdout.split())
    assert "cni_cnm.wiring" not in loaded.stdout.split()


def test_version_imports_nothing() -> None:
    """VERSION needs one module of ours and its packages."""
    program = (
        f"import sys; before = set(sys.modules); sys.path.insert(0, {str(ROOT)!r});"
        "import cni_cnm.cni.versions;"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["__future__", "cni_cnm", "cni_cnm.cni", "cni_cnm.cni.versions"]
