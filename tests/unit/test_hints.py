"""What hints name exists: commands of ours and of the host, options, keys, variables, folders of the documentation.

tests/system/test_hints.py follows the ones that an operator meets first.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from cni_cnm import cli
from tests.program import ROOT

PACKAGE = ROOT / "cni_cnm"
PAGES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
PROGRAMS = {
    "kubectl",
    "kubelet",
    "kubeadm",
    "kube-controller-manager",
    "ls",
    "rm",
    "docker",
    "podman",
    "ss",
    "ip",
    "fuser",
    "findmnt",
    "df",
    "free",
    "dmesg",
    "sysctl",
    "systemctl",
    "ulimit",
    "vlan_filtering",
}
"""Commands of the host that hints name, and an argument of `ip link`."""
DOCKER = {"--subnet", "--gateway", "--internal", "--ipam-driver", "--ipam-opt", "--ipv6", "-d", "-o"}
"""Options of `docker network create` (docs.docker.com, CLI reference) that hints name."""


class Hint(NamedTuple):
    where: str
    text: str


def text_of(node: ast.expr) -> str:
    """A text of the source, with X where a value is filled in; "" if it is not written there."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "X"
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} {text_of(node.orelse)}"
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return ""


def constants_of(tree: ast.Module) -> dict[str, list[str]]:
    """The texts of each constant of a module: one, or the values of a table."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values = node.value.values if isinstance(node.value, ast.Dict) else [node.value]
            found[node.targets[0].id] = [text_of(value) for value in values]
    return found


def hints() -> Iterator[Hint]:
    """Every `hint=` and `hint = ` of the package, where it is written in place or as a constant of the module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = constants_of(tree)
        for node in ast.walk(tree):
            given = isinstance(node, ast.keyword) and node.arg == "hint"
            kept = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "hint"
            if not given and not kept:
                continue
            assert isinstance(node, ast.keyword | ast.Assign)
            value = node.value
            names = [inner.id for inner in ast.walk(value) if isinstance(inner, ast.Name)]
            texts = [text_of(value), *(text for name in names for text in constants.get(name, ()))]
            yield from (Hint(f"{path.relative_to(ROOT)}:{value.lineno}", text) for text in texts if text)


HINTS = list(hints())


def options_of_ours() -> set[str]:
    """Every option of the command line."""
    found: set[str] = set()
    waiting = [cli._parser()]
    while waiting:
        for action in waiting.pop()._actions:
            found.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                waiting.extend(action.choices.values())
    return found


def test_hints_are_found() -> None:
    """More than a hundred, with filled-in values and constants among them."""
    assert len(HINTS) > 100
    for part in ("allowOverlap", "LimitNOFILE", "is mounted read-only here", "set mtu to"):
        assert any(part in hint.text for hint in HINTS), part


@pytest.mark.parametrize("hint", HINTS, ids=lambda hint: hint.where)
def test_a_hint_is_one_short_sentence(hint: Hint) -> None:
    """It stands in parentheses behind the error: no capital of a sentence, no full stop, at most 30 words."""
    assert not hint.text.endswith("."), hint
    assert len(hint.text.split()) <= 30, hint


@pytest.mark.parametrize(
    "hint", [hint for hint in HINTS if "`" in hint.text or "cni-cnm " in hint.text], ids=lambda hint: hint.where
)
def test_commands_exist(hint: Hint) -> None:
    """What is set as code is a command of ours that the parser takes, or one of a host."""
    for command in re.findall(r"`([^`]+)`", hint.text):
        words = command.split()
        if words[0] != "cni-cnm":
            assert words[0] in PROGRAMS, (hint, command)
            continue
        parsed = cli._parser().parse_args(words[1:])
        assert hasattr(parsed, "verb"), (hint, command)


@pytest.mark.parametrize(
    "hint", [h for h in HINTS if re.search(r"(?<!\w)--?[a-z]", h.text)], ids=lambda hint: hint.where
)
def test_options_exist(hint: Hint) -> None:
    """Options are those of `cni-cnm`, of `docker network create`, or of a command in backquotes."""
    outside = re.sub(r"`[^`]*`", "", hint.text)
    for option in re.findall(r"(?<![\w-])(--?[a-z][a-z0-9-]*)", outside):
        assert option in options_of_ours() | DOCKER, (hint, option)


def test_keys_variables_and_settings_are_documented() -> None:
    """Keys in quotes, camelCase words, CNI's variables and settings are on a page of the documentation."""
    missing = []
    for hint in HINTS:
        text = re.sub(r"`[^`]*`", "", hint.text)
        named = re.findall(r'"([a-zA-Z]+)":', text)
        named += re.findall(r"\b[a-z]+(?:[A-Z][a-z]+)+\b", text)
        named += re.findall(r"\b(?:CNI|CNI_CNM)_[A-Z_]+\b", text)
        named += re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text)
        missing += [(hint.where, name) for name in named if name not in PAGES]
    assert missing == []


def test_pages_exist() -> None:
    """A page that a hint names is there."""
    pages = {page for hint in HINTS for page in re.findall(r"docs/\S+\.md", hint.text)}
    assert [page for page in pages if not (ROOT / page).exists()] == []
