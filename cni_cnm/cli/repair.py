"""`cni-cnm repair`: put right what other programs have removed or changed of our networks on this host."""

from __future__ import annotations

from typing import Any

from cni_cnm.cnm.reconcile.reconcile import compare, reconcile
from cni_cnm.cnm.records import network_records
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("repair", help="put right what other programs removed of networks, leases, packet filter")
    parser.add_argument("--dry-run", action="store_true", help="show what differs, and change nothing")
    parser.set_defaults(verb=repair)


def repair(arguments: argparse.Namespace) -> int:
    """One line for each repair. Exit code 1 if something could not be repaired."""
    host = open_controller().host
    for _ in network_records(host.store):  # without the right to read them: one error, not one for each part
        break
    if arguments.dry_run:
        for difference in compare(host):
            print(one_line(difference.sentence))
        return 0
    failures: dict[str, None] = {}
    for outcome in reconcile(host):
        if outcome.result == "failed":
            failures.setdefault(outcome.sentence)
        else:
            print(one_line(outcome.sentence))
    for sentence in failures:
        say(f"cni-cnm: {sentence}")
    return int(bool(failures))
