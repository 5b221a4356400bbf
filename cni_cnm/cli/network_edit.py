"""`cni-cnm network edit`: change a network that exists, and the file that configures it."""

from __future__ import annotations

from argparse import BooleanOptionalAction
from typing import Any

from cni_cnm.cli.network_create import add_conflist_options, pairs, ranges
from cni_cnm.conflists import changes, edit
from cni_cnm.conflists.changes import Changes
from cni_cnm.errors import InvalidConfig
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure(verbs: Any) -> None:
    parser = verbs.add_parser(
        "edit",
        help="change a network: subnets, exceptions of masquerade, options, labels",
        description="Change a network. What is not named stays. While it has endpoints, its subnets may change as long "
        "as they hold every address, and exceptions of masquerade at any time. A network that a file configures is "
        "changed with --conflist only: together with the file.",
    )
    parser.add_argument("network", help="name, id or the beginning of an id")
    parser.add_argument(
        "--subnet",
        action="append",
        default=[],
        metavar="CIDR",
        help="in the place of its subnets, once for each family",
    )
    parser.add_argument(
        "--gateway", action="append", default=[], help="gateway address of the subnet at the same position"
    )
    parser.add_argument("--internal", action=BooleanOptionalAction, help="no default route, no masquerade")
    parser.add_argument(
        "--masquerade-except",
        action="append",
        metavar="CIDR",
        help="in the place of the destinations to which containers keep their address; 'none' for no destination",
    )
    parser.add_argument("-o", "--opt", action="append", default=[], metavar="KEY=VALUE", help="driver option")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="metadata")
    parser.add_argument(
        "--allow-overlap", action="store_true", help="allow a subnet that overlaps with another network or the host"
    )
    add_conflist_options(parser, "also change the file that configures it for CNI runtimes")
    parser.set_defaults(verb=edit_network)


def edit_network(arguments: argparse.Namespace) -> None:
    wanted = _changes(arguments)
    controller = open_controller()
    name = controller.network(arguments.network).name
    with controller.host.store.lock(f"edit/{name}"):  # of two edits at once the second one adds to the first
        network = controller.network(name)
        for sentence in edit.edit(network, wanted, arguments.conf_dir, with_file=arguments.conflist):
            say(f"cni-cnm: {sentence}")
    print(name)


def _changes(arguments: argparse.Namespace) -> Changes:
    excepted = arguments.masquerade_except
    wanted = changes.Changes(
        ranges(arguments.subnet, arguments.gateway),
        arguments.internal,
        [] if excepted == ["none"] else excepted,
        pairs(arguments.opt, "--opt"),
        pairs(arguments.label, "--label"),
        arguments.allow_overlap,
    )
    if wanted == Changes([]):
        raise InvalidConfig(
            "no change is named", hint="there are --subnet, --internal, --masquerade-except, --opt and --label"
        )
    return wanted
