"""Where everything of a scene stands in the picture. Each format draws the same nodes and edges.

Uplinks are on the upper edge of the host. A line leads from them to each network that reaches the outside. Networks are
in rows, the highest first. Lines below a row join those that are open to each other. Other hosts are below this one.
"""

from __future__ import annotations

from math import sqrt

from cni_cnm.graph.card import MARGIN, Card, card
from cni_cnm.graph.picture import (
    FAINT,
    FAULTY,
    MONO,
    PLAIN,
    STRONG,
    TITLE,
    WAITING,
    WELL,
    Edge,
    Node,
    Picture,
    Text,
    fitted,
    width_of,
)
from cni_cnm.graph.scene import NOWHERE
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.graph.scene import OtherHost, Scene

DETAILED_MAX = 40
"""Endpoints of a picture that shows each with all details."""
_EDGE = 20
"""Around the picture."""
_TOP = 78
"""Above the host: title, counts, and half of the uplinks' boxes."""
_TRUNK = 30
"""Within the host, left of the networks: the line to the uplinks."""
_GAP, _LANE = 26, 8
_RATIO = 1.7
_LEAST_ROW = 960
"""So wide a row may be, however few endpoints there are."""
_OTHER_WIDTH = 250
_LEAST_WIDTH = 2 * _OTHER_WIDTH + 12
"""Of the host: two others beside each other are below it."""
_OTHER_LINES_MAX = 12
"""Other hosts up to which lines lead to their networks."""


class _Placed(NamedTuple):
    card: Card
    x: float
    y: float
    row: int

    @property
    def bottom(self) -> float:
        return self.y + self.card.height


def layout(scene: Scene, when: str) -> Picture:
    """The picture of a scene; `when` is its time, as text."""
    detailed = len(scene.endpoints) <= DETAILED_MAX
    open_to = _open_to(scene)
    cards = [card(network, open_to.get(network.name, ()), detailed=detailed) for network in scene.networks]
    rows = _rows(cards)
    lanes = _lanes(rows, scene.allowed)
    placed = _place(rows, lanes)
    crossing = sum(placed[one].row != placed[other].row for one, other in scene.allowed)
    right = max((one.x + one.card.width for one in placed.values()), default=_EDGE + 400)
    bottom = max((one.bottom for one in placed.values()), default=_TOP + 60)
    last = len(lanes[-1]) if lanes else 0
    host_width = max(right + MARGIN + crossing * _LANE + 8, _EDGE + _LEAST_WIDTH) - _EDGE
    host_height = bottom + _GAP / 2 + last * _LANE - _TOP
    host = Node("host", "host", _EDGE, _TOP, host_width, host_height)
    nodes: list[Node] = [host]
    edges: list[Edge] = []
    nodes += (node.moved(one.x, one.y) for one in placed.values() for node in one.card.nodes)
    edges += _outside(scene, placed)
    edges += _allowed(scene, placed, lanes, right + MARGIN)
    edges += (edge.moved(one.x, one.y) for one in placed.values() for edge in one.card.edges)
    edges += _sandboxes(scene, nodes) if detailed else ()
    nodes += _uplinks(scene, host_width)
    below = _TOP + host_height + 24
    others = _others(scene.others, below, host_width)
    nodes += others
    edges += _cluster(scene, placed, others)
    below = max((node.y + node.height + 16 for node in others), default=below - 8)
    samples, legend = _legend(below, bool(scene.allowed))
    texts = (*_title(scene, when), *legend)
    width = max(host_width + _EDGE, *(text.x + width_of(text.content, text.style) for text in texts)) + _EDGE
    return Picture(f"{scene.host}, {when}", width, below + 30, (*nodes, *samples), tuple(edges), texts)


def _open_to(scene: Scene) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one, other in scene.allowed:
        found.setdefault(one, []).append(other)
        found.setdefault(other, []).append(one)
    return found


