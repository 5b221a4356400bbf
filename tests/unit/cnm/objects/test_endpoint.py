"""Whose an endpoint is: of the pod in whose sandbox it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.records import load_endpoint
from cni_cnm.model import EndpointSpec, NetworkSpec, Pod
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces

POD = Pod("front", "web", "1")


@pytest.mark.parametrize("pod", [POD, Pod()], ids=["a pod", "another container"])
def test_the_pod_of_its_sandbox(tmp_path: Path, pod: Pod) -> None:
    """As the runtime has named it for its own endpoint; none any more after it has left."""
    namespaces = MemoryNamespaces()
    host = memory_host(tmp_path, namespaces)
    controller = Controller(host)
    namespaces.create("/run/netns/c1")
    controller.attach(NetworkSpec("shop"), EndpointSpec("c1", "eth0", "/run/netns/c1", "cni/containerd", pod=pod))
    added = controller.new_network("db").create_endpoint("c1")
    added.join(controller.sandbox("c1"))
    stored = load_endpoint(host.store, added.id)
    assert stored is not None
    assert stored.pod == pod
    added.leave()
    stored = load_endpoint(host.store, added.id)
    assert stored is not None
    assert stored.pod == Pod()
