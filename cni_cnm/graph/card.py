"""The part of a picture that shows one network: its name, its link, and its endpoints in columns below the link."""

from __future__ import annotations

from math import ceil, sqrt

from cni_cnm.graph.picture import (
    CHIP,
    FAINT,
    FAULTY,
    MONO,
    NAME,
    SMALL_MONO,
    STRONG,
    TITLE,
    WAITING,
    WELL,
    Edge,
    Node,
    Text,
    fitted,
    width_of,
)
from cni_cnm.graph.scene import MISSING, NONE, UP
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.graph.scene import EndpointScene, NetworkScene

MARGIN = 12
_HEAD, _LINE, _BAR, _SPINE = 46, 14, 22, 14
_LEAST_WIDTH = 312
_ADDRESS_END = 232.0
"""Where the address ends on a line."""
_RATIO = 1.6
"""Width to height that a network with many endpoints is given."""
_OUTSIDE = {"masquerade": "leaves with the host's address", "own address": "leaves with its own address"}
_REACHED = {
    "open": "reached from everywhere",
    "same-bridge": "reached from itself, from others by ports",
    "isolated": "its endpoints are kept apart, reached by ports",
    "routed": "reached from itself and other hosts",
}


class Card(NamedTuple):
    """Nodes and edges of a network, with its own upper left corner as the origin."""

    network: str
    width: float
    height: float
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class Cell(NamedTuple):
    """How one endpoint is shown: with all details, or on one line."""

    width: float
    height: float
    detailed: bool


def card(network: NetworkScene, open_to: Sequence[str], *, detailed: bool) -> Card:
    """`open_to`: networks that are open to this one. `detailed`: each endpoint with several lines."""
    cell = _cell(network, detailed=detailed)
    columns = _columns(len(network.endpoints), cell)
    rows = ceil(len(network.endpoints) / columns)
    width = max(_LEAST_WIDTH, 2 * MARGIN + columns * (cell.width + _SPINE + 6) - 6)
    facts = _facts(network, open_to)
    head = _HEAD + len(facts) * _LINE
    below = head + _BAR + 10
    height = below + rows * (cell.height + 6) + (MARGIN - 6 if rows else 0)
    around = Node(f"network:{network.name}", "network", 0, 0, width, height, _head(network, facts, width))
    bar = _bar(network, head, width)
    nodes, edges = [around, bar], []
    for number, endpoint in enumerate(network.endpoints):
        column, row = divmod(number, rows)
        spine = MARGIN + column * (cell.width + _SPINE + 6) + 4
        x, y = spine + _SPINE - 4, below + row * (cell.height + 6)
        nodes.append(_endpoint(endpoint, cell).moved(x, y))
        middle = y + min(cell.height / 2, 14)
        edges.append(
            Edge("port", bar.id, f"endpoint:{endpoint.id}", ((spine, head + _BAR), (spine, middle), (x, middle)))
        )
    return Card(network.name, width, height, tuple(nodes), tuple(edges))


def _cell(network: NetworkScene, *, detailed: bool) -> Cell:
    publishes = any(endpoint.ports for endpoint in network.endpoints)
    if detailed:
        return Cell(274, 68 if publishes else 50, True)
    return Cell(_ADDRESS_END + 6 + (58 if publishes else 0), 18, False)


def _columns(number: int, cell: Cell) -> int:
    return max(1, round(sqrt(number * (cell.height + 6) * _RATIO / (cell.width + _SPINE))))


def _facts(network: NetworkScene, open_to: Sequence[str]) -> list[str]:
    number = len(network.endpoints)
    counted = f"{number} endpoint{'' if number == 1 else 's'}"
    facts = [f"{counted} · {_OUTSIDE.get(network.outside, network.outside)}"]
    facts += [_REACHED[network.ingress]] if network.outside in _OUTSIDE else []
    return [*facts, f"open to {', '.join(open_to)}"] if open_to else facts


