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
