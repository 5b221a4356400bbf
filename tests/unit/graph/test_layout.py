"""Places of a picture: nothing overlaps, nothing leaves the picture, and every text is within its node."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni_cnm.graph.layout import DETAILED_MAX, layout
from cni_cnm.graph.picture import CHIP, Node, Picture, fitted, width_of
from cni_cnm.graph.scene import MASQUERADE, NetworkScene, Scene
from tests.unit.graph.scenes import NODE1, WHEN, endpoint, five, many

SCENES = {
    "empty": Scene("node1"),
    "one": Scene("node1", NODE1, (NetworkScene("n", "ptp", endpoints=(endpoint("a", "n", 1),)),)),
    "five": five(),
    "40": many(DETAILED_MAX),
    "500": many(500),
    "30 networks": many(60, 30),
}


def overlap(one: Node, other: Node) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def check(picture: Picture) -> None:
    ids = [node.id for node in picture.nodes]
    assert len(ids) == len(set(ids))
    for node in picture.nodes:
        assert node.x >= 0, node
        assert node.y >= 0, node
        assert node.x + node.width <= picture.width, node
        assert node.y + node.height <= picture.height, node
        for text in node.texts:
            assert node.x <= text.x, text
            spare = 4 if text.style == CHIP else 0
            assert text.x + width_of(text.content, text.style) + spare <= node.x + node.width, (node.kind, text)
            assert node.y <= text.y <= node.y + node.height, text
    for kinds in (("network", "other"), ("endpoint",), ("uplink",)):
        alike = [node for node in picture.nodes if node.kind in kinds]
        for one, other in combinations(alike, 2) if len(alike) < 80 else pairwise(alike):
            assert not overlap(one, other), (one.id, other.id)
    for text in picture.texts:
        assert text.x + width_of(text.content, text.style) <= picture.width, text
    for edge in picture.edges:
        assert {edge.start, edge.end} <= set(ids), edge
        assert all(0 <= x <= picture.width and 0 <= y <= picture.height for x, y in edge.points), edge


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_places(scene: Scene) -> None:
    check(layout(scene, WHEN))


def test_what_is_shown() -> None:
    """Every endpoint, network, pair, port and host of the scene."""
    scene = many(500)
    picture = layout(scene, WHEN)
    kinds = [node.kind for node in picture.nodes]
    assert (kinds.count("endpoint"), kinds.count("network"), kinds.count("other")) == (500, 5, 4)
    edges = [edge.kind for edge in picture.edges]
    assert (edges.count("port"), edges.count("allowed"), edges.count("outside")) == (500, 10, 4)
    detailed = layout(five(), WHEN)
    shown = {text.content for node in detailed.nodes for text in node.texts}
    assert {"8080→80/tcp", "eth0  10.88.0.3/16  fd00:88::3/64", "open to db", "nothing outside"} <= {
        *shown,
        *(text.partition(" · ")[2] for text in shown),
    }
    assert [edge.kind for edge in detailed.edges].count("sandbox") == 1
    assert {node.state for node in detailed.nodes if node.kind == "endpoint"} == {"well", "waiting", "faulty"}


@given(st.lists(st.tuples(st.text(max_size=60), st.integers(0, 60)), max_size=6), st.text(max_size=200))
@settings(max_examples=40)
def test_any_names(networks: list[tuple[str, int]], host: str) -> None:
    """Of any length and script. Names of networks are unique."""
    scene = Scene(
        host,
        NODE1,
        tuple(
            NetworkScene(
                f"{at}{name}",
                "bridge",
                (name,),
                name,
                "down",
                (name,),
                MASQUERADE,
                "open",
                tuple(
                    endpoint(name * (one % 3), name, at * 100 + one, ports=(name,) * (one % 5), owner=name)
                    for one in range(size)
                ),
            )
            for at, (name, size) in enumerate(networks)
        ),
    )
    check(layout(scene, WHEN))


@given(st.text(max_size=80), st.floats(5, 400))
def test_fitted(text: str, width: float) -> None:
    """At most so wide, whole where it fits, and with both ends where it does not."""
    found = fitted(text, width, "mono")
    assert width_of(found, "mono") <= width or found == "…"
    if width_of(text, "mono") <= width:
        assert found == text
    elif len(found) > 2:
        assert text.startswith(found.partition("…")[0])
        assert text.endswith(found.rpartition("…")[2])
