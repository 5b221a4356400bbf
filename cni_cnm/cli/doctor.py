"""`cni-cnm doctor`: what is wrong with this host and its containers, and the commands that repair it."""

from __future__ import annotations

import gc
import json
import sys
from typing import Any

from cni_cnm.cnm.records import network_records
from cni_cnm.doctor.diagnose import CHECKS, diagnose, fix
from cni_cnm.doctor.picture import Picture
from cni_cnm.find.endpoints import FORMS, find_endpoints
from cni_cnm.frontend.one_line import one_line
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.doctor.diagnose import Diagnosis

FINDINGS_LEFT = 3
"""Exit code."""


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "doctor",
        help="say what is wrong with this host and its containers, and the command that repairs it",
        description="Looks at this host and at its containers, and says for each fault what is wrong, why it matters, "
        "and the command that repairs it. Writes nothing without --fix. Exit code 0: nothing was found, or nothing is "
        "left. 3: findings are left. 1: the host cannot be looked at.",
    )
    parser.add_argument("container", nargs="*", help=f"of containers look into these only, each {FORMS}")
    parser.add_argument("--fix", action="store_true", help="repair what is safe to repair, after showing it")
    parser.add_argument("--reach", action="store_true", help="send packets to the other hosts of the cluster, too")
    parser.add_argument("--check", action="append", choices=CHECKS, metavar="NAME", help=f"only: {', '.join(CHECKS)}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(verb=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    gc.disable()  # it would look at thousands of records again and again; this process ends soon
    host = open_controller().host
    for _ in network_records(host.store):  # without the right to read them: one error, not one for each check
        break
    only = _endpoints(host, arguments.container) if arguments.container else None
    names = arguments.check or CHECKS

    def look() -> Diagnosis:
        with Picture(host, only=only, reach=arguments.reach) as picture:
            return diagnose(picture, names)

    found = look()
    if not arguments.json:
        _show(found)
    repaired: Sequence[str] = ()
    stayed: Sequence[str] = ()
    if arguments.fix and any(finding.safe for _, finding in found.findings):
        repaired, before = list(fix(host, found)), found
        found = look()
        stayed = [one.what for name, one in before.findings if one.safe and (name, one) in found.findings]
        stayed = [what for what in stayed if not any(sentence.startswith(what) for sentence in repaired)]
    if arguments.json:
        print(json.dumps({**_as_json(found), "repaired": list(repaired)}, indent=4))
    else:
        for sentence in repaired:
            print(f"repaired: {one_line(sentence)}")
        for sentence in stayed:
            print(f"not repaired: {one_line(sentence)}")
        _summarize(found, fixed=arguments.fix)
    return FINDINGS_LEFT if found.findings else 0


def _endpoints(host: Host, wanted: Sequence[str]) -> set[str]:
    return {one.record.id for word in wanted for one in find_endpoints(host, word)}


def _show(found: Diagnosis) -> None:
    said = ""
    for name, finding in found.findings:
        _line("bold yellow", f"{name}: {one_line(finding.what)}")
        if finding.why != said:
            _line("", f"    why: {one_line(finding.why)}")
        said = finding.why
        for command in finding.commands:
            _line("cyan", f"    run: {one_line(command)}")
    for name, left in found.unchecked:
        _line("dim", f"{name}: not checked: {one_line(left.what)}: {one_line(left.reason)}")


def _line(style: str, text: str) -> None:
    """One line, which a terminal wraps: a command can be copied whole."""
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console
    from rich.text import Text

    Console(file=sys.stdout, highlight=False).print(Text(text, style), soft_wrap=True)


def _summarize(found: Diagnosis, *, fixed: bool) -> None:
    findings, unchecked = len(found.findings), len(found.unchecked)
    safe = sum(finding.safe for _, finding in found.findings)
    words = [f"{findings or 'no'} finding{'s' * (findings != 1)}{' left' * bool(fixed and findings)}"]
    if unchecked:
        words.append(f"{unchecked} not checked")
    if safe and not fixed:
        words.append(f"`cni-cnm doctor --fix` repairs {safe} of them")
    print(", ".join(words))


def _as_json(found: Diagnosis) -> dict[str, Any]:
    return {
        "findings": [
            {
                "check": name,
                "object": finding.about,
                "what": finding.what,
                "why": finding.why,
                "commands": list(finding.commands),
                "safe": finding.safe,
            }
            for name, finding in found.findings
        ],
        "unchecked": [{"check": name, "what": one.what, "reason": one.reason} for name, one in found.unchecked],
    }
