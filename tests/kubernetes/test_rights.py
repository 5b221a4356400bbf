"""The DaemonSet's container in a real containerd: it works with the capabilities that the manifest names, and without
one of them something fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from tests.kubernetes import images
from tests.kubernetes.kubelet import DaemonPod
from tests.kubernetes.manifests import Object, objects
from tests.kubernetes.one_node import OneNode
from tests.system.cri import CriError
from tests.waiting import until

PODNET = {"cniVersion": "1.0.0", "name": "podnet", "plugins": [{"type": "cni-cnm", "ipam": {"subnet": "10.99.0.0/24"}}]}
"""A network of this node alone: which rights the agent needs besides, test_life.py shows."""
CLUSTER = ("NET_ADMIN", "NET_RAW", "SYS_ADMIN", "DAC_OVERRIDE")


@pytest.fixture(scope="module")
def one(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneNode]:
    if os.geteuid():
        pytest.skip("needs root")
    folder = tmp_path_factory.mktemp("rights")
    with OneNode(folder, images.light(folder)) as made:
        made.node.write("/etc/cni/net.d/05-podnet.conflist", json.dumps(PODNET))
        made.containerd.wait_ready()
        yield made


def without(capability: str) -> list[Object]:
    manifest = deepcopy(objects("cni-cnm"))
    (daemon_set,) = (one for one in manifest if one["kind"] == "DaemonSet")
    spec = daemon_set["spec"]["template"]["spec"]
    for container in (*spec["initContainers"], *spec["containers"]):
        added = container["securityContext"]["capabilities"]["add"]
        if capability in added:
            added.remove(capability)
    return manifest


def started(one: OneNode, capability: str = "") -> DaemonPod:
    pod = one.apply(manifest=without(capability))
    until(lambda: pod.probe("livenessProbe")[0] == 0, "the service answers", 20, pod.log)
    return pod


@pytest.mark.long
@pytest.mark.parametrize("capability", ["NET_ADMIN", "SYS_ADMIN"])
def test_no_pod_without(one: OneNode, capability: str) -> None:
    """The runtime is given the error of the service. With all of them the pod starts."""
    pod = started(one, capability)
    with pytest.raises(CriError, match="Operation not permitted"):
        one.pod(f"without-{capability.lower()}")
    assert "ADD podnet" in pod.log()
    pod = started(one)
    made = one.pod("a")
    assert f"pod='default/a' {made.addresses[0]}/24 ok" in pod.log()
    one.remove(made)


@pytest.mark.long
def test_legacy_tables_without_net_raw(one: OneNode) -> None:
    """A node whose iptables-legacy drops forwarded packets: the pod's are accepted there, which needs NET_RAW."""
    one.node.run("iptables-legacy", "--policy", "FORWARD", "DROP").ok()

    def accepted(capability: str) -> bool:
        started(one, capability)
        made = one.pod("a")
        rules = one.node.run("iptables-legacy-save", "-t", "filter").ok().out
        one.remove(made)
        return "cni-cnm" in rules

    assert not accepted("NET_RAW")
    assert accepted("")


@pytest.mark.long
def test_folders_of_another_owner_without_dac_override(one: OneNode) -> None:
    """Kubespray makes /opt/cni/bin and /etc/cni/net.d for a user of its own."""
    for folder in ("/opt/cni/bin", "/opt/cni/lib/cni-cnm", "/var/lib/cni/networks"):
        one.node.run("sh", "-c", f"mkdir -p {folder}; chown -R 999 {folder}; chmod 755 {folder}").ok()
    with pytest.raises(AssertionError, match="Permission denied"):
        started(one, "DAC_OVERRIDE")
    one.daemon = None
    started(one)
    one.remove(one.pod("a"))


@pytest.mark.long
def test_leases_in_a_folder_that_the_pod_does_not_have(one: OneNode) -> None:
    """The full program on the node answers such a call: the pod's own file system would lose them."""
    pod = started(one)
    ipam = {"type": "host-local", "subnet": "10.98.0.0/24", "dataDir": "/var/lib/other-leases"}
    config = {"cniVersion": "1.0.0", "name": "other", "type": "cni-cnm", "ipam": ipam}
    netns = one.node.add_netns("c1")
    environ = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": netns, "CNI_IFNAME": "eth0",
               "CNI_PATH": "/opt/cni/bin"}  # fmt: skip
    one.node.run("/opt/cni/bin/cni-cnm", stdin=json.dumps(config), env=environ).ok()
    assert any(path.endswith("/other/10.98.0.2") for path in one.node.files("/var/lib/other-leases"))
    assert "ADD other" not in pod.log()
    one.node.run("/opt/cni/bin/cni-cnm", stdin=json.dumps(config), env={**environ, "CNI_COMMAND": "DEL"}).ok()
    assert not any(path.endswith("/10.98.0.2") for path in one.node.files("/var/lib/other-leases"))


@pytest.mark.long
def test_sysctls_of_a_container_without_privileges(one: OneNode) -> None:
    """Its own /proc/sys is read-only. The error names the variable that the manifest sets."""
    manifest = deepcopy(objects("cni-cnm"))
    (daemon_set,) = (each for each in manifest if each["kind"] == "DaemonSet")
    (service,) = daemon_set["spec"]["template"]["spec"]["containers"]
    service["env"] = [each for each in service["env"] if each["name"] != "CNI_CNM_PROC_SYS_NET"]
    pod = one.apply(manifest=manifest)
    until(lambda: pod.probe("livenessProbe")[0] == 0, "the service answers", 20, pod.log)
    for command in ("/opt/cni/bin/cni-cnm network rm podnet", "echo 0 >/proc/sys/net/ipv4/ip_forward"):
        one.node.run("sh", "-c", command)  # there may be no network yet
    with pytest.raises(CriError, match="Read-only file system"):
        one.pod("read-only")


@pytest.mark.long
def test_a_pod_that_does_not_see_the_nodes_processes(one: OneNode) -> None:
    """All records would be void at each start of the pod. It ends, and says which field is missing."""
    manifest = deepcopy(objects("cni-cnm"))
    (daemon_set,) = (each for each in manifest if each["kind"] == "DaemonSet")
    del daemon_set["spec"]["template"]["spec"]["hostPID"]
    pod = one.apply(manifest=manifest)
    until(lambda: "hostPID: true in Kubernetes" in pod.log(), "the reason is said", 20, pod.log)
