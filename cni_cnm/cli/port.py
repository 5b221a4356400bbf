"""`cni-cnm port`: the ports of this host that are published, and which container has them."""

from __future__ import annotations

from typing import Any

from cni_cnm.cli.listing import ADDRESS, PREFIX, Column, Listing, container_column
from cni_cnm.find.published_ports import MISSING, PUBLISHED, TAKEN, PublishedPort, published_ports
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def _ports(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _is_in(row: Any, text: str) -> bool:
    """A number, as it is or within a range, with or without the protocol."""
    number, _, protocol = text.partition("/")
    inside = number.isdecimal() and row["port"] <= int(number) < row["port"] + row["count"]
    return inside and protocol in ("", row["protocol"])


PORTS = Listing(
    Column("Port", text=lambda row: _ports(row["port"], row["count"]), match=_is_in),
    Column("Protocol", "PROTO"),
    Column("Address", text=lambda row: row["address"] or "*"),
    Column("Targets", "TARGET", filter="target", match=ADDRESS),
    Column(
        "ContainerPort",
        "TARGET PORT",
        key="container_port",
        text=lambda row: _ports(row["container_port"], row["count"]),
    ),
    Column("Network", wide=True),
    container_column(),
    Column("State", styles={PUBLISHED: "green", MISSING: "red", TAKEN: "red"}),
    Column("ID", "ENDPOINT ID", match=PREFIX, short=12, shown=False),
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("port", help="list published ports")
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)
    ls = verbs.add_parser(
        "ls",
        help="list published ports",
        description="List the ports of this host that are published. STATE says what the packet filter has: "
        "'published', 'missing' (`cni-cnm repair` puts it back), or 'taken' by another endpoint.",
    )
    PORTS.add_options(ls)
    ls.set_defaults(verb=list_ports)


def list_ports(arguments: argparse.Namespace) -> None:
    PORTS.show(arguments, map(_row, published_ports(open_controller().host)))


def _row(published: PublishedPort) -> dict[str, Any]:
    port, endpoint = published.port, published.endpoint
    return {
        "id": endpoint.record.id,
        "port": port.host_port,
        "count": port.size,
        "protocol": port.protocol,
        "address": "" if port.host_ip is None else str(port.host_ip),
        "container_port": port.container_port,
        "targets": list(published.targets),
        "network": endpoint.record.network,
        "container": endpoint.container,
        "container_id": endpoint.container_id,
        "state": published.state,
    }
