"""containerd's containers and pods, of all its namespaces, by `ctr`. nerdctl, ctr and BuildKit work with it.

Kubernetes' pods are in the namespace k8s.io: a pod's id is that of its sandbox, which containerd lists as a container,
and from 2.0 on also as a sandbox. nerdctl and ctr call CNI with the namespace before the container's id (NAMESPACE-ID).
"""

from __future__ import annotations

import os
from itertools import pairwise

from cni_cnm.runtimes.asked import RuntimeSilent, require_seen, words
from cni_cnm.runtimes.runtime import Runtime

SOCKETS = ("/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock")


def containers() -> frozenset[str]:
    sockets = [path for path in (os.environ.get("CONTAINERD_ADDRESS", ""), *SOCKETS) if os.path.exists(path)]
    if not sockets:
        raise RuntimeSilent(
            f"containerd has no socket at {' or '.join(SOCKETS)}",
            hint="start containerd, or name its socket with CONTAINERD_ADDRESS",
        )
    return frozenset(one for socket in dict.fromkeys(sockets) for one in _of(socket))


def _of(socket: str) -> set[str]:
    require_seen("containerd", socket)
    found: set[str] = set()
    has_sandboxes = _has_sandboxes(socket)
    for namespace in words("ctr", "--address", socket, "namespaces", "ls", "-q"):
        named = ("ctr", "--address", socket, "--namespace", namespace)
        ids = words(*named, "containers", "ls", "-q")
        if has_sandboxes:
            ids += words(*named, "sandboxes", "ls")  # a table, all of whose words count
        found.update(ids, (f"{namespace}-{one}" for one in ids))
    return found


def _has_sandboxes(socket: str) -> bool:
    """Whether this containerd has a list of sandboxes, which came with 2.0; ctr has the verb since 1.7."""
    said = words("ctr", "--address", socket, "version")
    servers = [word for before, word in pairwise(said) if before == "Version:"]
    return bool(servers) and not servers[-1].lstrip("v").startswith(("0.", "1."))


RUNTIME = Runtime(
    "containerd", frozenset(f"cni/{name}" for name in ("containerd", "nerdctl", "ctr", "buildkitd", "k3s")), containers
)
