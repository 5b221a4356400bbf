"""Pods of a real CRI-O. It calls CHECK after each ADD, and for each pod when it starts."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.system.containerd import IMAGE
from tests.system.test_containerd import remains
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtimes.crio import Crio
    from tests.system.cri import Pod

pytestmark = pytest.mark.long

CONF = {
    "cniVersion": "1.1.0",
    "name": "pods",
    "plugins": [
        {
            "type": "cni-cnm",
            "capabilities": {"portMappings": True, "bandwidth": True},
            "ipam": {"ranges": [[{"subnet": "10.85.0.0/24"}], [{"subnet": "fd00:85::/64"}]]},
        }
    ],
}


@pytest.fixture(autouse=True)
def _no_pods(crio: Crio) -> Iterator[None]:
    """A test that fails leaves its pods to none of the others."""
    yield
    for pod in crio.cri.pods():
        crio.cri.stop(pod)
        crio.cri.remove(pod)


def configure(crio: Crio) -> None:
    crio.node.write("/etc/cni/net.d/10-pods.conflist", json.dumps(CONF))
    crio.wait_ready()


def _remove(crio: Crio, *pods: Pod) -> None:
    for pod in pods:
        crio.cri.stop(pod.id)
        crio.cri.remove(pod.id)


def _endpoints(crio: Crio) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(crio.node.run("cni-cnm", "endpoint", "ls", "--json").ok().out)
    return found


def _get(crio: Crio, target: str) -> str:
    return crio.node.run("busybox", "wget", "-O-", f"http://{target}/none").err


@pytest.mark.parametrize("service", [False, True])
def test_pods_reach_each_other_and_leave_nothing(crio: Crio, service: bool) -> None:
    configure(crio)
    if service:
        served = crio.node.run("sh", "-c", "cni-cnm serve >/run/serve.log 2>&1 & echo $!").ok().out.strip()
        until(lambda: crio.node.path("/run/cni-cnm/service.sock").exists(), "the service answers")
    first, second = crio.cri.run_pod("first"), crio.cri.run_pod("second")
    assert len({*first.addresses, *second.addresses}) == 4
    assert {one["owner"] for one in _endpoints(crio)} == {"cni/crio"}
    assert all(crio.node.ping(address, netns=first.netns) for address in second.addresses)
    _remove(crio, first, second)
    assert remains(crio.node) == set()
    if service:
        crio.node.run("kill", served).ok()


def test_a_published_port_is_published_once(crio: Crio) -> None:
    """CRI-O publishes ports in a table of its own and sends no portMappings: ours has none."""
    configure(crio)
    pod = crio.cri.run_pod("web", ports=[{1: 0, 2: 80, 3: 8080}])
    crio.cri.run_container(pod, IMAGE, ["httpd", "-f", "-p", "80"])
    crio.node.run("ip", "address", "replace", "198.51.100.7/32", "dev", "lo").ok()
    until(lambda: "404" in _get(crio, "198.51.100.7:8080"), "the published port answers")
    assert "404" in _get(crio, f"{pod.addresses[0]}:80")
    assert _endpoints(crio)[0]["published"] == []
    _remove(crio, pod)
    assert remains(crio.node) == set()


def test_after_a_kill_it_removes_what_is_gone_and_nothing_else(crio: Crio) -> None:
    """CRI-O loses a pod while it is killed. Its next start sends DEL without a namespace for it."""
    configure(crio)
    lost, living = crio.cri.run_pod("lost"), crio.cri.run_pod("living")
    crio.stop(signal.SIGKILL)
    crio.node.run("podman", "rm", "--storage", "--force", lost.id).ok()
    crio.node.run("sh", "-c", f"umount --lazy {lost.netns}; rm -f {lost.netns}").ok()
    crio.restart()
    crio.wait_ready()
    until(lambda: [one["container"] for one in _endpoints(crio)] == [living.id], "CRI-O has removed the lost pod")
    assert crio.node.ping(living.addresses[0])
    _remove(crio, living)


def test_a_pod_is_removed_after_its_namespace(crio: Crio) -> None:
    configure(crio)
    pod = crio.cri.run_pod("gone")
    crio.node.run("sh", "-c", f"umount --lazy {pod.netns}; rm -f {pod.netns}").ok()
    _remove(crio, pod)
    assert remains(crio.node) == set()


def test_gc_by_its_list(crio: Crio) -> None:
    """`cni-cnm gc` asks CRI-O by crictl: an endpoint that it does not list is shown, the living one is not."""
    configure(crio)
    living = crio.cri.run_pod("living")
    crio.node.run("sh", "-c", "touch /run/stray && unshare --net=/run/stray true").ok()
    environ = {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "f" * 64, "CNI_NETNS": "/run/stray", "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin", "CNI_CNM_OWNER": "cni/crio",
    }  # fmt: skip
    conf = {**CONF["plugins"][0], "cniVersion": "1.1.0", "name": "pods"}  # type: ignore[dict-item]
    crio.node.run("/opt/cni/bin/cni-cnm", stdin=json.dumps(conf), env=environ).ok()
    crio.node.run("sh", "-c", "touch -d '1 hour ago' /run/cni-cnm/endpoints/*.json").ok()
    shown = crio.node.run("cni-cnm", "gc", env={"PATH": crio.path}).ok()
    assert "CRI-O does not have its container" in shown.out
    assert living.id[:12] not in shown.out
    assert "living" not in shown.out
    crio.node.run("/opt/cni/bin/cni-cnm", stdin=json.dumps(conf), env={**environ, "CNI_COMMAND": "DEL"}).ok()
    _remove(crio, living)
