"""What bash and zsh complete. The program is a script that lists names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.program import ROOT

PROGRAM = """\
#!/bin/sh
case "$1 $2" in
"network ls") printf 'podnet\\nsecond\\n' ;;
"endpoint ls") printf '0a1b2c3d4e5f web/front-0\\n' ;;
"node ls") printf 'node1\\n' ;;
*) exit 2 ;;
esac
"""
BASH = """\
. "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_cni_cnm
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """\
compadd() { shift "${@[(i)--]}"; print -l -- "$@" }
_files() { print -l -- ${words[CURRENT]}* }
_command_names() { print -l -- ${${(k)commands}[(r)${words[CURRENT]}*]} }
file=$1
shift
words=("$@")
CURRENT=$#
. $file
"""
"""zsh has these functions while it completes."""
SHELLS = {"bash": ["bash", "-uc", BASH, "bash"], "zsh": ["zsh", "-fuc", ZSH, "zsh"]}
ENDPOINTS = "0a1b2c3d4e5f web/front-0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        command = [sys.executable, str(ROOT / "build" / "completions.py"), shell]
        script = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
        (made / f"completion.{shell}").write_bytes(script.stdout)
    (made / "cni-cnm").write_text(PROGRAM)
    (made / "cni-cnm").chmod(0o755)
    (made / "a.conflist").touch()
    return made


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("net", "network"),
        ("network pr", "prune"),
        ("network inspect |", "podnet second"),
        ("network inspect podnet |", "podnet second"),
        ("network inspect s", "second"),
        ("network connect podnet |", ENDPOINTS),
        ("network connect podnet web/front-0 |", "-h --help --ip --mac --ifname -p --publish"),
        ("network connect --ip 10.1.2.3 |", "podnet second"),
        ("network create --driver nul", "null"),
        ("network create --driver |", "bridge chained host host-device ipvlan macvlan null overlay ptp"),
        ("network create --driver null new --int", "--internal"),
        ("endpoint ls --network |", "podnet second"),
        ("endpoint ls --filter own", "owner="),
        ("endpoint rm web", "web/front-0"),
        ("sandbox inspect |", ENDPOINTS),
        ("node inspect |", "node1"),
        ("ipam show pod", "podnet"),
        ("exec |", ENDPOINTS),
        ("exec web/front-0 -- busybo", "busybox"),
        ("serve --socket a.con", "a.conflist"),
        ("conf check a.", "a.conflist"),
        ("port ls --no", "--no-trunc"),
        ("nosuch |", ""),
        ("port ls --filter port = 8", ""),
        ("explain --to 10.1.2.3 web", "web/front-0"),
    ],
)
def test_offered(folder: Path, typed: str, offered: str, shell: str) -> None:
    """`|` stands for a word that is not begun."""
    words = [word.replace("|", "") for word in typed.split()]
    done = subprocess.run(
        [*SHELLS[shell], folder / f"completion.{shell}", str(folder / "cni-cnm"), *words],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert list(dict.fromkeys(done.stdout.split())) == offered.split()
