"""podman's containers, also stopped ones and those of pods, in root's store. podman calls CNI with a container's id."""

from __future__ import annotations

from cni_cnm.runtimes.asked import words
from cni_cnm.runtimes.runtime import Runtime

_ALL = ("--all", "--quiet", "--no-trunc")


def containers() -> frozenset[str]:
    return frozenset((*words("podman", "ps", *_ALL, "--external"), *words("podman", "ps", *_ALL)))


RUNTIME = Runtime("podman", frozenset(("cni/podman", "cni/conmon", "netavark")), containers)
