"""Counts of the service's calls against recorded ones: a change that makes a pod dearer is seen. Run by scripts/bench.

system calls       of the thread that handles a warm ADD and DEL, without waiting and memory: exact
netlink messages   that it sends: exact
instructions       as scripts/measure counts them (bare, the median of three runs): within 3 %

Left out are questions about tracked connections: whether there are any is up to the host. What depends on versions of
Python and of valgrind is compared only where these are the recorded ones.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

from tests.bench import instructions
from tests.bench.pairs import CONFIGURATIONS, COUNTED, MARK, WARM_UP
from tests.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Counts = Mapping[str, Mapping[str, float]]

TOLERANCE = 0.03
RUNS = 3
TRACE = "/run/trace"
_WAITING = frozenset((
    "poll", "futex", "restart_syscall", "clock_nanosleep", "mmap", "munmap", "mprotect", "brk", "madvise", "mremap",
))  # fmt: skip
_CALL = re.compile(r"(\w+)\((\d*)")


def main(arguments: list[str]) -> int:
    if not arguments or arguments[1:] not in ([], ["--record"]):
        sys.exit("usage: scripts/bench --gate FILE [--record]")
    if shutil.which("strace") is None:
        sys.exit("bench: strace is missing; scripts/setup installs it on Debian")
    path, record = arguments[0], bool(arguments[1:])
    found: dict[str, Any] = {"versions": versions(), "counts": counts(), "million instructions": million()}
    if record:
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps(found, indent=1) + "\n")
        print(f"bench: recorded in {path}")
        return 0
    with open(path, encoding="utf-8") as file:
        recorded = json.load(file)
    differences = [*compared(recorded, found)]
    for difference in differences:
        print(f"bench: {difference}")
    if differences:
        print(f"bench: if that is meant, `scripts/bench --gate {path} --record` in the same commit, with the reason")
        return 1
    print(f"bench: as recorded in {path}")
    return 0


def compared(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> Iterable[str]:
    """A sentence for each difference that counts."""
    same = {name: recorded["versions"].get(name) == version for name, version in found["versions"].items()}
    for place, before in recorded["counts"].items():
        for kind, number in before.items():
            now = found["counts"][place][kind]
            if now != number and (kind != "system calls" or same["python"]):
                yield f"{place}: {now:g} {kind} a pair of ADD and DEL, recorded are {number:g}"
    if not all(same.values()):
        return
    for place, number in recorded["million instructions"].items():
        now = found["million instructions"].get(place, number)
        if abs(now - number) > TOLERANCE * number:
            yield f"{place}: {now} million instructions a pair of ADD and DEL, recorded are {number}"


def versions() -> dict[str, str]:
    """Of what the counts depend on; "" for valgrind where it is not installed."""
    valgrind = ""
    if shutil.which("valgrind"):
        valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"python": platform.python_version(), "libc": " ".join(platform.libc_ver()), "valgrind": valgrind}


def counts() -> Counts:
    return {name: traced(name) for name in CONFIGURATIONS}


def million() -> dict[str, float]:
    if not shutil.which("valgrind"):
        return {}
    runs = [instructions.service(ROOT, "bare") for _ in range(RUNS)]
    return {"bare": round(median(runs) / 1e6, 3)}


def traced(name: str) -> dict[str, float]:
    """Of one configuration, by the pair of ADD and DEL."""
    node = instructions.node_with(WARM_UP + COUNTED)
    try:
        command = ["strace", "-v", "-o", TRACE, sys.executable, "-m", "tests.bench.pairs", name]
        node.run(*command, env={"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}, timeout=300).ok()
        text = node.path(TRACE).read_text(encoding="utf-8", errors="replace")
    finally:
        node.close()
    lines = re.split(rf"^{MARK}\(", text, flags=re.MULTILINE)[1].splitlines()[1:]
    tracking = {match[1] for line in lines if "CTNETLINK" in line and (match := re.match(r"sendto\((\d+)", line))}
    calls: Counter[str] = Counter()
    messages = 0
    for line in lines:
        match = _CALL.match(line)
        if match is None or match[1] in _WAITING or match[2] in tracking:
            continue
        calls[match[1]] += 1
        messages += line.count("nlmsg_type=") if match[1] == "sendto" else 0
    return {"system calls": sum(calls.values()) / COUNTED, "netlink messages": messages / COUNTED}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
