"""Load for a running service, from inside its namespaces: python -m tests.system.soak RELAY PID STEP…

attach N      N pods, 16 at once; prints the memory of the service's processes in KiB, what they share counted once
cycle N       N times ADD and DEL, in rounds of 100 pods, 16 at once; prints it about ten times, last at the end
detach N      the pods of `attach`
"""

from __future__ import annotations

import subprocess
import sys

from tests.bench.measure import Contender, Link, Pod, burst

SCRATCH = "/run/soak"
ROUND = 100
CONF = {
    "cniVersion": "1.0.0", "name": "soak", "type": "cni-cnm", "bridge": "soak0", "isGateway": True, "ipMasq": True,
    "ipam": {"type": "host-local", "subnet": "10.90.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]},
}  # fmt: skip


def main(relay: str, pid: int, steps: list[str]) -> None:
    subprocess.run(["mkdir", "-p", SCRATCH], check=True)
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CNI_PATH": "/nowhere", "CNI_CNM_PROGRAM": "/bin/false"}
    contender = Contender("service", (Link(relay, CONF),), environ)
    for step, count in zip(steps[::2], map(int, steps[1::2]), strict=True):
        if step == "cycle":
            cycled = pods("cycle", ROUND)
            for number in range(0, count, ROUND):
                burst(contender, "ADD", cycled, 16, SCRATCH)
                burst(contender, "DEL", cycled, 16, SCRATCH)
                if number % max(ROUND, count // 10) == 0:
                    print(memory_kib(pid), flush=True)
        else:
            burst(contender, {"attach": "ADD", "detach": "DEL"}[step], pods("pod", count), 16, SCRATCH)
        print(memory_kib(pid), flush=True)


def pods(name: str, count: int) -> list[Pod]:
    for number in range(count):
        subprocess.run(["ip", "netns", "add", f"{name}{number}"], stderr=subprocess.DEVNULL)
    return [Pod(f"{name}{number:050d}", f"/run/netns/{name}{number}", number) for number in range(count)]


def memory_kib(supervisor: int) -> int:
    """Proportional set size of the supervisor and its children."""
    with open(f"/proc/{supervisor}/task/{supervisor}/children") as children:
        pids = [supervisor, *map(int, children.read().split())]
    return sum(map(_pss_kib, pids))


def _pss_kib(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
