"""Arguments of `cni-cnm serve` that do not go together."""

from __future__ import annotations

import pytest

from cni_cnm.cli import run_command


@pytest.mark.parametrize("docker", [["--docker"], ["--docker-socket", "/run/other.sock"]])
def test_a_service_that_lingers_is_no_docker_plugin(docker: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It would end after a minute without calls of pods."""
    assert run_command(["cni-cnm", "serve", "--linger", "5", "--socket", "/nowhere/service.sock", *docker]) == 1
    assert capsys.readouterr().err == (
        "cni-cnm: a service with --linger ends by itself, so it takes no --docker and no --docker-socket\n"
    )


@pytest.mark.parametrize("words", [("--workers", "0"), ("--workers", "65"), ("--workers", "x"), ("--linger", "-1")])
def test_a_wrong_number(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    largest = 64 if words[0] == "--workers" else 3600
    assert run_command(["cni-cnm", "serve", "=".join(words)]) == 2
    assert f"argument {words[0]}: '{words[1]}' is no whole number from 1 to {largest}\n" in capsys.readouterr().err
