"""What drawings and lists of files name: files on a host, files of this repository, functions of the package."""

from __future__ import annotations

import re
from functools import cache
from itertools import takewhile

from tests.program import ROOT

_PLACEHOLDER = re.compile(r"[A-Z]{2,}|\bN\b|\*")
"""In a part of a path that stands for many."""
_OF_THE_REPOSITORY = re.compile(r"(?<![\w./-])(?:\w+/)+\w+\.\w+\b|(?<![\w./-])(?:\w+/)+(?=\s|$)")
_ON_A_HOST = re.compile(r"(?:^|, )(/[^\s,]+)", re.MULTILINE)


@cache
def _sources() -> str:
    """All that makes or names files on a host."""
    files = [*(ROOT / "cni_cnm").rglob("*.py"), *(ROOT / "scripts").iterdir(), *(ROOT / "conf").rglob("*.*")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.is_file())


@cache
def _functions() -> frozenset[str]:
    return frozenset(re.findall(r"^\s*(?:def|class) (\w+)", _sources(), re.MULTILINE))


def missing(text: str) -> list[str]:
    """The names in the text that nothing has. Files on a host begin with `/`, functions end with `()`."""
    folders = [ROOT / under for under in ("", "cni_cnm", "tests")]
    lost = [name for name in _OF_THE_REPOSITORY.findall(text) if not any((f / name).exists() for f in folders)]
    for path in _ON_A_HOST.findall(text):
        parts = takewhile(lambda part: not _PLACEHOLDER.search(part), path.strip("/").split("/"))
        if not all(re.search(rf"(?<![\w-]){re.escape(part)}(?![\w-])", _sources()) for part in parts):
            lost.append(path)
    lost += [f"{name}()" for name in re.findall(r"\b(\w+)\(\)", text) if name not in _functions()]
    return lost
