"""Which executable is the original, and what becomes of its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.errors import IoFailed
from cni_cnm.model import EndpointKey
from cni_cnm.reference import host_rules, names
from cni_cnm.reference.host_rules import FoundRule, HostRules
from tests.unit.cni.engine import FakeEngine, ask

SAYS = """#!/bin/sh
echo "$CNI_COMMAND $CNI_NETNS $CNI_CNM_ORIGINAL" >> {log}
cat >> {log}
echo >> {log}
{end}
"""


class Host:
    """A folder of ours, and one of the originals behind it."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.theirs, self.log = folder / "ours", folder / "theirs", folder / "log"
        self.ours.mkdir()
        self.theirs.mkdir()
        self.program = folder / "relay"
        self.program.write_text("CNICNM1")
        self.program.chmod(0o755)
        (self.ours / "portmap").symlink_to(self.program)

    def put(self, path: Path, end: str = "") -> None:
        path.write_text(SAYS.format(log=self.log, end=end))
        path.chmod(0o755)

    def ask(self, verb: str, *, hosts: int = 1, **env: str) -> Any:
        path = {"CNI_PATH": f"{self.ours}:{self.theirs}", "CNI_NETNS": "/run/netns/c1", **env}
        conf = {"type": "portmap", "prevResult": {"cniVersion": "1.0.0"}}
        ports = {"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}] * hosts}
        return ask(verb, {**conf, "runtimeConfig": ports}, path, FakeEngine(), str(self.ours / "portmap"))

    def said(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_there_is_none(host: Host) -> None:
    """A link to this program is none, nor is a copy of the relay, nor a file that cannot be executed."""
    (host.theirs / "portmap").write_bytes(host.program.read_bytes())
    (host.theirs / "portmap").chmod(0o755)
    (host.ours / "portmap.distrib").write_text("#!/bin/sh\n")
    assert host.ask("DEL").code == 0
    assert host.ask("CHECK").code == 999
    assert host.said() == []


@pytest.mark.parametrize("place", ["theirs/portmap", "ours/portmap.distrib", "theirs/portmap.distrib"])
def test_it_is_run_with_the_same_call(host: Host, place: str) -> None:
    host.put(host.ours.parent / place)
    assert (host.ask("DEL").code, host.ask("CHECK").code) == (0, 0)
    said = host.said()
    assert said[0] == "DEL /run/netns/c1 1"
    assert said[2] == "CHECK /run/netns/c1 1"
    assert [json.loads(said[index])["type"] for index in (1, 3)] == ["portmap"] * 2


def test_add_never_runs_it(host: Host) -> None:
    host.put(host.theirs / "portmap")
    host.ask("ADD")
    assert host.said() == []


def test_a_del_that_has_nothing_to_do_does_not_run_it(host: Host) -> None:
    """Of portmap without ports: each would take 100 ms."""
    host.put(host.theirs / "portmap")
    assert host.ask("DEL", hosts=0).code == 0
    assert host.said() == []


def test_it_runs_no_further_one(host: Host) -> None:
    host.put(host.theirs / "portmap")
    assert host.ask("DEL", CNI_CNM_ORIGINAL="1").code == 0
    assert host.said() == []


def test_a_namespace_that_is_gone_is_left_out(host: Host) -> None:
    """The originals fail on a path that is something else."""
    host.put(host.theirs / "portmap")
    assert host.ask("DEL", CNI_NETNS="/run/netns/gone").code == 0
    assert host.said()[0] == "DEL  1"


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], tuple[FoundRule, ...]]:
    """The chains of the host's packet filter, in the place of the real ones."""
    chains: dict[tuple[str, str], tuple[FoundRule, ...]] = {}
    monkeypatch.setattr(host_rules, "read", lambda: HostRules(chains))
    return chains


@pytest.mark.parametrize("end", ["""echo '{"code": 999, "msg": "no"}'; exit 1""", "exit 3"])
def test_a_failure_of_a_del_that_has_left_nothing(host: Host, rules: Any, end: str) -> None:
    """A warning: it is the second DEL, and would fail for ever."""
    host.put(host.theirs / "portmap", end)
    answer = host.ask("DEL")
    assert answer.code == 0
    assert "portmap failed on DEL: no" in answer.reply.err or "ended DEL with exit code 3" in answer.reply.err


@pytest.mark.parametrize(("code", "expected"), [(999, 999), (11, 11), (7, 0), (1, 0)])
def test_its_error_is_the_answer_if_something_is_left(host: Host, rules: Any, code: int, expected: int) -> None:
    """Unless it refuses the call as such: nothing was made with that."""
    chain = names.ports_chain(EndpointKey("podnet", "c1", "eth0"))
    rules["iptables nat", chain] = ()
    host.put(host.theirs / "portmap", f"""echo '{{"code": {code}, "msg": "no"}}'; exit 1""")
    answer = host.ask("DEL")
    assert answer.code == expected
    if expected:
        assert "failed on DEL: no" in answer.json["msg"]
        assert f"the chain {chain} of iptables" in answer.json["msg"]
    else:
        assert "failed on DEL: no" in answer.reply.err


def test_the_rules_of_the_host_cannot_be_read(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> HostRules:
        raise IoFailed("iptables-save failed")

    monkeypatch.setattr(host_rules, "read", refused)
    host.put(host.theirs / "portmap", "exit 3")
    answer = host.ask("DEL")
    assert answer.code == 0
    assert "what portmap has left is not known: iptables-save failed" in answer.reply.err


def test_a_failure_of_a_check_is_the_answer(host: Host) -> None:
    host.put(host.theirs / "portmap", "exit 3")
    assert "ended CHECK with exit code 3" in host.ask("CHECK").json["msg"]