def _head(network: NetworkScene, facts: Sequence[str], width: float) -> tuple[Text, ...]:
    inner = width - 2 * MARGIN
    driver_width = width_of(network.driver, FAINT)
    lines = [
        Text(MARGIN, 20, fitted(network.name, inner - driver_width - 10, TITLE), TITLE),
        Text(width - MARGIN - driver_width, 20, network.driver, FAINT),
        Text(MARGIN, 37, fitted("  ".join(network.subnets) or "no subnet", inner, MONO), MONO),
    ]
    lines += (Text(MARGIN, 52 + at * _LINE, fitted(fact, inner, FAINT), FAINT) for at, fact in enumerate(facts))
    return tuple(lines)


def _bar(network: NetworkScene, y: float, width: float) -> Node:
    state = WELL if network.link_state in (UP, NONE) else FAULTY
    name = network.link or ("routed links" if network.driver == "ptp" else "no link of its own")
    fault = f"  {network.link_state}" if state == FAULTY else ""
    gateways = "  ".join(gateway.partition("/")[0] for gateway in network.gateways)
    text = f"{name}{fault}  {gateways}".rstrip()
    inner = Text(MARGIN + 8, y + 15, fitted(text, width - 2 * MARGIN - 16, MONO), MONO)
    return Node(f"link:{network.name}", "link", MARGIN, y, width - 2 * MARGIN, _BAR, (inner,), state, text)


def _endpoint(endpoint: EndpointScene, cell: Cell) -> Node:
    texts = _details(endpoint, cell) if cell.detailed else _line(endpoint, cell)
    state = WELL if endpoint.is_well else WAITING if endpoint.link_state in (UP, NONE) else FAULTY
    hint = " · ".join(
        filter(
            None,
            (
                f"{endpoint.network}/{endpoint.name}/{endpoint.ifname}",
                " ".join(endpoint.addresses),
                " ".join(endpoint.ports),
                f"{endpoint.link} {endpoint.link_state}".strip(),
                f"{endpoint.owner} {endpoint.state}",
                f"also in {', '.join(endpoint.also_in)}" if endpoint.also_in else "",
                endpoint.id[:12],
            ),
        )
    )
    return Node(f"endpoint:{endpoint.id}", "endpoint", 0, 0, cell.width, cell.height, texts, state, hint)


def _details(endpoint: EndpointScene, cell: Cell) -> tuple[Text, ...]:
    left, inner = 12, cell.width - 20
    also = f"also in {', '.join(endpoint.also_in)}" if endpoint.also_in else ""
    fault = endpoint.state if endpoint.link_state in (UP, NONE) else f"link {endpoint.link_state}"
    notes = (endpoint.link, endpoint.owner, "" if endpoint.is_well else fault, also)
    addresses = "  ".join((endpoint.ifname, *endpoint.addresses))
    lines = [
        Text(left, 16, fitted(endpoint.name, inner, STRONG), STRONG),
        Text(left, 30, fitted(addresses.strip() or "no address", inner, MONO), MONO),
        Text(left, 43, fitted("  ".join(filter(None, notes)), inner, FAINT), FAINT),
    ]
    x = left + 2.0
    for number, port in enumerate(endpoint.ports):
        rest = len(endpoint.ports) - number
        text = fitted(port, inner, CHIP)
        if x + width_of(text, CHIP) + (26 if rest > 1 else 0) > cell.width - 10 and number:
            lines.append(Text(x, 60, f"+{rest}", CHIP))
            break
        lines.append(Text(x, 60, text, CHIP))
        x += width_of(text, CHIP) + 12
    return tuple(lines)


def _line(endpoint: EndpointScene, cell: Cell) -> tuple[Text, ...]:
    address = endpoint.addresses[0].partition("/")[0] if endpoint.addresses else ""
    fault = "" if endpoint.is_well else endpoint.state if endpoint.link_state != MISSING else "no link"
    shown = fault or fitted(address, 96, SMALL_MONO)
    end = _ADDRESS_END
    left = end - width_of(shown, SMALL_MONO)
    lines = [
        Text(9, 13, fitted(endpoint.name, left - 15, NAME), NAME),
        Text(left, 13, shown, SMALL_MONO),
    ]
    if endpoint.ports:
        more = f"+{len(endpoint.ports) - 1}" if len(endpoint.ports) > 1 else ""
        first = endpoint.ports[0].partition("→")[0].rpartition(":")[2]
        lines.append(Text(end + 8, 13, fitted(first + more, cell.width - end - 14, CHIP), CHIP))
    return tuple(lines)
