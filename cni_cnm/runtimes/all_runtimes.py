"""The runtimes that can be asked."""

from __future__ import annotations

from cni_cnm.runtimes import containerd, crio, podman

ALL = (containerd.RUNTIME, crio.RUNTIME, podman.RUNTIME)
