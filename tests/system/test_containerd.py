"""Pods of a real containerd, through its CRI, on the built program."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.program import ROOT
from tests.system.containerd import IMAGE, Containerd
from tests.system.cri import Cri, CriError
from tests.system.node import Node
from tests.waiting import until

STATE = ("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni", "/run/netns")


def configure(containerd: Containerd, example: str = "podnet") -> None:
    """Put an example in place the way scripts/install does, and wait until the runtime has seen it."""
    text = (ROOT / "conf" / "cni-1.0.0" / f"{example}.conflist").read_text(encoding="utf-8")
    containerd.node.write(f"/etc/cni/net.d/10-{example}.conflist", text)
    containerd.wait_ready()


def remains(node: Node) -> set[str]:
    """What a pod must not leave: links on the host, namespaces, leases, records, results."""
    links = {f"link {name}" for name in node.links() if name.startswith("veth")}
    kept = ("/lock", "/.lock", "/last_reserved_ip")
    files = {path for path in node.files(*STATE) if not any(mark in path for mark in kept)}
    return links | {path for path in files if "/networks/" not in path or path.rpartition("/")[2][:1].isdigit()}


@pytest.mark.parametrize("example", ["podnet", "reference-bridge", "dual-stack"])
def test_pods_reach_each_other_and_leave_nothing(containerd: Containerd, example: str) -> None:
    """Two pods get addresses, reach each other and the gateway from inside, and are gone without a trace."""
    node, cri = containerd.node, containerd.cri
    configure(containerd, example)
    first, second = cri.run_pod("first"), cri.run_pod("second")
    wanted = 2 if example == "dual-stack" else 1
    assert len(first.addresses) == len(second.addresses) == wanted
    assert len({*first.addresses, *second.addresses}) == 2 * wanted
    held = {entry.partition("/")[0] for entry in node.addresses("eth0", netns=first.netns)}
    assert held == set(first.addresses)
    gateways = [route["gateway"] for route in node.ip("-4", "route", "show", "default", netns=first.netns)]
    shell = cri.run_container(first, IMAGE, ["sleep", "1000"])
    for target in (*second.addresses, *gateways, "127.0.0.1"):
        status, text = cri.execute(shell, ["ping6" if ":" in target else "ping", "-c1", "-W3", target])
        assert status == 0, text
    for pod in (first, second):
        cri.stop(pod.id)
        cri.remove(pod.id)
    assert cri.pods() == []
    assert remains(node) == set()


def test_stopping_twice_and_removing_a_running_pod(containerd: Containerd) -> None:
    """The runtime's own repetitions (stop, stop, remove; remove of a running pod) succeed."""
    configure(containerd)
    pod, running = containerd.cri.run_pod("pod"), containerd.cri.run_pod("running")
    containerd.cri.stop(pod.id)
    containerd.cri.stop(pod.id)
    containerd.cri.remove(pod.id)
    containerd.cri.remove(running.id)
    assert remains(containerd.node) == set()


def test_a_refused_pod_says_why_and_leaves_nothing(containerd: Containerd) -> None:
    """With a configuration that cannot be served the pod's start fails with our sentence; nothing stays behind."""
    node = containerd.node
    plugin = {"type": "cni-cnm", "ipam": {"subnet": "10.88.0.0/30", "rangeStart": "10.88.0.2", "rangeEnd": "10.88.0.2"}}
    network = {"cniVersion": "1.0.0", "name": "tiny", "plugins": [plugin]}
    node.write("/etc/cni/net.d/10-tiny.conflist", json.dumps(network))
    containerd.wait_ready()
    pod = containerd.cri.run_pod("only")
    with pytest.raises(CriError, match=r"tiny|10\.88\.0"):
        containerd.cri.run_pod("one-too-many")
    assert len([name for name in node.links() if name.startswith("veth")]) == 1
    containerd.cri.stop(pod.id)
    containerd.cri.remove(pod.id)
    for left in containerd.cri.pods():
        containerd.cri.stop(left)
        containerd.cri.remove(left)
    assert remains(node) == set()


