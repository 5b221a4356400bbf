"""Every example of `--help` is a command that the parser takes, and stands at a noun or verb that exists."""

from __future__ import annotations

import shlex

import pytest

from cni_cnm import cli
from cni_cnm.cli.examples import EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES)
def test_help_shows_them(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command on a line of its own, unbroken, below the options."""
    assert cli.run_command(["cni-cnm", *path.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: cni-cnm {path}".rstrip())
    lines = shown.partition("\nexamples:\n")[2].splitlines()
    assert [line.strip() for line in lines if line.startswith("      cni-cnm ")] == [
        f"cni-cnm {command}" for _, command in EXAMPLES[path]
    ]


@pytest.mark.parametrize("command", [command for found in EXAMPLES.values() for _, command in found])
def test_the_parser_takes_them(command: str) -> None:
    arguments, unknown = cli._parser().parse_known_args(shlex.split(command))
    assert unknown == []
    assert callable(arguments.verb)
