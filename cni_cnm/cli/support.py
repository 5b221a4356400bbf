"""`cni-cnm support`: one archive for a report of a fault, without secrets."""

from __future__ import annotations

import time
from typing import Any

from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "support",
        help="write an archive for a report of a fault, without secrets",
        description="Writes what a report of a fault needs into one archive of JSON files, which only its owner can "
        "read: versions, settings, counts and states of networks and endpoints, sysctls, what doctor counts, and the "
        "log without its texts. It has no names of pods, labels, values of options, environments, passwords or "
        "kubeconfigs. Read it before you send it: tar xzOf FILE.",
    )
    parser.add_argument("file", nargs="?", help="the archive (default: cni-cnm-support-TIME.tar.gz in this folder)")
    parser.add_argument(
        "--with-addresses",
        action="store_true",
        help="also addresses and routes of this host, rules of other programs, and the sentences of doctor",
    )
    parser.set_defaults(verb=write_archive)


def write_archive(arguments: argparse.Namespace) -> None:
    from cni_cnm.support import archive
    from cni_cnm.support.parts import parts

    path = arguments.file or time.strftime("cni-cnm-support-%Y%m%d-%H%M%S.tar.gz")
    archive.write(path, parts(open_controller().host, addresses=arguments.with_addresses))
    print(path)
    if not arguments.with_addresses:
        say("cni-cnm: without addresses and rules of other programs; --with-addresses adds them")
