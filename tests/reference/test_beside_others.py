"""Beside the plugins at work, beside real libcni, and where iptables has another backend than it had."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from cni_cnm.kernel import iptables
from cni_cnm.kernel.netns import KernelNamespaces
from cni_cnm.kernel.setns import CLONE_NEWNET, own_fd, setns
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.reference import cache, change, discover
from tests.reference.pods import Pods
from tests.reference.test_pods import LIMITS, PORTS, V4, V6, chain, read, without_order
from tests.system.fixtures import libcni_client

MakePods = Callable[[Path, str], Pods]
__all__ = ["libcni_client"]


@pytest.mark.long
@pytest.mark.parametrize("form", ["iptables", "legacy", "nftables"])
def test_while_the_plugins_make_other_pods(
    make_pods: MakePods, make_netns: Callable[[str], str], newest: Path, host: KernelStack, form: str
) -> None:
    """A pod is removed and put back thirty times, while another is made and deleted all the time."""
    pods = make_pods(newest, form)
    conflist = pods.conflist(chain(form, V4, V6))
    pod = pods.add("c1", conflist, portMappings=PORTS, bandwidth=LIMITS)
    attachment, before, end = read(pods)["c1"], pods.state(), Event()
    netns, made, namespace = make_netns("c2"), list[bool](), own_fd()

    def others() -> None:
        setns(namespace, CLONE_NEWNET)
        while not end.is_set():
            other = pods.add("c2", conflist, netns=netns, portMappings=[{**PORTS[0], "hostPort": 99}], bandwidth={})
            pods.delete(other)
            made.append(True)

    thread = Thread(target=others)
    thread.start()
    try:
        for _ in range(30):
            change.remove(attachment, host)
            change.write(attachment, host)
    finally:
        end.set()
        thread.join()
    assert len(made) > 3
    assert without_order(pods.state()) == without_order(before)
    assert pods.check(pod) == []


def test_another_backend_than_at_that_time(make_pods: MakePods, newest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod of iptables-legacy, on a host whose `iptables` is nf_tables now: the plugins would not find its rules."""
    pods = make_pods(newest, "legacy")
    pods.add("c1", pods.conflist(chain("legacy", V4)[:1]))
    read(pods)
    monkeypatch.undo()
    (found,) = discover.read_all(KernelNamespaces(), pods.cache).attachments
    assert "in the other backend of iptables" in found.not_understood[-1]
    assert iptables.PATH["PATH"] != pods.path


@pytest.mark.long
def test_the_cache_of_libcni(
    libcni_client: Path, host: KernelStack, make_netns: Callable[[str], str], debian: Path, tmp_path: Path
) -> None:
    """A file of the real library is read, and is written with the same bytes."""
    plugins: list[dict[str, Any]] = [{"type": "bridge", "bridge": "cni0", "ipMasq": True}, {"type": "portmap"}]
    plugins[0]["ipam"] = {"type": "host-local", "ranges": [V4], "dataDir": str(tmp_path / "leases")}
    plugins[1]["capabilities"] = {"portMappings": True}
    request = {
        "conflist": {"cniVersion": "1.0.0", "name": "net", "plugins": plugins},
        "path": [str(debian)], "cache": str(tmp_path), "containerID": "c1", "netns": make_netns("c1"), "ifname": "eth0",
        "args": [["IgnoreUnknown", "1"], ["K8S_POD_NAME", "a<b>&c"]], "capabilities": {"portMappings": PORTS[:1]},
    }  # fmt: skip
    subprocess.run([libcni_client, "ADD"], input=json.dumps(request).encode(), capture_output=True, check=True)
    found = discover.read_all(KernelNamespaces(), str(tmp_path / "results"))
    assert [one.not_understood for one in found.attachments] == [()]
    cached = found.attachments[0].cached
    assert cached.cni_args == (("IgnoreUnknown", "1"), ("K8S_POD_NAME", "a<b>&c"))
    assert cache.render(cached) == Path(cache.path(cached.key, str(tmp_path / "results"))).read_bytes()
