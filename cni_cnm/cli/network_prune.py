"""`cni-cnm network prune`: remove networks that nothing uses."""

from __future__ import annotations

import sys
from typing import Any

from cni_cnm.adopt import adoption
from cni_cnm.cli.listing import Column, Listing
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.conflists import folder
from cni_cnm.errors import ActiveEndpoints, InvalidConfig
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.objects.network import Network

CHOICE = Listing(Column("Name"), Column("Driver"), Column("Labels", filter="label"), quiet="Name")


def configure(verbs: Any) -> None:
    prune = verbs.add_parser(
        "prune",
        help="remove networks that have no endpoints",
        description="Remove all networks that have no endpoints and that Docker does not use. They are listed first. A "
        "network that a runtime's configuration names is made again when the next container joins it, and without a "
        "subnet in the configuration it may get another one.",
    )
    prune.add_argument("--dry-run", action="store_true", help="list them, and remove nothing")
    prune.add_argument("-y", "--yes", action="store_true", help="do not ask")
    CHOICE.add_filter(prune)
    prune.set_defaults(verb=prune_networks)


def prune_networks(arguments: argparse.Namespace) -> int:
    controller = open_controller()
    unused = _unused(controller.host, controller.networks())
    rows = [{"name": one.name, "driver": one.driver, "labels": dict(one.labels)} for one in unused]
    names = {row["name"] for row in CHOICE.matching(arguments, rows)}
    chosen = [network for network in unused if network.name in names]
    if arguments.dry_run or not chosen:
        print(*(network.name for network in chosen), sep="\n", end="\n" if chosen else "")
        return 0
    if not arguments.yes and not _agreed([network.name for network in chosen]):
        say("cni-cnm: nothing was removed")
        return 1
    for network in chosen:
        try:
            for note in network.delete():
                say(f"cni-cnm: {note}")
            left = folder.still_configuring(folder.FOLDER, network.name)
            for sentence in (*left, *adoption.after_network_removal(controller.host, network.name)):
                say(f"cni-cnm: {sentence}")
        except ActiveEndpoints as error:  # a container has joined meanwhile
            say(f"cni-cnm: kept: {error.msg}")
            continue
        print(network.name)
    return 0


def _unused(host: Host, networks: Any) -> list[Network]:
    used = {record.network_id for record in endpoint_records(host.store)}
    return [one for one in networks if one.id not in used and not one.record.docker_networks]


def _agreed(names: list[str]) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidConfig(
            f"{len(names)} networks would be removed, and stdin is no terminal to ask on: {', '.join(names)}",
            hint="--yes removes them without asking",
        )
    say(f"These {len(names)} networks have no endpoints: {', '.join(names)}")
    say("Remove them? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
