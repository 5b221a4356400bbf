"""The documentation, docstrings, comments and messages are in plain words."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, prose, sentences, words
from tests.program import ROOT

WORDS_MAX = 35
BANNED = {
    r"anybody|everybody|nobody|somebody|whoever|someone": "name who it is: the runtime, another program, an endpoint",
    r"guests?|lodg\w+": "Docker network, Docker endpoint",
    r"ways? out|way in|ways in(?! which)": "default gateway, default route, outside",
    r"doors?": "frontend",
    r"rooms": "packages, folders",
    r"glances?|glanced": "look, check",
    r"given up|given back|gives? back|giving back": "released, removed",
    r"(?:missing|gone|there) (?:is|means) (?:done|success)": "no error if absent",
    r"in one breath|in a breath": "in one call",
    r"sayable|unsayable|unsaid": "that the version has a field for",
    r"wish(?:es)?|wished": "request",
    r"born": "made",
    r"complain\w*": "refuse",
    r"dismiss\w*": "leave",
    r"reapers?": "link deleter",
    r"mended|mends?|mending": "repair, put back",
    r"by night|at night|3 a\.m\.": "leave it out",
    r"affairs?": "leave it out",
    r"riddles?": "leave it out",
    r"breath": "leave it out",
}
"""A pattern of whole words, and what to say instead."""
FOLDERS = ("docs", "conf", "scripts", "build", "tests", "cni_cnm")
_PATTERNS = {re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE): instead for pattern, instead in BANNED.items()}


def banned(text: str) -> list[str]:
    """The words of the list in it, without what is set as code: names on disk keep theirs."""
    text = re.sub(r"`[^`]*`", "", text)
    found = ((match[0], instead) for pattern, instead in _PATTERNS.items() for match in pattern.finditer(text))
    return [f"{word!r}: say {instead}" for word, instead in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_are_short(page: Path) -> None:
    """No sentence of a page has more than WORDS_MAX words."""
    text = page.read_text(encoding="utf-8")
    assert [f"{words(one)}: {one}" for one in sentences(text) if words(one) > WORDS_MAX] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_use_the_words_of_the_field(page: Path) -> None:
    """A page has none of the words that only this project would understand."""
    assert banned(prose(page.read_text(encoding="utf-8"))) == []


def docstrings(path: Path) -> Iterator[str]:
    """Those of a module, without the lines of tables and drawings in them: indented, or with columns."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield "\n".join(
                "" if re.match(r" {4}", line) or re.search(r"\S {2,}\S", line) else line for line in text.splitlines()
            )


@pytest.mark.parametrize("folder", ["build", "tests", "cni_cnm"])
def test_docstrings_are_short(folder: str) -> None:
    """No sentence of a docstring has more than WORDS_MAX words."""
    found = [
        f"{path.relative_to(ROOT)}: {words(one)}: {one}"
        for path in files(folder)
        if path.suffix == ".py"
        for text in docstrings(path)
        for one in sentences(text)
        if words(one) > WORDS_MAX
    ]
    assert found == []


def files(folder: str) -> list[Path]:
    found = sorted(path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [
        path
        for path in found
        if path.suffix not in (".svg", ".md", ".json", ".typed", ".bin") and path != Path(__file__)
    ]


def texts(path: Path) -> Iterator[str]:
    """Comments, docstrings and messages of a source; strings without a blank are names and keys."""
    if path.suffix != ".py":
        yield from re.findall(r"#.*|^ \*.*", path.read_text(encoding="utf-8"), re.MULTILINE)
        return
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
                yield token.string


@pytest.mark.parametrize("folder", FOLDERS)
def test_sources_use_the_words_of_the_field(folder: str) -> None:
    """Neither has a comment, a docstring or a message."""
    found = {
        f"{path.relative_to(ROOT)}: {each}" for path in files(folder) for text in texts(path) for each in banned(text)
    }
    assert sorted(found) == []
