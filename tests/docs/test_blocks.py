"""Every code block of the documentation is checked, by its language. One that cannot be checked says why.

json           a network configuration: read without a warning, and attached, checked and detached
toml           a settings file
python         run: the blocks of one page, in their order, are one program
console, sh    run, on one of the hosts of tests/docs/hosts.py; what the page shows as output must come
nft            the ruleset that the code makes (tests/docs/test_firewall.py)
pyi            a signature, made from the code (tests/docs/test_api_page.py)
text, none     a drawing or a list of files: the files, modules and functions it names exist
"""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cni_cnm import cli
from cni_cnm import settings as settings_module
from tests.docs import configurations, drawings
from tests.docs.hosts import Host, host
from tests.docs.pages import Block, blocks
from tests.program import ROOT

COMMANDS = ("console", "sh")
LANGUAGES = ("json", "toml", "python", *COMMANDS, "nft", "pyi", "text", "")
MARKS = ("host", "run by", "not run", "output")
NONE_FOUND = ("fuser", "grep")
"""They end with 1 where they find nothing."""


def cases(*languages: str) -> list[object]:
    return [pytest.param(block, id=block.where) for block in blocks(*languages)]


def test_every_block_has_a_way_to_be_checked() -> None:
    """Its language is one of those above, and its mark is known."""
    for block in blocks():
        assert block.language in LANGUAGES, f"{block.where}: nothing checks blocks of {block.language}"
        assert not block.mark or block.mark.partition(": ")[0] in MARKS, f"{block.where}: {block.mark}"


