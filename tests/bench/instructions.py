"""User instructions of a call: what it costs in Python, without the noise of a clock. Run by scripts/measure.

service   a warm ADD and DEL by the service's request handler: the 21st to 40th pair of a process, by the pair
start     processes of the built program: VERSION, and ADD and DEL on a node that has no service

Callgrind counts user instructions; the kernel's are not in the figure. Each figure is the median of three runs with one
order of hashes (PYTHONHASHSEED=0). Compare only figures of one machine, one Python and one libc.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.bench.pairs import BARE, CONFIGURATIONS, COUNTED, MARK, WARM_UP, environ, pod
from tests.program import ROOT
from tests.system.node import Node

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNS = 3
COUNTS = "/run/counts"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/measure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=["service", "start"], help="service, start (default: both)")
    parser.add_argument("--source", type=Path, default=ROOT, metavar="FOLDER", help="`service` of another checkout")
    parser.add_argument(
        "--program", type=Path, default=ROOT / "dist/lib/cni-cnm/current/cni-cnm", metavar="FILE",
        help="`start` of another built program",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every run")
    options = parser.parse_args()
    if unknown := set(options.what) - {"service", "start"}:
        parser.error(f"{' '.join(unknown)}: it must be service or start")
    if shutil.which("valgrind") is None:
        sys.exit("measure: valgrind is missing; scripts/measure installs it on Debian")
    found: dict[str, list[int]] = {}
    for _ in range(RUNS):
        if "service" in options.what:
            for name in CONFIGURATIONS:
                found.setdefault(f"service {name}", []).append(service(options.source.resolve(), name))
        if "start" in options.what:
            for verb, instructions in start(options.program.resolve()).items():
                found.setdefault(f"start {verb}", []).append(instructions)
    version = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"python {sys.version.split()[0]}, {version}, kernel {os.uname().release}")
    for name, figures in found.items():
        spread = (max(figures) - min(figures)) / median(figures) * 100
        print(f"{name:13} {median(figures) / 1e6:8.3f} million instructions, {spread:.2f} % between runs")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


def service(source: Path, name: str) -> int:
    """Instructions of a warm pair in a process that has imported the service of the checkout `source`."""
    node = node_with(WARM_UP + COUNTED)
    try:
        command = [*_callgrind(f"--dump-before={MARK}"), sys.executable, "-m", "tests.bench.pairs", name]
        node.run(*command, env={"PYTHONHASHSEED": "0", "PYTHONPATH": str(source)}, timeout=600).ok()
        return _counted(node, part="2") // COUNTED
    finally:
        node.close()


def start(program: Path) -> dict[str, int]:
    """Instructions of the built program by verb, on a node where the network was made and removed from before."""
    node = node_with(2)
    node.path("/etc/cni-cnm/config.toml").unlink()  # as most hosts are: a file with values costs 46 million
    try:
        for verb in ("ADD", "DEL"):
            _call(node, [str(program)], verb, 0)
        found = {}
        for verb in ("VERSION", "ADD", "DEL"):
            _call(node, [*_callgrind(), str(program)], verb, 1)
            found[verb] = _counted(node)
        return found
    finally:
        node.close()


def node_with(pods: int) -> Node:
    node = Node()
    node.write("/etc/cni-cnm/config.toml", 'log = "none"\n')
    for number in range(pods):
        node.add_netns(pod(number))
    return node


def _call(node: Node, command: Sequence[str], verb: str, number: int) -> None:
    node.run(*command, stdin=json.dumps(BARE), env={**environ(verb, number), "PYTHONHASHSEED": "0"}, timeout=600).ok()


def _callgrind(*options: str) -> list[str]:
    out = f"--callgrind-out-file={COUNTS}.%p"
    return ["valgrind", "--quiet", "--tool=callgrind", "--trace-children=yes", out, *options, "--"]


def _counted(node: Node, part: str = "") -> int:
    """Instructions in the files that callgrind has left, one for each process, or in one part of the only process."""
    total = 0
    for path in node.path("/run").glob(f"{os.path.basename(COUNTS)}.*"):
        if not part or path.suffix == f".{part}":
            total += sum(map(int, re.findall(r"^totals: (\d+)", path.read_text(encoding="utf-8"), re.MULTILINE)))
        path.unlink()
    if not total:
        sys.exit("measure: callgrind counted nothing")
    return total


if __name__ == "__main__":
    sys.exit(main())
