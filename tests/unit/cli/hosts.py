"""The command line on a host in memory: what a verb prints, and its exit code."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest

from cni_cnm import cli
from tests.unit.find.pods import Pods

MODULES = ("endpoint", "ipam", "network", "network_edit", "network_inspect", "network_prune", "port", "sandbox")
"""Modules of the command line that open the host."""


class CommandLine:
    """`run` is a command as it is typed, without the program's name."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.pods = Pods(folder)
        self._capfd = capfd
        for name in MODULES:
            monkeypatch.setattr(import_module(f"cni_cnm.cli.{name}"), "open_controller", lambda: self.pods.controller)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        self._capfd.readouterr()
        code = cli.run_command(["cni-cnm", *words])
        shown = self._capfd.readouterr()
        return code, shown.out, shown.err

    def out(self, command: str) -> str:
        """What a command that succeeds prints."""
        code, out, err = self.run(*command.split())
        assert (code, err) == (0, ""), err
        return out.replace(os.path.dirname(self.pods.host.settings.run_dir), "/FOLDER")
