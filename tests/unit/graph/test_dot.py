"""The picture for graphviz: the same nodes and edges, at the same places, every name quoted."""

from __future__ import annotations

import re

from cni_cnm.graph import dot
from cni_cnm.graph.layout import layout
from cni_cnm.graph.scene import NetworkScene, Scene
from tests.unit.graph.scenes import WHEN, endpoint, five

TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|->|[\w.#:-]+|[{}\[\];,=]|\s+')


def words(text: str) -> list[str]:
    """The words of the language (graphviz.org/doc/info/lang.html); AssertionError for what is none."""
    found, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        assert match is not None, text[at : at + 40]
        found.append(match[0])
        at = match.end()
    return [word for word in found if word.strip()]


def test_nodes_and_edges() -> None:
    picture = layout(five(), WHEN)
    text = dot.draw(picture)
    found = words(text)
    assert (found[:3], found[-1]) == (["digraph", "host", "{"], "}")
    drawn = {node.id: node for node in picture.nodes if node.kind not in ("host", "sample")}
    assert set(re.findall(r'^    "([^"]+)" \[', text, re.MULTILINE)) == drawn.keys()
    ends = re.findall(r'^    "([^"]+)" -> "([^"]+)"', text, re.MULTILINE)
    assert {end for edge in ends for end in edge} <= drawn.keys()
    assert {(edge.start, edge.end) for edge in picture.edges} <= set(ends)
    uplink = next(node for node in drawn.values() if node.kind == "uplink")
    x, y = (uplink.x + uplink.width / 2) * 0.75, (picture.height - uplink.y - uplink.height / 2) * 0.75
    assert f'pos="{x:.1f},{y:.1f}!"' in text


def test_hostile_names() -> None:
    name = 'a"]; node [label="x\\\n\x1b\ud800'
    scene = Scene(name, (), (NetworkScene(name, name, (name,), name, endpoints=(endpoint(name, name, 1),)),))
    text = dot.draw(layout(scene, WHEN))
    assert words(text).count("label") == 6  # graph, uplink, network, link, endpoint, the edge to the outside
    assert text.encode()
