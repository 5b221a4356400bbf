"""Print a table of faults put into the built program: python -m tests.faults [--every] [--where W] [KIND…]

KIND is ADD, DEL, create or rm. W is relay or program (default), or service. --every: each fault at each system call,
not one of them in turn. --part N/M: every Mth point from the Nth on. As root.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from tests.faults.judgement import Faulty, Outcome
from tests.faults.system_calls import points
from tests.program import built


def outcomes(kind: str, where: str, *, every: bool, part: tuple[int, int]) -> Iterator[Outcome]:
    host = Faulty(built() / "cni-cnm", where)
    try:
        chosen = list(points(host.calls(kind), every=every))
        for point in chosen[part[0] :: part[1]]:
            yield host.outcome(kind, point)
    finally:
        host.close()


def row(name: str, found: list[Outcome]) -> str:
    counts = (sum(bool(one[place]) for one in found) for place in range(1, 5))
    return f"{name:<20}{len(found):>8}" + "".join(f"{count:>12}" for count in counts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--where", default="program")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("kind", nargs="*", default=["ADD", "DEL", "create", "rm"])
    chosen = parser.parse_args()
    first, step = map(int, chosen.part.split("/"))
    os.environ["CNI_CNM_UNDER_TEST"] = "service" if chosen.where == "service" else "bundle"
    rows, bad = [], 0
    for kind in chosen.kind:
        found = []
        for one in outcomes(kind, chosen.where, every=chosen.every, part=(first, step)):
            found.append(one)
            if one.bad:
                bad += 1
                print(kind, one, file=sys.stderr, flush=True)
        rows.append(row(f"{kind} {chosen.where}", found))
        print(rows[-1], file=sys.stderr, flush=True)
    heads = ("points", "no answer", "traceback", "wrong code", "left")
    print(f"{'':<20}{heads[0]:>8}" + "".join(f"{head:>12}" for head in heads[1:]), *rows, sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
