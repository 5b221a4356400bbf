"""The pages of the documentation, and what stands on them: code blocks, tables, sentences.

How a block is checked follows from its language (tests/docs/test_blocks.py). A comment right above it may say more:

    <!-- host: NAME -->             commands: run on the host of that name (tests/docs/hosts.py)
    <!-- run by: tests/….py -->     another test runs these commands
    <!-- not run: REASON -->        it cannot be run, and why
    <!-- output: … -->              text that the Python program of the page prints
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.program import ROOT

PAGES = tuple(
    path
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        ROOT / "SECURITY.md",
        ROOT / "conf" / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    )
    if path.exists()
)
_FENCED = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]+?) -->\n+)?^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE
)


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str
    mark: str
    """The comment above it, without its dashes; "" if there is none."""

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def marked(self, kind: str) -> str:
        """What the mark says if it is of this kind (`host`, `run by`, `not run`), else ""."""
        name, _, value = self.mark.partition(": ")
        return value if name == kind else ""


def blocks(*languages: str) -> list[Block]:
    """All code blocks, or those of some languages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCED.finditer(text):
            line = text[: match.start("language")].count("\n") + 1
            block = Block(page, line, match["language"], match["text"], match["mark"] or "")
            if not languages or block.language in languages:
                found.append(block)
    return found


def prose(text: str) -> str:
    """The text without code blocks and comments, with inline code and links as words."""
    text = _FENCED.sub("\n\n", text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^(?: {4}|\t)(?! *[*\-\d:]).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]+`", "CODE", text)
    return re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)


def sentences(text: str) -> Iterator[str]:
    """Each sentence of a page; an item of a list, a heading and the cell of a table end one."""
    for paragraph in re.split(r"\n\s*\n|\n(?= *(?:[*\-] |\d+\. |: |#|\|))", prose(text)):
        for cell in re.split(r"(?<!\\)\|", paragraph) if paragraph.lstrip().startswith("|") else (paragraph,):
            flat = " ".join(cell.split()).lstrip("#*-: ")
            yield from (part for part in re.split(r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.!?])[)\"*_]*\s+", flat) if part)


def words(sentence: str) -> int:
    return len(re.findall(r"[\w'./-]*\w[\w'./-]*", sentence))