@pytest.mark.parametrize("block", cases("json"))
def test_configurations(block: Block, tmp_path: Path) -> None:
    """A configuration is accepted without a warning, and a container is attached by it and detached."""
    configurations.attached(block.text, tmp_path)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf").glob("cni-*/*.conflist")), ids=lambda p: p.parent.name + "/" + p.name
)
def test_shipped_configurations(path: Path, tmp_path: Path) -> None:
    """The same for the examples in conf/. Each is called as its network, and has the version of its folder."""
    text = path.read_text(encoding="utf-8")
    assert f'"name": "{path.stem}"' in text
    assert f'"cniVersion": "{path.parent.name.removeprefix("cni-")}"' in text
    configurations.attached(text, tmp_path)


@pytest.mark.parametrize("block", cases("toml"))
def test_settings(block: Block, tmp_path: Path) -> None:
    """A settings file is read without an error, and each of its keys is one."""
    path = tmp_path / "config.toml"
    path.write_text(block.text, encoding="utf-8")
    assert set(tomllib.loads(block.text)) <= set(settings_module.load(str(path))._fields)


@pytest.mark.parametrize("page", sorted({block.page for block in blocks("python")}), ids=lambda p: p.name)
def test_programs(page: Path, require_root: None) -> None:
    """The Python blocks of a page are one program, which ends without an error and leaves nothing."""
    program = "\n".join(block.text for block in blocks("python") if block.page == page)
    with host("empty") as made:
        start = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        done = made.node.run(sys.executable, "-I", "-c", start + program).ok()
        for shown in (block for block in blocks("text") if block.page == page and block.marked("output")):
            assert shown.text in done.out
        assert made.node.links() == {"lo"}
        assert made.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni-cnm/networks") == set()


@pytest.mark.parametrize("block", cases("text", ""))
def test_drawings(block: Block) -> None:
    """Every file, module and function that a drawing names exists. Output of programs is for `test_programs`."""
    if block.marked("output"):
        return
    assert drawings.missing(block.text) == []


# commands ------------------------------------------------------------------


@pytest.fixture(scope="module")
def hosts() -> Iterator[Callable[[Block], Host]]:
    """The host of a block. The blocks of a page on the same host share it, in their order."""
    with ExitStack() as ends:
        made: dict[tuple[Path, str], Host] = {}

        def get(block: Block) -> Host:
            key = block.page, block.marked("host") or "pods"
            if key not in made:
                made[key] = ends.enter_context(host(key[1]))
            return made[key]

        yield get


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """Each command of a block, with the lines of output that follow it. Console blocks have a prompt."""
    text = block.text.replace("\\\n", "\\\0")
    if block.language == "sh":
        return [(line.replace("\\\0", "\\\n"), []) for line in text.splitlines() if line.strip()]
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("# "):
            found.append((line[2:].replace("\\\0", "\\\n"), []))
        else:
            assert found, f"{block.where}: output before the first command"
            found[-1][1].append(line)
    return found


def programs(command: str) -> list[list[str]]:
    """The words of each simple command in a line, without comments, assignments and redirections."""
    simple: list[list[str]] = [[]]
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.commenters = "#"
    lexer.whitespace_split = True
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            simple.append([])
        elif simple[-1] or (not re.match(r"\w+=", word) and word != "sudo"):
            simple[-1].append(word)
    return [words for words in simple if words]


@pytest.mark.parametrize("block", cases(*COMMANDS))
def test_commands_are_those_of_the_program(block: Block) -> None:
    """Without running anything: `cni-cnm …` has the verbs and options shown, `scripts/…` exist and explain theirs."""
    for command, _ in commands(block):
        for name, *words in programs(command):
            if name == "cni-cnm" and words:
                cli._parser().parse_args(words)
            if name.startswith("scripts/"):
                explained = (ROOT / name).read_text(encoding="utf-8").partition("\nset -")[0]
                assert all(word in explained for word in words if word.startswith("-")), command
            if name == "systemctl":
                units = [word for word in words if word.startswith("cni-cnm")]
                assert units
                assert all((ROOT / "conf" / unit).exists() for unit in units), command


@pytest.mark.parametrize("block", cases(*COMMANDS))
def test_commands(block: Block, request: pytest.FixtureRequest) -> None:
    """Each command ends without an error, and what the page shows is among its output, in that order.

    `…` stands for anything, and so does a duration. An error that a comment quotes is allowed.
    """
    if block.marked("not run"):
        return
    if elsewhere := block.marked("run by"):
        text = (ROOT / elsewhere).read_text(encoding="utf-8")
        named = {Path(words[0]).name for command, _ in commands(block) for words in programs(command)}
        assert [name for name in named if not re.search(rf"\b{name}\b", text)] == []
        return
    request.getfixturevalue("require_root")
    where: Host = request.getfixturevalue("hosts")(block)
    shown = commands(block)
    script = (f'{command}\ncode=$?; echo; echo "=== $code"{_pause(command)}' for command, _ in shown)
    done = where.shell("\n".join(script))
    parts = re.split(r"^=== (\d+)\n", done.out, flags=re.MULTILINE)
    outputs, codes = parts[0:-1:2], parts[1::2]
    assert len(codes) == len(shown), done.out
    for (command, expected), output, code in zip(shown, outputs, codes, strict=True):
        allowed = re.findall(r'# .*"(.+)"', command)
        if code != "0" and not any(text in output for text in allowed):
            assert (code, command.split()[0] in NONE_FOUND or "grep" in command) == ("1", True), f"{command}\n{output}"
        for line in expected:
            assert re.search(_pattern(line), output, re.MULTILINE), f"{command}\nshown: {line}\ncame:  {output}"


def _pattern(line: str) -> str:
    """What a shown line of output matches."""
    fixed = ".*".join(re.escape(part) for part in re.sub(r"[\d.]+ ms", "… ms", line.rstrip()).split("…"))
    return f"^{fixed} *$"


def _pause(command: str) -> str:
    """After a command in the background: until the socket it makes is there."""
    if not command.endswith("&"):
        return ""
    socket = "/run/docker/plugins/cni-cnm.sock" if "--docker" in command else "/run/cni-cnm/service.sock"
    return f"; for _ in $(seq 200); do [ -S {socket} ] && break; sleep 0.1; done"
