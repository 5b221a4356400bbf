"""`cni-cnm node`: the hosts of the cluster that this one belongs to."""

from __future__ import annotations

import json
from typing import Any

from cni_cnm.cli.listing import ADDRESS, PART, PREFIX, Column, Listing
from cni_cnm.cli.names import each
from cni_cnm.cnm.network import cluster_networks, join_overlay
from cni_cnm.errors import NotFound
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.cluster.values import Snapshot
    from cni_cnm.cnm.host import Host

NODES = Listing(
    Column("Node", key="name", text=lambda row: f"{row['name']} *" if row["this"] else row["name"], match=PART),
    Column("Name", shown=False, match=PART),
    Column("State", styles={"alive": "green", "silent": "red", "": "yellow"}),
    Column("Addresses", filter="address", match=ADDRESS),
    Column(
        "Blocks",
        text=lambda row: [f"{name}: {len(blocks)}" for name, blocks in row["blocks"].items()],
    ),
    Column("Instance", short=12, match=PREFIX, wide=True),
    Column("MAC", shown=False),
    quiet="Name",
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("node", help="list, show and remove the hosts of the cluster")
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)

    ls = verbs.add_parser("ls", help="list hosts")
    NODES.add_options(ls)
    ls.set_defaults(verb=list_nodes)

    inspect = verbs.add_parser("inspect", help="show hosts, their blocks, and what this kernel has for them, as JSON")
    inspect.add_argument("node", nargs="+", help="its name")
    inspect.set_defaults(verb=inspect_nodes)

    rm = verbs.add_parser("rm", help="remove hosts that are gone for good; their blocks are free then")
    rm.add_argument("--force", action="store_true", help="also a host that shows life, and this host with endpoints")
    rm.add_argument("node", nargs="+", help="its name")
    rm.set_defaults(verb=remove_nodes)


def list_nodes(arguments: argparse.Namespace) -> None:
    host = open_controller().host
    snapshot = _snapshot(host)
    me = join_overlay.membership(host).host().name
    NODES.show(arguments, ({**_shown(snapshot, name), "this": name == me} for name in _names(snapshot)))


def inspect_nodes(arguments: argparse.Namespace) -> int:
    from cni_cnm.kernel import entries_of_host

    snapshot = _snapshot(open_controller().host)
    found: dict[str, dict[str, Any]] = {}

    def inspect(name: str) -> None:
        if name not in _names(snapshot):
            raise NotFound(f"there is no host {name[:80]!r}", hint="`cni-cnm node ls` lists them")
        shown = found[name] = _shown(snapshot, name)
        blocks = {subnet for block in snapshot.blocks.values() if block.host == name for subnet in block.subnets}
        shown["kernel"] = entries_of_host.read(blocks, shown["mac"])

    code = each(arguments.node, inspect)
    if found:
        print(json.dumps(list(found.values()), indent=4))
    return code


def remove_nodes(arguments: argparse.Namespace) -> int:
    host = open_controller().host

    def remove(name: str) -> None:
        for block in cluster_networks.remove_host(host, name, force=arguments.force):
            say(f"cni-cnm: {' and '.join(map(str, block.subnets))} of the network {block.network} is free")
        print(name)

    return each(arguments.node, remove)


def _snapshot(host: Host) -> Snapshot:
    found = cluster_networks.view(host)
    for sentence in found.skipped:
        say(f"cni-cnm: {sentence}")
    return found.snapshot


def _names(snapshot: Snapshot) -> list[str]:
    """Of hosts, also of one whose record is gone and that has blocks."""
    return sorted({*snapshot.hosts, *(block.host for block in snapshot.blocks.values())})


def _shown(snapshot: Snapshot, name: str) -> dict[str, Any]:
    host = snapshot.hosts.get(name)
    blocks: dict[str, list[str]] = {}
    for block in sorted(snapshot.blocks.values()):
        if block.host == name:
            blocks.setdefault(block.network, []).append(" ".join(map(str, block.subnets)))
    return {
        "name": name,
        "state": "unknown" if host is None else "alive" if name in snapshot.alive else "silent",
        "instance": host.instance if host else "",
        "addresses": [str(address) for address in host.addresses] if host else [],
        "mac": host.mac if host else "",
        "blocks": blocks,
    }
