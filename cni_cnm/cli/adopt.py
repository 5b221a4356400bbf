"""`cni-cnm adopt`: take over networks and living containers of the reference plugins, in place."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from cni_cnm.adopt import adoption, isolation, plan, take_over
from cni_cnm.adopt.owners import Owners
from cni_cnm.cli.attachments import ATTACHMENTS, say_unfinished
from cni_cnm.cli.listing import write
from cni_cnm.conflists.folder import FOLDER
from cni_cnm.errors import CnmError, InvalidConfig
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.stderr import say
from cni_cnm.reference import cache
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from cni_cnm.adopt.look import Pod
    from cni_cnm.adopt.plan import Plan
    from cni_cnm.cnm.host import Host


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "adopt",
        help="take over a network of the reference plugins, with its living containers",
        description="Show what would be taken over of a network that the reference plugins (bridge, host-local, "
        "portmap, firewall, bandwidth, tuning) or podman have made, and what is left alone and why. With --yes it is "
        "done: containers keep their interfaces, addresses and connections. `cni-cnm release` undoes it. After a "
        "kill the same command goes on.",
    )
    add_options(parser)
    parser.set_defaults(verb=adopt)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", nargs="?", help="the name in its configuration")
    parser.add_argument("--yes", action="store_true", help="do it; without it, it is only shown")
    parser.add_argument("--all", action="store_true", help="all networks that files of --conf-dir configure so")
    parser.add_argument("--json", action="store_true", help="print a JSON array, an object for each network")
    parser.add_argument(
        "--conf-dir",
        metavar="PATH",
        type=os.path.abspath,
        default=FOLDER,
        help=f"the runtime's folder (default: {FOLDER})",
    )
    parser.add_argument(
        "--cache-dir",
        metavar="PATH",
        type=os.path.abspath,
        default=cache.FOLDER,
        help=f"libcni's folder of results (default: {cache.FOLDER})",
    )


def adopt(arguments: argparse.Namespace) -> int:
    """Exit code 1 if a network cannot be taken over."""
    if bool(arguments.network) == arguments.all:
        raise InvalidConfig(
            "either a network or --all must be given",
            hint="`cni-cnm adopt --all` shows all of them, and changes nothing",
        )
    host, owners, code = open_controller().host, Owners(), 0
    found: list[Plan] = []
    for name in [arguments.network] if arguments.network else plan.networks(host, arguments.conf_dir):
        try:
            say_unfinished(host, name)
            found.append(plan.make(host, name, arguments.conf_dir, arguments.cache_dir, owners))
        except CnmError as error:
            say(f"cni-cnm: the network {name} cannot be taken over: {error}")
            code = 1
    found, refused = _with_same_reach(host, found)
    code = refused or code
    _show(found, as_json=arguments.json)
    if arguments.yes:
        return _take_over(host, found) or code
    if any(plan.is_due(host, one) for one in found):
        again = f"cni-cnm adopt {arguments.network or '--all'} --yes"
        say(f"cni-cnm: nothing was changed; `{again}` does this")
    elif not code:
        say("cni-cnm: there is nothing to take over")
    return code


def _with_same_reach(host: Host, found: list[Plan]) -> tuple[list[Plan], int]:
    """Without those that would keep out bridges which they reach. Networks that isolate come last."""
    kept: list[Plan] = []
    code = 0
    for one in sorted(found, key=lambda one: one.look.network.policy.isolates):
        others = [other.look.network.policy.bridge for other in found]
        try:
            if adoption.load(host.store, one.network) is None:
                isolation.require_same_reach(host, one.look.network, others)
            kept.append(one)
        except CnmError as error:
            say(f"cni-cnm: the network {one.network} cannot be taken over: {error}")
            code = 1
    return kept, code


def _take_over(host: Host, found: list[Plan]) -> int:
    code = 0
    for one in found:
        try:
            with adoption.lock(host, one.network):
                notes = take_over.take_over(host, one)
        except CnmError as error:
            say(f"cni-cnm: the network {one.network} is not taken over: {error}")
            say_unfinished(host, one.network)
            code = 1
            continue
        for sentence in notes:
            say(f"cni-cnm: {sentence}")
        say(f"cni-cnm: the network {one.network} is taken over; `cni-cnm release {one.network}` undoes it")
    return code


def _show(found: list[Plan], *, as_json: bool) -> None:
    rows = [_row(pod) for one in found for pod in one.pods]
    if as_json:
        write(json.dumps([_object(one) for one in found], indent=4))
        return
    if rows:
        ATTACHMENTS.table([{**row, "reason": _short(row["reason"])} for row in rows])
    for one in found:
        for sentence in plan.changes(one):
            print(one_line(sentence))
    sys.stdout.flush()  # what is said to stderr comes after it


def _short(reason: str) -> str:
    """The first of several."""
    first, *others = reason.split("; ")
    return f"{first} ({len(others)} more with --json)" if others else first


def _object(one: Plan) -> Mapping[str, Any]:
    pods = [_row(pod) for pod in one.pods]
    return {"network": one.network, "file": one.conflist.path, "pods": pods, "changes": list(plan.changes(one))}


def _row(pod: Pod) -> Mapping[str, Any]:
    network, container, ifname = pod.key
    return {
        "network": network,
        "container": container,
        "interface": ifname,
        "addresses": list(pod.addresses),
        "state": pod.state,
        "reason": pod.reason,
    }
