"""`cni-cnm conf`: the files that configure networks for CNI runtimes, and what is in effect of them."""

from __future__ import annotations

import json
from typing import Any

from cni_cnm import validate
from cni_cnm.cli.listing import PART, Column, Listing
from cni_cnm.conflists import check as checks
from cni_cnm.conflists import shown
from cni_cnm.conflists.folder import FOLDER
from cni_cnm.errors import NoSuchNetwork
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.conflists.check import Checked


KEYS = Listing(
    Column("Key", match=PART), Column("Value"), Column("Source", match=PART, styles={shown.DEFAULT: "dim"}), quiet="Key"
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("conf", help="explain and check the files that configure networks for CNI runtimes")
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)

    check = verbs.add_parser(
        "check",
        help="say what files mean and what is wrong in them",
        description="Say what each file means, and what a runtime or this program would refuse or ignore, with the "
        "line. Nothing is changed. Exit code 1 if there is an error.",
    )
    check.add_argument("file", nargs="+", help="a .conflist, .conf or .json file")
    check.add_argument("--conf-dir", metavar="PATH", default=FOLDER, help=f"the runtime's folder (default: {FOLDER})")
    check.add_argument(
        "--bin-dir",
        metavar="PATH",
        action="append",
        help=f"where the runtime finds plugins (default: {', '.join(checks.BIN_FOLDERS)})",
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(verb=check_files)

    show = verbs.add_parser(
        "show",
        help="show what is in effect of a network, with defaults",
        description="Show every key of a network as it is in effect, and where its value is from: a line of a file, a "
        "default, or the command that made the network.",
    )
    show.add_argument("network", help="name, id or the beginning of an id")
    show.add_argument("--conf-dir", metavar="PATH", default=FOLDER, help=f"the runtime's folder (default: {FOLDER})")
    KEYS.add_options(show)
    show.set_defaults(verb=show_network)


def check_files(arguments: argparse.Namespace) -> int:
    host = open_controller().host
    found = {
        path: checks.check(path, host, folder=arguments.conf_dir, bin_folders=arguments.bin_dir or checks.BIN_FOLDERS)
        for path in arguments.file
    }
    if arguments.json:
        print(json.dumps([_as_json(path, checked) for path, checked in found.items()], indent=4))
    else:
        print("\n\n".join(_as_text(path, checked) for path, checked in found.items()))
    return int(any(checked.failed for checked in found.values()))


def show_network(arguments: argparse.Namespace) -> None:
    controller, name = open_controller(), arguments.network
    try:
        name = controller.network(name).name
    except NoSuchNetwork:  # a file may configure it
        name = validate.require(validate.network_name, name, "a network's name")
    rows, notes = shown.rows(controller.host, name, arguments.conf_dir)
    KEYS.show(arguments, rows)
    for sentence in notes:
        say(f"cni-cnm: {sentence}")


def _as_text(path: str, checked: Checked) -> str:
    lines = [_headline(path, checked)]
    width = max((len(term) for term, _ in checked.meaning), default=0)
    before = ""
    for term, sentence in checked.meaning:
        lines.append(f"  {'' if term == before else term:<{width}}  {sentence}")
        before = term
    for one in checked.findings:
        where = f"{path}:{one.line}" if one.line else path
        hint = f" ({one.hint})" if one.hint else ""
        lines.append(f"{where}: {one.severity}: {one.message}{hint}")
    if not checked.findings:
        lines.append("nothing is wrong")
    return "\n".join(map(one_line, lines))


def _headline(path: str, checked: Checked) -> str:
    conflist = checked.conflist
    if conflist is None:
        return f"{path}: no configuration that a runtime can read"
    types = " → ".join(entry.type or "?" for entry in conflist.entries)
    version = conflist.document.get("cniVersion", "0.1.0")
    return f"{path}: network {conflist.name or '?'}, CNI {version}, plugins {types}"


def _as_json(path: str, checked: Checked) -> dict[str, Any]:
    conflist = checked.conflist
    return {
        "file": path,
        "network": conflist.name if conflist else "",
        "plugins": [entry.type for entry in conflist.entries] if conflist else [],
        "meaning": [{"term": term, "sentence": sentence} for term, sentence in checked.meaning],
        "findings": [one._asdict() for one in checked.findings],
    }
