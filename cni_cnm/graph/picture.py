"""A picture as values: nodes with texts in them, and edges between nodes. Lengths are in pixels, y grows downwards."""

from __future__ import annotations

from unicodedata import east_asian_width

from cni_cnm.named_tuple import NamedTuple

TITLE, STRONG, PLAIN, NAME, FAINT = "title", "strong", "plain", "name", "faint"
MONO, SMALL_MONO, CHIP = "mono", "small-mono", "chip"
SIZES = {TITLE: 15, STRONG: 12, PLAIN: 11, NAME: 10, FAINT: 10, MONO: 11, SMALL_MONO: 10, CHIP: 10}
"""Of the font, by style."""
_MONOSPACED = (MONO, SMALL_MONO, CHIP)
_BOLD = (TITLE, STRONG)
WELL, WAITING, FAULTY = "well", "waiting", "faulty"
"""States of a node: as it is to be; being made or removed; its link is missing or down."""


class Text(NamedTuple):
    x: float
    """Of its left end."""
    y: float
    """Of its base line."""
    content: str
    style: str = PLAIN


class Node(NamedTuple):
    id: str
    kind: str
    """`host`, `uplink`, `network`, `link`, `endpoint`, `other`, `sample`."""
    x: float
    y: float
    width: float
    height: float
    texts: tuple[Text, ...] = ()
    state: str = WELL
    hint: str = ""
    """All that is known of it, in one line."""

    @property
    def label(self) -> tuple[str, ...]:
        return tuple(text.content for text in self.texts)

    def moved(self, x: float, y: float) -> Node:
        texts = tuple(text._replace(x=text.x + x, y=text.y + y) for text in self.texts)
        return self._replace(x=self.x + x, y=self.y + y, texts=texts)


class Edge(NamedTuple):
    kind: str
    """`outside`, `port`, `allowed`, `sandbox`, `cluster`."""
    start: str
    """The id of a node, and so is `end`."""
    end: str
    points: tuple[tuple[float, float], ...]
    label: str = ""

    def moved(self, x: float, y: float) -> Edge:
        return self._replace(points=tuple((px + x, py + y) for px, py in self.points))


class Picture(NamedTuple):
    title: str
    width: float
    height: float
    nodes: tuple[Node, ...]
    """In the order in which they are drawn: the one that is around others is before them."""
    edges: tuple[Edge, ...]
    texts: tuple[Text, ...] = ()


def width_of(content: str, style: str) -> float:
    """About how wide a text is: fonts differ from machine to machine."""
    share = 0.602 if style in _MONOSPACED else 0.66 if style in _BOLD else 0.58
    wide = sum(east_asian_width(character) in "WF" for character in content)
    return SIZES[style] * (share * (len(content) - wide) + wide)


def fitted(content: str, width: float, style: str) -> str:
    """A text that is at most so wide. Its middle is left out: names differ at their ends."""
    if width_of(content, style) <= width:
        return content
    for kept in range(len(content) - 1, 1, -1):
        short = f"{content[: (kept + 1) // 2]}…{content[len(content) - kept // 2 :]}"
        if width_of(short, style) <= width:
            return short
    return "…"
