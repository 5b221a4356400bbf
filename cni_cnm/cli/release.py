"""`cni-cnm release`: leave a network that was adopted to the reference plugins again, in place."""

from __future__ import annotations

import json
import sys
from typing import Any

from cni_cnm.adopt import adoption
from cni_cnm.adopt import release as releasing
from cni_cnm.cli.attachments import ATTACHMENTS, say_unfinished
from cni_cnm.cli.listing import write
from cni_cnm.errors import CnmError, InvalidConfig
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from cni_cnm.adopt.release import Plan, Return


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "release",
        help="leave an adopted network to the reference plugins again, with its living containers",
        description="Show what of a network that `cni-cnm adopt` has taken over would be the reference plugins' again. "
        "With --yes it is done: containers keep their interfaces, addresses and connections, also those that were made "
        "since. It is refused if the plugins cannot have one of them. After a kill the same command goes on.",
    )
    parser.add_argument("network", help="the network's name")
    parser.add_argument("--yes", action="store_true", help="do it; without it, it is only shown")
    parser.add_argument("--discard-edit", action="store_true", help="put the file back although it was edited")
    parser.add_argument("--json", action="store_true", help="print an object")
    parser.set_defaults(verb=release)


def release(arguments: argparse.Namespace) -> int:
    """Exit code 1 if it is not possible."""
    host, name = open_controller().host, arguments.network
    if arguments.discard_edit and not arguments.yes:
        raise InvalidConfig("--discard-edit is given without --yes, and nothing is changed then", hint="add --yes")
    found = releasing.make(host, name)
    say_unfinished(host, name)
    _show(found, as_json=arguments.json)
    if not arguments.yes:
        if any(one.reason for one in found.returns):
            say("cni-cnm: nothing was changed; remove the endpoints that are refused, then release the network")
            return 1
        again = f"cni-cnm release {name} --yes{' --discard-edit' if found.edited else ''}"
        say(f"cni-cnm: nothing was changed; `{again}` does this")
        return 0
    with adoption.lock(host, name):
        try:
            releasing.release(host, name, discard_edit=arguments.discard_edit)
        except CnmError:
            say_unfinished(host, name)
            raise
    say(f"cni-cnm: the network {name} is the reference plugins' again")
    return 0


def _show(found: Plan, *, as_json: bool) -> None:
    rows = [_row(one) for one in found.returns]
    sentences = list(releasing.changes(found))
    if as_json:
        shown = {"network": found.network, "file": found.state.path, "endpoints": rows, "changes": sentences}
        write(json.dumps(shown, indent=4))
        return
    if rows:
        ATTACHMENTS.table(rows)
    for sentence in sentences:
        print(one_line(sentence))
    sys.stdout.flush()  # what is said to stderr comes after it
    if found.edited:
        say(f"cni-cnm: {found.state.path} was {found.edited} since; --discard-edit puts it back all the same")


def _row(one: Return) -> Mapping[str, Any]:
    record = one.record
    return {
        "network": record.network,
        "container": record.container_id or record.name,
        "interface": record.ifname,
        "addresses": [str(address.interface) for address in record.addresses],
        "state": releasing.REFUSED if one.reason else releasing.READY,
        "reason": one.reason,
    }