def test_many_pods_at_once(containerd: Containerd) -> None:
    """Eight pods started and removed in parallel have eight addresses, and leave nothing."""
    configure(containerd)
    pods: list[Any] = []
    failures: list[Exception] = []

    def each(work: Any, *items: Any) -> None:
        def guarded(item: Any) -> None:
            try:
                work(item)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=guarded, args=(item,)) for item in items]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def remove(pod: Any) -> None:
        containerd.cri.stop(pod.id)
        containerd.cri.remove(pod.id)

    each(lambda n: pods.append(containerd.cri.run_pod(f"pod-{n}")), *range(8))
    assert not failures
    assert len({pod.addresses[0] for pod in pods}) == 8
    each(remove, *pods)
    assert not failures
    assert remains(containerd.node) == set()


def test_pods_outlive_a_killed_containerd(containerd: Containerd) -> None:
    """kill -9 and a new start: the pod keeps its network, and is removed by the new one without a trace."""
    node = containerd.node
    configure(containerd)
    pod = containerd.cri.run_pod("survivor")
    before = node.addresses("eth0", netns=pod.netns)
    containerd.restart()
    containerd.wait_ready()
    assert containerd.cri.pods() == [pod.id]
    assert node.addresses("eth0", netns=pod.netns) == before
    assert containerd.cri.pod(pod.id).addresses == pod.addresses
    containerd.cri.stop(pod.id)
    containerd.cri.remove(pod.id)
    assert remains(node) == set()


@pytest.mark.parametrize("delay", [0.02, 0.06, 0.12])
def test_a_containerd_killed_while_a_pod_starts(containerd: Containerd, delay: float) -> None:
    """What an interrupted start left is cleaned by the runtime's own removal; the next pod is served."""
    node = containerd.node
    configure(containerd)

    cut = threading.Event()

    def start(cri: Cri) -> None:
        try:
            while True:
                cri.run_pod(f"interrupted-{time.monotonic_ns()}", timeout=10)
        except (CriError, ValueError):  # ValueError: grpcio's for a channel closed meanwhile
            cut.set()

    thread = threading.Thread(target=start, args=(containerd.cri,))
    thread.start()
    time.sleep(delay)
    containerd.kill()
    thread.join()
    assert cut.is_set()
    containerd.restart()
    containerd.wait_ready()
    pod = containerd.cri.run_pod("next")
    assert node.ping(next(iter(node.ip("route", "show", "default", netns=pod.netns)))["gateway"], netns=pod.netns)
    for left in containerd.cri.pods():
        containerd.cri.stop(left)
        containerd.cri.remove(left)
    leases = {path for path in node.files("/var/lib/cni/networks") if path.rpartition("/")[2][:1].isdigit()}
    assert len(leases) == len(node.files("/run/cni-cnm/endpoints"))


def test_the_runtime_is_ready_with_our_configuration(containerd: Containerd) -> None:
    """NetworkReady follows the configuration's arrival and its removal."""
    assert not containerd.cri.network_ready()[0]
    configure(containerd)
    containerd.node.path("/etc/cni/net.d/10-podnet.conflist").unlink()
    until(lambda: not containerd.cri.network_ready()[0], "it is not ready without a configuration")


def test_signals_to_the_runtime_leave_pods_alone(containerd: Containerd) -> None:
    """An ordinary stop (SIGTERM) of containerd is no end of a pod's network either."""
    configure(containerd)
    pod = containerd.cri.run_pod("pod")
    containerd.stop(signal.SIGTERM)
    assert containerd.node.addresses("eth0", netns=pod.netns)


def test_the_example_for_containerd_is_what_it_reads(containerd: Containerd) -> None:
    """conf/containerd/v2.toml, used as an import, is accepted; v3.toml says the same for containerd 2."""
    import tomllib

    folder = Path(ROOT / "conf" / "containerd")
    second = tomllib.loads((folder / "v2.toml").read_text())["plugins"]["io.containerd.grpc.v1.cri"]["cni"]
    third = tomllib.loads((folder / "v3.toml").read_text())["plugins"]["io.containerd.cri.v1.runtime"]["cni"]
    assert third == {"bin_dirs": [second["bin_dir"]], "conf_dir": second["conf_dir"]}
    dumped = containerd.node.run("containerd", "--config", str(folder / "v2.toml"), "config", "dump").ok().out
    read = tomllib.loads(dumped)["plugins"]["io.containerd.grpc.v1.cri"]["cni"]
    assert {key: read[key] for key in second} == second
