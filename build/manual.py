"""The manual page as man(7) reads it, from docs/cni-cnm.8.md: python build/manual.py VERSION <PAGE.md >PAGE.8

Reads what that page uses: a title line, headings, paragraphs, definitions (`term`, then `: text`; a nested one is
indented by two), code blocks, **bold**, _italic_, `code` and links, of which the text stays.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

BOLD, ITALIC, ROMAN = "\x01", "\x02", "\x03"


def page(markdown: str, version: str) -> str:
    """The page; `version` stands at its foot."""
    title, _, text = markdown.partition("\n")
    name, section = title.removeprefix("% ").split()
    header = f'.TH "{name.upper()}" "{section}" "" "{name} {version}" "System Administration"'
    return "\n".join((header, *_body(text))) + "\n"


def _body(text: str) -> Iterator[str]:
    """The requests of all paragraphs, in their order."""
    nested = False
    for paragraph in re.split(r"\n{2,}(?=\S|  )", _protected(text.strip())):
        inner = paragraph.startswith("  ")
        if inner != nested:
            yield ".RS" if inner else ".RE"
            nested = inner
        yield from _paragraph([line.strip() for line in paragraph.split("\n")])
    if nested:
        yield ".RE"


def _paragraph(lines: list[str]) -> Iterator[str]:
    first = lines[0]
    if first.startswith("# "):
        yield f".SH {_inline(first.removeprefix('# '))}"
    elif first.startswith("```"):
        yield from (".PP", ".RS 4", ".nf")
        yield from (_inline(line.replace("\0", "\n"), plain=True) for line in lines[1:-1])
        yield from (".fi", ".RE")
    elif len(lines) > 1 and lines[1].startswith(": "):
        yield from (".TP", _inline(first), _inline(lines[1].removeprefix(": ")))
        yield from map(_inline, lines[2:])
    else:
        yield ".PP"
        yield from map(_inline, lines)


def _protected(text: str) -> str:
    """Empty lines inside a code block do not end its paragraph."""
    return re.sub(
        r"^```.*?^```$", lambda block: re.sub(r"\n(?=\n)", "\n ", block[0]), text, flags=re.DOTALL | re.MULTILINE
    )


def _inline(text: str, *, plain: bool = False) -> str:
    """One line, with its emphasis as fonts; `plain` has none."""
    if not plain:
        text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
        text = re.sub(r"\*\*(.+?)\*\*|`(.+?)`", lambda m: f"{BOLD}{m[1] or m[2]}{ROMAN}", text)
        text = re.sub(r"(?<![A-Za-z0-9])_([^_\s](?:.*?[^\s])?)_(?![A-Za-z0-9])", rf"{ITALIC}\1{ROMAN}", text)
    text = text.replace("\\", "\\e").replace("-", "\\-")
    for mark, font in ((BOLD, "\\fB"), (ITALIC, "\\fI"), (ROMAN, "\\fR")):
        text = text.replace(mark, font)
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    sys.stdout.write(page(sys.stdin.read(), sys.argv[1]))
