"""A picture in the language of graphviz: `neato -n2 -Tpng` keeps the places, `dot` chooses others."""

from __future__ import annotations

from cni_cnm.frontend.one_line import one_line
from cni_cnm.graph.picture import FAULTY, WAITING, WELL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.graph.picture import Node, Picture

_POINTS = 72 / 96
"""A pixel in points, in which graphviz counts."""
_SHAPES = {"network": "box", "link": "box", "endpoint": "box", "uplink": "house", "other": "box3d"}
"""Nodes that are drawn. The host is the whole graph, and a network's own box is around its endpoints."""
_COLOURS = {WELL: "#2f9e58", WAITING: "#e0a100", FAULTY: "#d23b3b"}
_EDGES = {
    "outside": 'color="#5b6675", arrowhead=none',
    "port": 'color="#9db4d1", arrowhead=none',
    "allowed": 'color="#8a4fc4", dir=both, penwidth=2',
    "sandbox": 'style=dashed, arrowhead=none, color="#8d97a5"',
    "cluster": 'style=dashed, dir=both, color="#3f8f76"',
}


def draw(picture: Picture) -> str:
    """The whole file."""
    return "\n".join(_lines(picture)) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    title = "  ".join(text.content for text in picture.texts[:2])
    yield "digraph host {"
    yield f"    graph [label={_quoted(title)}, labelloc=t, fontname=Helvetica, rankdir=TB];"
    yield "    node [fontname=Helvetica, fontsize=8];"
    yield "    edge [fontname=Helvetica, fontsize=8];"
    for node in picture.nodes:
        if node.kind in _SHAPES:
            yield f"    {_quoted(node.id)} [{_attributes(node, picture.height)}];"
    for edge in picture.edges:
        label = f", label={_quoted(edge.label)}" if edge.kind == "outside" else ""
        yield f"    {_quoted(edge.start)} -> {_quoted(edge.end)} [{_EDGES[edge.kind]}{label}];"
    for node in picture.nodes:
        if node.kind == "network":
            link = node.id.replace("network:", "link:", 1)
            yield f"    {_quoted(node.id)} -> {_quoted(link)} [arrowhead=none, style=bold];"
    yield "}"


def _attributes(node: Node, height: float) -> str:
    """A network's node stands on its head, above its link."""
    tall = 62.0 if node.kind == "network" else node.height
    x, y = (node.x + node.width / 2) * _POINTS, (height - node.y - tall / 2) * _POINTS
    lines = "\\n".join(_escaped(text) for text in node.label)
    colour = _COLOURS[node.state] if node.kind in ("endpoint", "other") or node.state != WELL else "#5b6675"
    return (
        f'label="{lines}", shape={_SHAPES[node.kind]}, pos="{x:.1f},{y:.1f}!", width={node.width / 96:.2f}, '
        f'height={tall / 96:.2f}, color="{colour}", tooltip={_quoted(node.hint)}'
    )


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace('"', '\\"')
