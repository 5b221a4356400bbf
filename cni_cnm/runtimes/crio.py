"""CRI-O's pods, by `crictl`. CRI-O calls CNI with the id of a pod's sandbox."""

from __future__ import annotations

from cni_cnm.runtimes.asked import require_seen, words
from cni_cnm.runtimes.runtime import Runtime

SOCKET = "/var/run/crio/crio.sock"


def containers() -> frozenset[str]:
    require_seen("CRI-O", SOCKET)
    return frozenset(words("crictl", "--runtime-endpoint", f"unix://{SOCKET}", "pods", "--quiet", "--no-trunc"))


RUNTIME = Runtime("CRI-O", frozenset(("cni/crio",)), containers)
