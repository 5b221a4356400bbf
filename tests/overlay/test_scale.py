"""The agent of a host whose cluster has a thousand hosts: memory, requests, and its work while nothing changes."""

from __future__ import annotations

import json
import os
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from cni_cnm.model import stable_mac
from tests.overlay.test_reach import routes
from tests.waiting import until

if TYPE_CHECKING:
    from tests.overlay.lab import Host, Lab

pytestmark = pytest.mark.long
HOSTS = int(os.environ.get("CNI_CNM_HOSTS", "1000"))
PSS_KB_MAX = 40 << 10
IDLE_S = 60
LIFE_S = 10
TRANSACTION = 100


def keys(network_id: str) -> Iterator[tuple[str, str]]:
    """Made-up hosts behind the router, with a block each, as etcd would have them."""
    for number in range(HOSTS):
        name, instance = f"made{number}", f"{number:032x}"
        address = f"198.18.{number // 250}.{number % 250 + 1}"
        host = {"instance": instance, "addresses": [address], "mac": stable_mac("vtep", instance)}
        yield f"/cni-cnm/hosts/{name}", json.dumps(host)
        block = {"host": name, "instance": instance, "network": network_id}
        yield f"/cni-cnm/blocks/web/{number + 4096}", json.dumps(block)


def put(lab: Lab, pairs: Iterator[tuple[str, str]]) -> None:
    """In transactions of as many keys as etcd allows."""
    operations = [
        {
            "request_put": {
                part: b64encode(text.encode()).decode() for part, text in zip(("key", "value"), pair, strict=True)
            }
        }
        for pair in pairs
    ]
    for begin in range(0, len(operations), TRANSACTION):
        lab.etcd.post("kv/txn", {"success": operations[begin : begin + TRANSACTION]})


def pss_kb(host: Host, pid: int) -> int:
    text = host.node.run("cat", f"/proc/{pid}/smaps_rollup").ok().out
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def cpu_ticks(host: Host, pid: int) -> int:
    fields = host.node.run("cat", f"/proc/{pid}/stat").ok().out.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_thousand_hosts(lab: Lab) -> None:
    """Every block is reached; the process is small, and nearly asleep."""
    host = lab.host("node1")
    host.create(("web", "--subnet", "10.0.0.0/8"), "-o", "block=24")
    host.pod("web")
    host.wait_ready("web")
    network_id = host.status()["networks"]["web"]["id"]
    put(lab, keys(network_id))
    until(lambda: len(routes(host, "-4")) >= HOSTS + 1, "a route to each block", 120, host.said)
    time.sleep(8)  # what is known is written to the disk
    pid = int(host.status()["pid"])
    requests, ticks, pss = lab.etcd.requests(), cpu_ticks(host, pid), pss_kb(host, pid)
    time.sleep(IDLE_S)
    per_life = (lab.etcd.requests() - requests) / (IDLE_S / LIFE_S)
    percent = (cpu_ticks(host, pid) - ticks) / os.sysconf("SC_CLK_TCK") / IDLE_S * 100
    size = host.node.path("/var/lib/cni-cnm/cluster/known").stat().st_size
    print(f"\n{HOSTS} hosts: PSS {pss} KiB, {percent:.2f} % CPU, {per_life:.1f} requests in 10 s, {size} B kept")
    assert pss <= PSS_KB_MAX
    assert per_life <= 1.2, "one sign of life in nine to ten seconds"
    assert percent <= 0.5
