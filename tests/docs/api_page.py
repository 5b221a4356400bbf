"""docs/api.md from the docstrings of what `cni_cnm` exports: python -m tests.docs.api_page writes it."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cni_cnm
from cni_cnm.errors import CnmError

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "api.md"
HEAD = """\
# Python API

What `import cni_cnm` offers. [The library](library.md) tells how to use it. This page is made from the docstrings by
`python -m tests.docs.api_page`.
"""
VALUES = """\
## Values

Immutable named tuples. `IPAddress`, `IPInterface` and `IPNetwork` are values of the standard library's `ipaddress`, of
either family; `Json` is decoded JSON.
"""
OBJECTS = ("Controller", "Network", "Endpoint", "Sandbox")
HIDDEN = ("record",)
"""What is public for the rest of the package, and no part of the API."""
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields):(.*)$")
_ITEM = re.compile(r"^ {4}(\w[\w\[\], .|]*): (.*)$")


def page() -> str:
    """The whole page, as it is to be in docs/api.md."""
    return "\n".join((HEAD, *_functions(), *_objects(), *_values(), *_errors()))


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Properties and methods that are part of the API, in the order of the source."""
    for name, found in vars(kind).items():
        if not name.startswith("_") and name not in HIDDEN:
            yield name, found


def _functions() -> Iterator[str]:
    yield "## Entry\n"
    yield from _callable("open_controller", cni_cnm.open_controller, "###")


def _objects() -> Iterator[str]:
    yield "## Objects\n"
    for name in OBJECTS:
        kind = getattr(cni_cnm, name)
        yield f"### {name}\n"
        yield f"{_text(kind)}\n"
        for member, found in members(kind):
            if isinstance(found, property | cached_property):
                getter = found.fget if isinstance(found, property) else found.func
                annotation = inspect.signature(getter).return_annotation  # type: ignore[arg-type]
                yield f"#### {name}.{member}\n"
                yield f"```pyi\n{member}: {annotation}\n```\n"
                yield f"{_text(found)}\n"
            else:
                yield from _callable(f"{name}.{member}", found, "####")


def _callable(title: str, found: Any, level: str) -> Iterator[str]:
    yield f"{level} {title}\n"
    name = title.rpartition(".")[2]
    signature = str(inspect.signature(found)).replace("(self, ", "(").replace("(self)", "()")
    signature = re.sub(r"(: |-> )'([^']+)'", r"\1\2", signature)
    if len(name + signature) > 100:
        head, _, tail = signature.rpartition(")")
        head = re.sub(r", (?![^\[]*\])", ",\n    ", head[1:])
        signature = f"(\n    {head},\n){tail}"
    yield f"```pyi\ndef {name}{signature}\n```\n"
    yield f"{_text(found)}\n"


def _values() -> Iterator[str]:
    yield VALUES
    for name in cni_cnm.__all__:
        kind = getattr(cni_cnm, name)
        if not hasattr(kind, "_fields"):
            continue
        yield f"### {name}\n"
        yield f"{_text(kind)}\n"
        yield "| field | type | default | |\n| --- | --- | --- | --- |"
        notes = _field_notes(kind)
        for field in kind._fields:
            default = f"`{kind._field_defaults[field]!r}`" if field in kind._field_defaults else ""
            annotation = str(inspect.get_annotations(kind)[field]).replace("|", "\\|")
            yield f"| `{field}` | `{_forward(annotation)}` | {default} | {notes.get(field, '')} |"
        yield ""


def _errors() -> Iterator[str]:
    module = inspect.getdoc(sys.modules[CnmError.__module__]) or ""
    yield f"## Errors\n\n{_markdown(module)}\n"
    yield "| error | is a | CNI code | HTTP status | |\n| --- | --- | --- | --- | --- |"
    for name in cni_cnm.__all__:
        kind = getattr(cni_cnm, name)
        if isinstance(kind, type) and issubclass(kind, CnmError):
            base = kind.__mro__[1].__name__
            text = " ".join(_text(kind).split()) if kind.__doc__ else ""
            yield f"| `{name}` | `{base}` | {kind.code} | {kind.http_status} | {text} |"
    yield ""


def _field_notes(kind: type) -> dict[str, str]:
    """The string behind each field of a named tuple, which only the source has."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    notes = {}
    for field, note in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(note, ast.Expr)
            and isinstance(note.value, ast.Constant)
        ):
            notes[field.target.id] = " ".join(str(note.value.value).split())
    return notes


def _text(found: Any) -> str:
    text = inspect.getdoc(found)
    assert text, f"{found} has no docstring"
    return _markdown(text)


def _markdown(text: str) -> str:
    """Sections become lists; what is indented stays as it is, which Markdown shows as code."""
    lines: list[str] = []
    section = False
    for line in text.splitlines():
        if start := _SECTION.match(line):
            lines += [f"*{start[1]}*:{start[2]}", *([] if start[2] else [""])]
            section = not start[2]
        elif section and (item := _ITEM.match(line)):
            lines.append(f"* `{item[1]}`: {item[2]}")
        elif section and line.startswith("    "):
            lines.append(f"  {line.strip()}")
        else:
            section = False
            lines.append(line)
    return "\n".join(lines)


def _forward(annotation: str) -> str:
    match = re.fullmatch(r"ForwardRef\('(.*)'\)|<class '(?:.*\.)?(\w+)'>", annotation)
    return (match[1] or match[2]) if match else annotation


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
