"""No module of the package imports itself through others, imports for type checkers and inside functions included."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.program import ROOT

PACKAGE = ROOT / "cni_cnm"


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules that a file imports, at any depth. `from a import b` is a.b where that is a module, else a."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name in known else node.module for name in names)
    return found & known.keys()


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """One circle of each knot: a depth-first walk that meets a module on its own path."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
            return
        if module in done:
            return
        for imported in sorted(graph[module]):
            walk(imported, [*path, module])
        done.add(module)

    for module in sorted(graph):
        walk(module, [])
    return found


def test_no_module_imports_itself_through_others() -> None:
    """The modules of a circle are named, each imported by the one before it."""
    known = modules()
    graph = {name: imports(path, known) for name, path in known.items()}
    assert len(graph) > 100
    assert ["; ".join(" imports ".join(circle) for circle in circles(graph))] == [""]


def test_a_circle_is_found() -> None:
    """Also one that begins in the middle of a longer path; a diamond is none."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [["b", "c", "b"]]
    assert circles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []
