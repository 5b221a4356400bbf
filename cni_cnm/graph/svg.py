"""A picture as SVG, with nothing from outside: it can be opened, mailed and attached anywhere."""

from __future__ import annotations

from cni_cnm.frontend.one_line import one_line
from cni_cnm.graph.picture import CHIP, FAULTY, SIZES, WAITING, WELL, width_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.graph.picture import Edge, Node, Picture, Text

_SANS = "'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif"
_MONO = "'DejaVu Sans Mono', Menlo, Consolas, monospace"
_FILLS = {
    "host": ("#f7f8fa", "#5b6675"),
    "network": ("#ffffff", "#9aa5b4"),
    "link": ("#dbe7f6", "#5f88bd"),
    "endpoint": ("#ffffff", "#c3cbd6"),
    "uplink": ("#e9edf2", "#5b6675"),
    "other": ("#f1f6f4", "#6b9a88"),
    "sample": ("#ffffff", "none"),
}
"""By kind of node: inside, and its edge."""
_STATES = {WELL: "#2f9e58", WAITING: "#e0a100", FAULTY: "#d23b3b"}
_TINTS = {WELL: "", WAITING: "#fdf3d6", FAULTY: "#fbe3e3"}
"""By state of a node: of its edge or stripe, and of its inside."""
_LINES = {
    "outside": ("#5b6675", 1.6, ""),
    "port": ("#9db4d1", 1.0, ""),
    "allowed": ("#8a4fc4", 1.6, ""),
    "sandbox": ("#8d97a5", 1.2, "4 3"),
    "cluster": ("#3f8f76", 1.4, "6 4"),
}
"""By kind of edge: colour, width, dashes."""
_TEXTS = {
    "title": f"font:bold 15px {_SANS};fill:#1c2733",
    "strong": f"font:bold 12px {_SANS};fill:#1c2733",
    "plain": f"font:11px {_SANS};fill:#3c4856",
    "mono": f"font:11px {_MONO};fill:#1f3a5f",
    "small-mono": f"font:10px {_MONO};fill:#1f3a5f",
    "name": f"font:10px {_SANS};fill:#1c2733",
    "faint": f"font:10px {_SANS};fill:#5b6675",
    "chip": f"font:10px {_MONO};fill:#ffffff",
}
_ROUND = {"host": 10, "network": 6, "other": 8}


def draw(picture: Picture) -> str:
    """The whole file."""
    return "\n".join(_parts(picture)) + "\n"


def _parts(picture: Picture) -> Iterator[str]:
    width, height = _number(picture.width), _number(picture.height)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'xml:space="preserve">'
    )
    yield f"<title>{_escaped(picture.title)}</title>"
    styles = [f".{name}{{{style}}}" for name, style in _TEXTS.items()]
    styles += [
        f".line-{kind}{{fill:none;stroke:{colour};stroke-width:{wide};stroke-linejoin:round"
        f"{f';stroke-dasharray:{dashes}' if dashes else ''}}}"
        for kind, (colour, wide, dashes) in _LINES.items()
    ]
    styles += [f".{kind}{{fill:{inside};stroke:{edge}}}" for kind, (inside, edge) in _FILLS.items()]
    yield f"<style>{''.join(styles)}</style>"
    yield f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    behind = ("cluster", "outside", "allowed")
    hosts = [node for node in picture.nodes if node.kind == "host"]
    yield from (_node(node) for node in hosts)
    yield from (_edge(edge) for edge in picture.edges if edge.kind in behind)
    yield from (_node(node) for node in picture.nodes if node.kind not in ("host", "endpoint"))
    yield from (_edge(edge) for edge in picture.edges if edge.kind not in behind)
    yield from (_node(node) for node in picture.nodes if node.kind == "endpoint")
    yield from (_text(text) for text in picture.texts)
    yield "</svg>"


def _node(node: Node) -> str:
    x, y, width, height = map(_number, (node.x, node.y, node.width, node.height))
    radius = _ROUND.get(node.kind, 3)
    tint = f' style="fill:{_TINTS[node.state]}"' if _TINTS[node.state] else ""
    parts = [f'<rect class="{node.kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"{tint}/>']
    if node.kind in ("endpoint", "other", "sample"):
        stripe = width if node.kind == "sample" else "4"
        parts.append(f'<rect x="{x}" y="{y}" width="{stripe}" height="{height}" rx="2" fill="{_STATES[node.state]}"/>')
    elif node.state != WELL:
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" fill="none" '
            f'stroke="{_STATES[node.state]}" stroke-width="2"/>'
        )
    parts += map(_text, node.texts)
    hint = f"<title>{_escaped(node.hint)}</title>" if node.hint else ""
    return f"<g>{hint}{''.join(parts)}</g>"


def _edge(edge: Edge) -> str:
    points = " ".join(f"{_number(x)},{_number(y)}" for x, y in edge.points)
    return f'<polyline class="line-{edge.kind}" points="{points}"/>'


def _text(text: Text) -> str:
    content = _escaped(text.content)
    shown = f'<text class="{text.style}" x="{_number(text.x)}" y="{_number(text.y)}">{content}</text>'
    if text.style != CHIP:
        return shown
    size = SIZES[CHIP]
    box = (text.x - 4, text.y - size, width_of(text.content, CHIP) + 8, size + 4)
    x, y, width, height = map(_number, box)
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="#2b6cb0"/>{shown}'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _escaped(text: str) -> str:
    """For XML: also characters that no XML document can have are escaped."""
    plain = "".join(c if c.isprintable() else "?" for c in one_line(text))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
