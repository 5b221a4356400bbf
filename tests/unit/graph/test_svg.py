"""The picture as SVG: valid XML whatever names are in it, and the one that the documentation shows."""

from __future__ import annotations

import os
from xml.etree import ElementTree

import pytest

from cni_cnm.graph import svg
from cni_cnm.graph.layout import layout
from cni_cnm.graph.scene import NetworkScene, Scene
from tests.program import ROOT
from tests.unit.graph.scenes import WHEN, endpoint, five, many

SPACE = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("scene", [Scene(""), five(), many(500)], ids=["empty", "five", "500"])
def test_a_document(scene: Scene) -> None:
    """It opens nothing, and has no script."""
    text = svg.draw(layout(scene, WHEN))
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SPACE}svg"
    kinds = {element.tag.removeprefix(SPACE) for element in root.iter()}
    assert kinds <= {"svg", "title", "style", "rect", "g", "text", "polyline"}
    assert "href" not in text
    assert "url(" not in text


def test_hostile_names() -> None:
    """Markup, and characters that no XML document can have."""
    names = "<script>alert(1)</script>", '"&\0\x1b[2J\ud800\ufffe', "]]>--&amp;"
    members = tuple(endpoint(name, name, at, owner=name, ports=(name,)) for at, name in enumerate(names))
    scene = Scene(names[0], (), (NetworkScene(names[1], names[2], (names[0],), endpoints=members),))
    text = svg.draw(layout(scene, WHEN))
    root = ElementTree.fromstring(text)
    assert "<script>alert(1)</script>" in [element.text for element in root.iter(f"{SPACE}text")]
    assert not any(element.tag.endswith("script") for element in root.iter())


def test_the_picture_of_the_documentation() -> None:
    """docs/graph.svg. CNI_CNM_UPDATE=1 writes it again."""
    path = ROOT / "docs" / "graph.svg"
    text = svg.draw(layout(five(), WHEN))
    if os.environ.get("CNI_CNM_UPDATE"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
