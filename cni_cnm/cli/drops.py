"""`cni-cnm drops`: what our rules have dropped on this host, by reason."""

from __future__ import annotations

from typing import Any

from cni_cnm.cli.listing import Column, Listing
from cni_cnm.firewall import TABLES, UNDERLAY
from cni_cnm.firewall.drop_reasons import REASONS
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

DROPS = Listing(
    Column("Reason"),
    Column("Packets", styles={"0": "dim", "": "red"}),
    Column("Bytes"),
    Column("Table", shown=False),
    Column("Meaning"),
    quiet="Reason",
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("drops", help="show how many packets our rules have dropped, by reason")
    DROPS.add_options(parser)
    parser.set_defaults(verb=show_drops)


def show_drops(arguments: argparse.Namespace) -> None:
    """Counters that no rule has yet are not shown."""
    counters = open_controller().host.nft.counters((*TABLES, UNDERLAY))
    found = {one.name: one for one in counters if one.name in REASONS}
    rows = [{"reason": name, **found[name]._asdict(), "meaning": REASONS[name]} for name in REASONS if name in found]
    DROPS.show(arguments, rows)
