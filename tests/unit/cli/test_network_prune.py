"""`network prune` removes what nothing uses, after it was asked."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from cni_cnm.conflists import folder
from cni_cnm.model import NetworkSpec
from tests.unit.cli.hosts import CommandLine
from tests.unit.conflists.files import put


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    made = CommandLine(tmp_path, monkeypatch, capfd)
    for name in ("red", "blue"):
        made.pods.controller.new_network(name, driver="null", labels={"color": name})
    made.pods.add("c1", network=NetworkSpec("used", "null"))
    return made


def names(line: CommandLine) -> list[str]:
    return [network.name for network in line.pods.controller.networks()]


def test_a_dry_run(line: CommandLine) -> None:
    assert line.out("network prune --dry-run") == "blue\nred\n"
    assert line.out("network prune --dry-run --filter label=color=red") == "red\n"
    assert line.out("network prune --dry-run --filter driver=bridge") == ""
    assert names(line) == ["blue", "red", "used"]


def test_without_a_terminal(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, out, err = line.run("network", "prune")
    assert (code, out, "(--yes removes them without asking)" in err) == (1, "", True)
    assert names(line) == ["blue", "red", "used"]
    assert line.out("network prune --yes --filter label=color=red") == "red\n"
    assert line.out("network prune -y") == "blue\n"
    assert line.out("network prune") == ""
    assert names(line) == ["used"]


@pytest.mark.parametrize(
    ("answer", "left"), [("y\n", ["used"]), ("\n", ["blue", "red", "used"]), ("", ["blue", "red", "used"])]
)
def test_the_question(line: CommandLine, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    code, _, err = line.run("network", "prune")
    assert "These 2 networks have no endpoints: blue, red" in err
    assert (names(line), code) == (left, int(left != ["used"]))


def test_a_container_that_joins_meanwhile(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its network is kept, and named."""

    class Late(Terminal):
        def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
            line.pods.add("c2", network=line.pods.controller.network("blue").spec)
            return "y\n"

    monkeypatch.setattr(sys, "stdin", Late())
    code, out, err = line.run("network", "prune")
    assert (code, out) == (0, "red\n")
    assert "kept: the network blue has 1 endpoint: blue/c2/" in err


@pytest.mark.parametrize("command", ["network rm red", "network prune --yes --filter label=color=red"])
def test_a_file_that_is_left(line: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str) -> None:
    """The file is the administrator's. It is named, because it makes the network again."""
    monkeypatch.setattr(folder, "FOLDER", str(tmp_path))
    path = put(tmp_path, "10-red.conflist", "red")
    put(tmp_path, "20-blue.conflist", "blue")
    code, out, err = line.run(*command.split())
    said = f"cni-cnm: {path} still configures the network red, and the next container makes it again\n"
    assert (code, out, err) == (0, "red\n", said)
