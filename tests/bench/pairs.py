"""Pairs of ADD and DEL through the service's request handler, in this process: python -m tests.bench.pairs NAME.

For scripts/measure, which runs it under callgrind in a node that has the namespaces `pod(0)`, `pod(1)`, …: each pod has
a new one, as with a runtime.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from cni_cnm.service.handler import Handler
from cni_cnm.service.processes import WARM
from cni_cnm.service.protocol import Request
from cni_cnm.service.server import Call

WARM_UP, COUNTED = 20, 20
MARK = "getpriority"
"""What `mark` calls."""
BARE: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "bare", "type": "cni-cnm", "owner": "bench", "bridge": "bare0", "isGateway": True,
    "ipam": {"type": "host-local", "subnet": "10.90.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]},
}  # fmt: skip
CHAIN: dict[str, Any] = {
    **BARE, "name": "chain", "bridge": "chain0", "ipMasq": True,
    "ipam": {"type": "host-local", "subnet": "10.91.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]},
    "portmap": {}, "firewall": {"ingressPolicy": "same-bridge"}, "bandwidth": {},
    "tuning": {"sysctl": {"net.core.somaxconn": "500"}},
    "runtimeConfig": {
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 10**9, "ingressBurst": 10**8, "egressRate": 10**9, "egressBurst": 10**8},
    },
}  # fmt: skip
CNM: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "cnm", "type": "cni-cnm", "owner": "bench", "ipam": {"subnet": "10.92.0.0/16"},
}  # fmt: skip
OVERLAY: dict[str, Any] = {**CNM, "name": "overlay", "driver": "overlay", "ipam": {"subnet": "10.93.0.0/16"}}
"""The same network on several hosts: one ADD of it costs at most 1.05 times one of `CNM`."""
PODS: dict[str, Any] = {"cniVersion": "1.0.0", "name": "pods", "type": "cni-cnm", "owner": "bench", "driver": "overlay"}
"""A node of Kubernetes, as the agent configures it. Beside `CNM` an ADD looks at one chain more, `overlay_source`."""
CONFIGURATIONS = {"bare": BARE, "chain": CHAIN, "cnm": CNM, "overlay": OVERLAY, "pods": PODS}


def pod(number: int) -> str:
    """The name of a pod and of its network namespace."""
    return f"pod{number}"


def environ(verb: str, number: int = 0) -> dict[str, str]:
    return {
        "CNI_COMMAND": verb, "CNI_CONTAINERID": f"{number:064d}", "CNI_NETNS": f"/run/netns/{pod(number)}",
        "CNI_IFNAME": "eth0", "CNI_PATH": "/nowhere", "CNI_ARGS": "",
    }  # fmt: skip


def mark() -> None:
    """Call the function at whose entry callgrind writes down what it has counted so far, and begins anew."""
    os.getpriority(os.PRIO_PROCESS, 0)


def _join() -> None:
    """Join the network by a directory in memory. The pairs find it on record, as every pod but a host's first."""
    from cni_cnm import open_controller
    from tests.cluster.hosts import MemoryMembership
    from tests.cluster.memory_directory import MemoryStore

    with open_controller() as controller:
        controller.host.cluster = MemoryMembership(MemoryStore(), "bench")
        controller.new_network(OVERLAY["name"], driver="overlay", ipam_config=OVERLAY["ipam"])


def _assign() -> None:
    """The agent has joined the network of the pods, with the node's block."""
    from cni_cnm import open_controller
    from cni_cnm.cluster.values import Block
    from cni_cnm.cnm.network.assign_block import assign
    from cni_cnm.conflists import pod_network
    from cni_cnm.model import ip_network
    from tests.cluster.assigning_directory import PODS as AGREED

    with open_controller() as controller:
        block = Block(AGREED.name, (ip_network("10.94.0.0/16"),), "bench", "1" * 32)
        assign(controller.host, pod_network.spec(AGREED.name), AGREED, block, {})


def main(name: str) -> None:
    import gc
    from importlib import import_module

    for module in WARM:
        import_module(module)
    handler = Handler()
    if name == "overlay":
        _join()
    elif name == "pods":
        _assign()
    gc.disable()  # a whole collection is 30 million instructions, and falls into some runs and not into others
    stdin = json.dumps(CONFIGURATIONS[name]).encode()
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    for number in range(WARM_UP + COUNTED):
        if number == WARM_UP:
            mark()
        netns = os.open(f"/run/netns/{pod(number)}", os.O_RDONLY)
        for verb in ("ADD", "DEL"):
            answer = handler(Call(Request(environ(verb, number), ["cni-cnm"], stdin), (own, netns), os.getpid()))
            if answer.code:
                sys.exit(f"{verb} ended with {answer.code}: {answer.out!r} {answer.err!r}")
            answer.after()
        os.close(netns)
    mark()
    os._exit(0)  # threads that wait for the kernel's acknowledgements are not counted


if __name__ == "__main__":
    main(sys.argv[1])