def _rows(cards: Sequence[Card]) -> list[list[Card]]:
    """The highest first, each in the first row that has room for it. The picture is wider than high."""
    area = sum((one.width + _GAP) * (one.height + _GAP) for one in cards)
    limit = max(sqrt(area * _RATIO), _LEAST_ROW, *(one.width for one in cards))
    rows: list[list[Card]] = []
    used: list[float] = []
    for one in sorted(cards, key=lambda one: (-one.height, one.network)):
        number = next((at for at, width in enumerate(used) if width + one.width <= limit), len(rows))
        if number == len(rows):
            rows.append([])
            used.append(0.0)
        rows[number].append(one)
        used[number] += one.width + _GAP
    return rows


def _lanes(rows: Sequence[Sequence[Card]], pairs: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Of each row the pairs that have a line below it, each a lane of its own."""
    return [[pair for pair in pairs if any(one.network in pair for one in row)] for row in rows]


def _place(rows: Sequence[Sequence[Card]], lanes: Sequence[Sequence[object]]) -> dict[str, _Placed]:
    placed = {}
    y = _TOP + _GAP + 16.0
    for number, row in enumerate(rows):
        x = float(_EDGE + _TRUNK + MARGIN)
        for one in row:
            placed[one.network] = _Placed(one, x, y, number)
            x += one.width + _GAP
        y += max(one.height for one in row) + _GAP + len(lanes[number]) * _LANE
    return placed


def _uplinks(scene: Scene, host_width: float) -> Iterator[Node]:
    """Boxes on the upper edge of the host, from the left."""
    x = float(_EDGE + 12)
    for uplink in scene.uplinks:
        text = "  ".join((uplink.name, *uplink.addresses))
        width = min(width_of(text, MONO) + 20, host_width - 24)
        shown = Text(x + 10, _TOP + 4, fitted(text, width - 20, MONO), MONO)
        yield Node(f"uplink:{uplink.name}", "uplink", x, _TOP - 12, width, 24, (shown,), WELL, text)
        x += width + 12
    if not scene.uplinks:
        text = "no default route"
        width = width_of(text, MONO) + 20
        yield Node("uplink:", "uplink", x, _TOP - 12, width, 24, (Text(x + 10, _TOP + 4, text, MONO),), FAULTY, text)


def _outside(scene: Scene, placed: Mapping[str, _Placed]) -> Iterator[Edge]:
    trunk = _EDGE + 22.0
    start = f"uplink:{scene.uplinks[0].name}" if scene.uplinks else "uplink:"
    for network in scene.networks:
        if network.outside != NOWHERE:
            one = placed[network.name]
            branch, drop = one.y - 12, one.x + 24
            points = ((trunk, _TOP + 12.0), (trunk, branch), (drop, branch), (drop, one.y))
            yield Edge("outside", start, f"network:{network.name}", points, network.outside)


def _allowed(
    scene: Scene, placed: Mapping[str, _Placed], lanes: Sequence[Sequence[tuple[str, str]]], right: float
) -> Iterator[Edge]:
    """Lines below the rows of both networks. Where the rows differ, they meet at the right."""
    deepest: dict[int, float] = {}
    for one in placed.values():
        deepest[one.row] = max(deepest.get(one.row, 0.0), one.bottom)
    used: dict[str, int] = {}
    column = right
    for pair in scene.allowed:
        ends = []
        for name in pair:
            one = placed[name]
            x = one.x + 40 + 10 * (used.get(name, 0) % max(1, int((one.card.width - 60) / 10)))
            used[name] = used.get(name, 0) + 1
            lane = deepest[one.row] + _GAP / 3 + lanes[one.row].index(pair) * _LANE
            ends.append((x, one.bottom, lane))
        (x, y, lane), (other_x, other_y, other_lane) = ends
        middle: tuple[tuple[float, float], ...] = ((x, lane), (other_x, lane))
        if lane != other_lane:
            column += _LANE
            middle = ((x, lane), (column, lane), (column, other_lane), (other_x, other_lane))
        points = ((x, y), *middle, (other_x, other_y))
        yield Edge("allowed", f"network:{pair[0]}", f"network:{pair[1]}", points, "open to each other")


def _sandboxes(scene: Scene, nodes: Sequence[Node]) -> Iterator[Edge]:
    """Between the endpoints of one sandbox in several networks."""
    at = {node.id: node for node in nodes}
    seen: dict[str, str] = {}
    for endpoint in scene.endpoints:
        if not endpoint.also_in:
            continue
        before = seen.get(endpoint.name)
        if before:
            one, other = sorted((at[before], at[f"endpoint:{endpoint.id}"]), key=lambda node: node.x)
            yield Edge("sandbox", one.id, other.id, tuple(_beside(one, other)), "one sandbox")
        seen[endpoint.name] = f"endpoint:{endpoint.id}"


def _beside(one: Node, other: Node) -> Iterator[tuple[float, float]]:
    """From the right of one to the left of the other, through the gap between their networks, or to its right."""
    end = one.x + one.width
    beside = other.x >= end
    turn = end + MARGIN + _GAP / 2 if beside else end + MARGIN / 2
    for x, node in ((end, one), (turn, one), (turn, other), (other.x if beside else end, other)):
        yield x, node.y + node.height / 2


def _others(others: Sequence[OtherHost], y: float, width: float) -> list[Node]:
    """Other hosts in rows below this one."""
    found: list[Node] = []
    x, row = float(_EDGE), 0.0
    for host in others:
        texts = [Text(12, 18, fitted(host.name, _OTHER_WIDTH - 24, STRONG), STRONG)]
        texts.append(Text(12, 33, fitted("  ".join(host.addresses), _OTHER_WIDTH - 24, MONO), MONO))
        for network, blocks in host.blocks.items():
            line = fitted(f"{network}: {', '.join(blocks)}", _OTHER_WIDTH - 24, FAINT)
            texts.append(Text(12, 33 + 14 * (len(texts) - 1), line, FAINT))
        height = 30 + 14 * (len(texts) - 1)
        if x + _OTHER_WIDTH > _EDGE + width and x > _EDGE:
            x, y, row = float(_EDGE), y + row + 12, 0.0
        state = WELL if host.alive else WAITING
        node = Node(f"host:{host.name}", "other", 0, 0, _OTHER_WIDTH, height, tuple(texts), state, host.name)
        found.append(node.moved(x, y))
        x, row = x + _OTHER_WIDTH + 12, max(row, height)
    return found


def _cluster(scene: Scene, placed: Mapping[str, _Placed], nodes: Sequence[Node]) -> Iterator[Edge]:
    if len(nodes) > _OTHER_LINES_MAX:
        return
    for host, node in zip(scene.others, nodes, strict=True):
        for network in host.blocks:
            one = placed[network]
            points = ((one.x + one.card.width / 2, one.bottom), (node.x + node.width / 2, node.y))
            yield Edge("cluster", f"network:{network}", node.id, points, "overlay")


def _title(scene: Scene, when: str) -> tuple[Text, ...]:
    endpoints = scene.endpoints
    faulty = sum(not endpoint.is_well for endpoint in endpoints)
    ports = sum(len(endpoint.ports) for endpoint in endpoints)
    counts = [_counted(len(scene.networks), "network"), _counted(len(endpoints), "endpoint")]
    counts += [_counted(ports, "published port")] if ports else []
    counts += [f"{faulty} not as they are to be"] if faulty else []
    return (
        Text(_EDGE, 28, f"{scene.host}", TITLE),
        Text(_EDGE, 46, f"{', '.join(counts)} · {when}", PLAIN),
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _legend(y: float, allowed: bool) -> tuple[list[Node], list[Text]]:
    """What the colours mean."""
    samples, texts = [], []
    x = float(_EDGE)
    for state, meaning in (
        (WELL, "ready"),
        (WAITING, "being made or removed, or a silent host"),
        (FAULTY, "link missing or down"),
    ):
        samples.append(Node(f"sample:{state}", "sample", x, y, 10, 10, (), state))
        texts.append(Text(x + 16, y + 9, meaning, FAINT))
        x += width_of(meaning, FAINT) + 40
    if allowed:
        texts.append(Text(x, y + 9, "violet lines: networks open to each other", FAINT))
    return samples, texts
