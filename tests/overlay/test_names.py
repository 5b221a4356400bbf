"""Names over hosts: each host answers those of the others' containers, on etcd alone."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.overlay.lab import WEB, configuration
from tests.waiting import until

if TYPE_CHECKING:
    from tests.overlay.lab import Lab, Pod

pytestmark = pytest.mark.skipif(
    not (shutil.which("dnsmasq") and shutil.which("dig")), reason="dnsmasq-base or bind9-dnsutils is not installed"
)

NAMED = {**configuration("web"), "dnsEnabled": True}


def answers(pod: Pod, *question: str) -> set[str]:
    gateway = pod.result["dns"]["nameservers"][0]
    done = pod.host.node.run("dig", "+short", "+tries=1", "+time=5", f"@{gateway}", *question, netns=pod.netns)
    return set(done.out.split())


def _answers(pod: Pod, name: str, address: str) -> bool:
    return answers(pod, name) == {address}


def test_containers_of_two_hosts(lab: Lab) -> None:
    one, two = lab.host("node1"), lab.host("node2")
    one.create(WEB, "--dns")
    first, second = one.pod(NAMED, "front"), two.pod(NAMED, "stock")
    three = two.pod(NAMED, "spare")
    assert first.result["dns"]["domain"] == "web.internal"
    for pod, other in ((first, second), (second, first)):
        until(partial(_answers, pod, other.name, other.addresses[0]), "a name of the other host", 20, pod.host.said)
        assert answers(pod, other.name, "AAAA") == {other.addresses[1]}
        assert answers(pod, "-x", other.address) == {f"{other.name}.web.internal."}
    until(lambda: answers(first, "spare") == {three.address}, "another name of the other host", 20, one.said)
    assert sorted(key.rsplit("/", 1)[0] for key in lab.etcd.stored() if "/names/" in key) == [
        "/cni-cnm/names/node1/web", "/cni-cnm/names/node2/web", "/cni-cnm/names/node2/web",
    ]  # fmt: skip
    three.delete().ok()
    until(lambda: answers(first, "spare") == set(), "the end of a name of the other host", 20)
    lab.cut_store()
    assert answers(first, "stock") == {second.address}
    fourth = one.pod(NAMED, "late")
    assert answers(first, "late") == {fourth.address}
    lab.heal_store()
    until(lambda: answers(second, "late") == {fourth.address}, "the name after the store is back", 60, one.said)
    two.power_off()
    assert answers(first, "stock") == {second.address}, "a host that is silent is not gone"
    one.cnm("node", "rm", "--force", "node2").ok()
    until(lambda: answers(first, "stock") == set(), "no name of a host that was removed", 20)
