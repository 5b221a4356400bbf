"""`cni-cnm repair`: put right what other programs have removed or changed of our networks on this host."""

from __future__ import annotations

import sys
from typing import Any

from cni_cnm.cnm.reconcile.reconcile import compare, reconcile
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
    if arguments.dry_run:
        for difference in compare(host):
            print(difference.sentence)
        return 0
    failed = False
    for outcome in reconcile(host):
        failed = failed or outcome.result == "failed"
        print(outcome.sentence, file=sys.stderr if outcome.result == "failed" else sys.stdout)
    return int(failed)
