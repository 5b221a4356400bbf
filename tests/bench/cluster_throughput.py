"""The data path of an overlay network beside devices and routes added by hand. Run by scripts/bench --cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from statistics import median
from time import sleep
from typing import TYPE_CHECKING

from tests.cluster.clusters import network
from tests.overlay.test_data_path import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cluster.values import Direct
    from tests.kernel.lab import Namespace

SECONDS, TURNS = 3, 9
CASES: tuple[tuple[Direct, str, int], ...] = (("never", "a bare VXLAN device", 1450), ("auto", "a plain route", 1500))


def compare() -> Iterator[str]:
    """Two hosts on a switch, a pod behind each. Its second address is reached by what was added by hand."""
    if shutil.which("iperf3") is None:
        sys.exit("bench: iperf3 is missing (Debian: iperf3)")
    for direct, label, mtu in CASES:
        made = Cluster(network(direct=direct), 4)
        try:
            made.apply()
            near, far = made.sites
            for site, other in ((near, far), (far, near)):
                site.host.ip(f"link set pod0 mtu {mtu}")
                site.pod.ip(f"link set eth0 mtu {mtu}")
                site.pod.ip(f"addr add 10.40.{site.number}.2/24 dev eth0")
                site.host.ip(f"addr add 10.40.{site.number}.1/24 dev br-web")
                site.pod.ip(f"route add 10.40.{other.number}.0/24 via 10.40.{site.number}.1")
                gateway = str(other.record(4).addresses[0])
                if direct == "never":
                    local = site.record(4).addresses[0]
                    kind = f"vxlan id 7 dstport 4790 remote {gateway} local {local} nolearning"
                    site.host.ip(f"link add vx0 mtu {mtu} type {kind}")
                    site.host.ip(f"addr add 10.41.0.{site.number + 1}/24 dev vx0")
                    site.host.ip("link set vx0 up")
                    gateway = f"10.41.0.{other.number + 1}"
                site.host.ip(f"route add 10.40.{other.number}.0/24 via {gateway}")
            turns = _turns(near.pod, far.pod, made.address(far, 4), f"10.40.{far.number}.2")
        finally:
            made.close()
        ours, theirs = (median(rates) for rates in zip(*turns, strict=True))
        ratio = median([one / another for one, another in turns])
        shown = f"{ours:.2f} Gbit/s, {label} {theirs:.2f} Gbit/s"
        yield f"throughput  direct {direct}: {shown}; median of the turns' ratios {ratio:.3f}"


def _turns(client: Namespace, server: Namespace, ours: str, theirs: str) -> list[tuple[float, float]]:
    """Gbit/s of both, one after the other, with the order changed each time: the machine's pace changes, too."""
    listening = subprocess.Popen(["nsenter", f"--net={server.path}", "iperf3", "-s"], stdout=subprocess.DEVNULL)
    sleep(0.5)
    rates: dict[str, list[float]] = {ours: [], theirs: []}
    try:
        for turn in range(TURNS):
            for target in (ours, theirs) if turn % 2 else (theirs, ours):
                command = ["nsenter", f"--net={client.path}", "iperf3", "-J", "-c", target, "-t", str(SECONDS)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 30)
                found = json.loads(done.stdout)
                if "error" in found:
                    sys.exit(f"bench: iperf3: {found['error']}")
                rates[target].append(found["end"]["sum_received"]["bits_per_second"] / 1e9)
    finally:
        listening.kill()
        listening.wait()
    return list(zip(rates[ours], rates[theirs], strict=True))
