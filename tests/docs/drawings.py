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


def missing(text: str) -> list[str]:
    """The names in the text that nothing has. Files on a host begin with `/`.

    A function ends with `()`, and is in the file that its line names, or the last line before that names one.
    """
    folders = [ROOT / under for under in ("", "cni_cnm", "tests")]
    lost = [name for name in _OF_THE_REPOSITORY.findall(text) if not any((f / name).exists() for f in folders)]
    for path in _ON_A_HOST.findall(text):
        parts = takewhile(lambda part: not _PLACEHOLDER.search(part), path.strip("/").split("/"))
        if not all(re.search(rf"(?<![\w-]){re.escape(part)}(?![\w-])", _sources()) for part in parts):
            lost.append(path)
    source = ""
    for line in text.splitlines():
        for path in re.findall(r"(?<![\w./-])(?:\w+/)+\w+\.py\b", line):
            source = next(((f / path).read_text(encoding="utf-8") for f in folders if (f / path).exists()), "")
        lost += [
            f"{name}()"
            for name in re.findall(r"\b(\w+)\(\)", line)
            if not re.search(rf"\b(def|class) {name}\b", source)
        ]
    return lost
