"""`cni-cnm ipam`: how full the subnets of networks are, and who holds each address."""

from __future__ import annotations

import json
import sys
from math import log2
from typing import Any

from cni_cnm.cli.listing import ADDRESS, EQUAL, PREFIX, Column, Listing, container_column, plain, write
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.find.addresses import DOCKER_RESERVED, ENDPOINT, GATEWAY, OTHER, VOID, Holder, RangeUse, use_of
from cni_cnm.find.networks import find_network
from cni_cnm.frontend.one_line import one_line
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

BAR = 64
"""Characters of the bar that stands for a range."""
LARGE = 1 << 32
RANGE_FIELDS = ("Subnet", "Range", "Gateway", "Size", "Used", "Reserved", "Free", "Full", "Lost")
LEGEND = "held: # all, + half or more, : some, . none; R reserved"


def _number(number: int | None) -> str:
    """A large one as the nearest power of two, marked with a tilde."""
    if number is None:
        return ""
    return str(number) if number < LARGE else f"~2^{round(log2(number))}"


def _full(row: Any) -> str:
    return "" if row["percent"] is None else f"{row['percent']} %"


RANGES = Listing(
    Column("Network"),
    Column("Subnet"),
    Column("Range", shown=False, wide=True),
    Column("Gateway"),
    Column("Size", text=lambda row: _number(row["size"])),
    Column("Used"),
    Column("Reserved"),
    Column("Free", text=lambda row: _number(row["free"]), styles={"0": "red"}),
    Column("Full", key="percent", text=_full, styles={"100 %": "red"}),
    Column("Lost", "TAKEN BY", shown=False),
    quiet="Network",
)
ADDRESSES = Listing(
    Column("Address", match=ADDRESS),
    Column("Holder", styles={ENDPOINT: "green", OTHER: "yellow", VOID: "yellow"}),
    container_column(),
    Column("IfName"),
    Column("ID", "ENDPOINT ID", short=12, match=PREFIX),
    Column("Leased", shown=False),
    Column("ContainerID", key="container_id", match=EQUAL, shown=False),
    quiet="Address",
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("ipam", help="show how full subnets are, and who holds each address")
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)

    ls = verbs.add_parser("ls", help="list the ranges of all networks: size, used, reserved and free addresses")
    RANGES.add_options(ls)
    ls.set_defaults(verb=list_ranges)

    show = verbs.add_parser(
        "show",
        help="show the ranges of a network, and who holds each address",
        description="Show the ranges of a network and a bar for each, then who holds each address: 'endpoint', "
        f"'{GATEWAY}', '{DOCKER_RESERVED}', '{OTHER}' (a lease that no record here names), or '{VOID}' (a lease from "
        "before the last boot, given again when no other address is free). With an option that chooses rows or their "
        "form only the addresses are printed.",
    )
    show.add_argument("network", help="name, id or the beginning of an id")
    ADDRESSES.add_options(show)
    show.set_defaults(verb=show_network)


def list_ranges(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    records = list(endpoint_records(controller.host.store))
    RANGES.show(
        arguments,
        (
            _range(network.name, one)
            for network in controller.networks()
            for one in use_of(controller.host, network.record, records).ranges
        ),
    )


def show_network(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    network = find_network(controller, arguments.network)
    use = use_of(controller.host, network.record)
    ranges, holders = [_range(network.name, one) for one in use.ranges], list(map(_holder, use.holders))
    if arguments.json:
        chosen = ADDRESSES.matching(arguments, holders)
        head = {"network": network.name, "ipam": network.record.ipam_type, "leases": use.folder}
        write(json.dumps({**head, "ranges": ranges, "addresses": chosen}, indent=4))
        return
    if not (arguments.quiet or arguments.format or arguments.filter):
        where = f", leases in {one_line(use.folder)}" if use.folder else ""
        write(f"{network.name}: ipam {one_line(network.record.ipam_type or 'none')}{where}", "")
        lost = any(one.lost for one in use.ranges)
        RANGES.table(ranges, whole=arguments.no_trunc, fields=RANGE_FIELDS if lost else RANGE_FIELDS[:-1])
        bars = [(str(one.subnet), f"[{bar}]") for one in use.ranges if (bar := one.bar(BAR))]
        write("", *(plain(bars[0], bars[1:]) if bars else ()), *([LEGEND] if bars else ()), "")
        sys.stdout.flush()
    ADDRESSES.show(arguments, holders)


def _range(network: str, use: RangeUse) -> dict[str, Any]:
    return {
        "network": network,
        "subnet": str(use.subnet),
        "range": f"{use.first}-{use.last}" if use.first is not None else "",
        "gateway": str(use.gateway or ""),
        "size": use.size,
        "used": len(use.used),
        "reserved": len(use.reserved),
        "free": use.free,
        "percent": use.percent,
        "lost": use.lost,
    }


def _holder(holder: Holder) -> dict[str, Any]:
    endpoint = holder.endpoint
    return {
        "address": str(holder.address),
        "holder": holder.kind if holder.leased else f"{holder.kind} without a lease",
        "container": endpoint.container if endpoint else holder.container_id,
        "container_id": holder.container_id,
        "ifname": holder.ifname,
        "id": endpoint.record.id if endpoint else "",
        "leased": holder.leased,
    }
