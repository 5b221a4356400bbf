"""The reference `bandwidth` and `tuning` chained behind the reference bridge, beside what cni-cnm does for their keys.

Ours is called as the modules it consists of, on a node whose pod the reference bridge made: only the limits and the
tuning may differ. Where they differ on purpose, the test says so and shows the reference's fault.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cni_cnm.cnm.interface import shaping, tuning
from cni_cnm.errors import CheckFailed, CnmError, KernelError
from cni_cnm.kernel.netns import KernelNamespaces
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.model import Bandwidth, Tuning
from tests.side import REFERENCE, Side

MBIT = 1_000_000
IFB = "bwp0123456789ab"
CONFIG = {
    "cniVersion": "1.0.0",
    "name": "net",
    "bridge": "cni0",
    "isGateway": True,
    "ipam": {"type": "host-local", "subnet": "10.77.0.0/24"},
}


class Pod:
    """A pod of the reference bridge on a node of its own."""

    def __init__(self, side: Side) -> None:
        self.side = side
        side.container("c1")
        self.result = side.add(CONFIG).ok().json
        self.veth = str(self.result["interfaces"][1]["name"])

    def chained(self, plugin: str, verb: str = "ADD", **keys: Any) -> Any:
        """A reference plugin's turn behind the bridge."""
        config = {"cniVersion": "1.0.0", "name": "net", "type": plugin, "prevResult": self.result, **keys}
        return self.side.call(verb, config, executable=REFERENCE / plugin)

    def stack(self, netns: str = "") -> KernelStack:
        path = str(self.side.node.path(netns)) if netns else f"/proc/{self.side.node.pid}/ns/net"
        return KernelNamespaces().open(path)

    def tc(self, *argv: str) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = json.loads(self.side.node.run("tc", "-j", *argv).ok().out)
        return shown

    def limits(self) -> dict[str, Any]:
        """Disciplines, filters and ifbs, links by their roles."""
        ifbs = self.side.node.ip("-d", "link", "show", "type", "ifb")
        role = {self.veth: "VETH", **{link["ifname"]: "IFB" for link in ifbs}}
        disciplines = [
            {key: role.get(value, value) for key, value in one.items() if key not in ("options", "refcnt")}
            | {"options": one["options"]}
            for one in self.tc("qdisc", "show")
        ]
        actions = [
            (action["kind"], action["mirred_action"], action["direction"], role.get(action["to_dev"]))
            for one in self.tc("filter", "show", "dev", self.veth, "ingress")
            for action in one.get("options", {}).get("actions", ())
            if action["control_action"]["type"] == "stolen"  # the reference adds a second one that is never reached
        ]
        return {
            "disciplines": sorted(disciplines, key=str),
            "actions": actions,
            "ifbs": [(link["mtu"], "UP" in link["flags"]) for link in ifbs],
        }

    def link(self) -> dict[str, Any]:
        [link] = self.side.node.ip("-d", "link", "show", "dev", "eth0", netns="/run/netns/c1")
        found = {key: link.get(key) for key in ("mtu", "promiscuity", "allmulti", "qdisc")}
        return {**found, "flags": sorted(link["flags"])}

    def mac(self) -> str:
        [link] = self.side.node.ip("link", "show", "dev", "eth0", netns="/run/netns/c1")
        return str(link["address"])


@pytest.fixture
def theirs(reference: Side) -> Pod:
    return Pod(reference)


@pytest.fixture
def ours(reference: Side) -> Iterator[Pod]:
    side = Side(REFERENCE / "bridge", "bridge")
    yield Pod(side)
    side.close()


def apply(pod: Pod, bandwidth: Bandwidth) -> None:
    host = pod.stack()
    shaping.apply(host, pod.veth, IFB, bandwidth)
    shaping.check(host, pod.veth, IFB, bandwidth)
    host.close()


LIMITS: dict[str, dict[str, Any]] = {
    "both": {"ingressRate": MBIT, "ingressBurst": 2 * MBIT, "egressRate": 3 * MBIT, "egressBurst": 5 * MBIT},
    "ingress": {"ingressRate": 100 * MBIT, "ingressBurst": 10 * MBIT},
    "egress": {"egressRate": 10 * MBIT, "egressBurst": 4 * MBIT},
    "40 Gbit/s": {"ingressRate": 40_000 * MBIT, "ingressBurst": 4_000 * MBIT},
    "none": {"ingressRate": 0, "ingressBurst": 0},
}


@pytest.mark.parametrize("keys", LIMITS.values(), ids=LIMITS.keys())
def test_limits(ours: Pod, theirs: Pod, keys: dict[str, Any]) -> None:
    """The same disciplines, redirection and ifb, parameter by parameter; after DEL the same nothing."""
    theirs.chained("bandwidth", **keys).ok()
    bandwidth = shaping.parse(keys, None)
    if bandwidth is not None:
        apply(ours, bandwidth)
    mine, reference = ours.limits(), theirs.limits()
    for one, other in zip(mine["disciplines"], reference["disciplines"], strict=True):
        for key in ("burst", "lat"):  # the reference cuts the time a burst takes to microseconds
            if key in one["options"]:
                assert one["options"].pop(key) == pytest.approx(other["options"].pop(key), rel=1e-3)
    assert mine == reference
    theirs.chained("bandwidth", "DEL", **keys).ok()
    host = ours.stack()
    shaping.remove(host, IFB)
    host.close()
    assert ours.limits()["ifbs"] == theirs.limits()["ifbs"] == []


def test_burst_of_runtimes(ours: Pod, theirs: Pod) -> None:
    """4294967295 bits, and queues of 25 ms behind them: with the reference the burst overflows, to any value.

    Its limit is not cut with it, so that packets wait for minutes.
    """
    keys: dict[str, Any] = {"ingressRate": 3 * MBIT, "ingressBurst": 4294967295}
    theirs.chained("bandwidth", **keys).ok()
    apply(ours, Bandwidth(3 * MBIT, 4294967295))
    [mine], [reference] = (
        [one["options"] for one in pod.limits()["disciplines"] if one["kind"] == "tbf"] for pod in (ours, theirs)
    )
    assert mine["burst"] == pytest.approx(375_000 * 2**32 * 64e-9, rel=1e-6)
    assert mine["lat"] == pytest.approx(25_000, abs=3)
    assert reference["burst"] < mine["burst"] / 2
    assert reference["lat"] > 60_000_000


def test_burst_below_a_frame(ours: Pod, theirs: Pod) -> None:
    """A burst of 456 bits is raised to what lets frames pass at all; the reference takes it as it is."""
    keys: dict[str, Any] = {"egressRate": MBIT, "egressBurst": 456}
    theirs.chained("bandwidth", **keys).ok()
    apply(ours, Bandwidth(0, 0, MBIT, 456))
    [mine], [reference] = (
        [one["options"]["burst"] for one in pod.limits()["disciplines"] if one["kind"] == "tbf"]
        for pod in (ours, theirs)
    )
    assert reference < 1514
    assert mine >= 2 * 1514


REFUSED: dict[str, dict[str, Any]] = {
    "no burst": {"ingressRate": 8},
    "no rate": {"egressBurst": 8},
    "negative rate": {"ingressRate": -8, "ingressBurst": 8},
    "negative burst": {"egressRate": 8, "egressBurst": -8},
    "4 GiB": {"egressRate": 8, "egressBurst": 2**35},
    "fraction": {"egressRate": 8.5, "egressBurst": 8},
    "text": {"egressRate": "fast", "egressBurst": 8},
}


@pytest.mark.parametrize("keys", REFUSED.values(), ids=REFUSED.keys())
def test_refused(theirs: Pod, keys: dict[str, Any]) -> None:
    """What the reference refuses is refused, from the configuration as from the runtime."""
    assert theirs.chained("bandwidth", **keys).code != 0
    assert theirs.chained("bandwidth", runtimeConfig={"bandwidth": keys}).code != 0
    for arguments in ((keys, None), (None, keys)):
        with pytest.raises(CnmError):
            shaping.parse(*arguments)


def test_configuration_before_runtime(theirs: Pod) -> None:
    """Any key of the configuration puts the runtime's out of force; the runtime's are taken in any case."""
    runtime = {"IngressRate": MBIT, "IngressBurst": MBIT, "EgressRate": MBIT, "EgressBurst": MBIT}
    configured: tuple[dict[str, Any], ...] = ({}, {"ingressRate": 0}, {"ingressRate": 2 * MBIT, "ingressBurst": MBIT})
    for keys in configured:
        theirs.chained("bandwidth", runtimeConfig={"bandwidth": runtime}, **keys).ok()
        limited = {one["dev"] for one in theirs.tc("qdisc", "show") if one["kind"] == "tbf"}
        bandwidth = shaping.parse(keys, runtime) or Bandwidth()
        assert len(limited) == bool(bandwidth.ingress_rate) + bool(bandwidth.egress_rate)
        theirs.chained("bandwidth", "DEL", **keys).ok()
        for argv in (("qdisc", "del", "dev", theirs.veth, "root"), ("qdisc", "del", "dev", theirs.veth, "ingress")):
            theirs.side.node.run("tc", *argv)


def tune(pod: Pod, block: dict[str, Any], arguments: dict[str, Any]) -> Tuning:
    wanted = tuning.parse(block, arguments, "eth0", allowlist=str(pod.side.node.path(tuning.ALLOWLIST)))
    assert wanted is not None
    container = pod.stack("/run/netns/c1")
    tuning.apply(container, "eth0", wanted)
    tuning.check(container, "eth0", wanted)
    container.close()
    return wanted


TUNED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "mtu": ({"mtu": 1400}, {}),
    "promisc": ({"promisc": True}, {}),
    "allmulti": ({"allmulti": True}, {}),
    "allmulti off": ({"allmulti": False}, {}),
    "mac": ({"mac": "02:11:22:33:44:55"}, {}),
    "args": ({}, {"mtu": 1300, "promisc": True, "allmulti": True, "mac": "02:11:22:33:44:66"}),
    "args before configuration": (
        {"mtu": 1400, "promisc": True, "mac": "02:11:22:33:44:55", "sysctl": {"net.ipv4.ip_forward": "1"}},
        {"mtu": 1300, "promisc": False, "mac": "02:11:22:33:44:66", "sysctl": {"net.ipv4.ip_forward": "0"}},
    ),
    "sysctls": ({"sysctl": {"net.ipv4.conf.IFNAME.arp_ignore": "1", "net/core/somaxconn": "512"}}, {}),
}
SYSCTLS = ("net/ipv4/conf/eth0/arp_ignore", "net/core/somaxconn", "net/ipv4/ip_forward")


@pytest.mark.parametrize(("block", "arguments"), TUNED.values(), ids=TUNED.keys())
def test_tuning(ours: Pod, theirs: Pod, block: dict[str, Any], arguments: dict[str, Any]) -> None:
    """The same link attributes and sysctls for each key, from the configuration and from args.cni."""
    given: dict[str, Any] = {"args": {"cni": arguments}} if arguments else {}
    theirs.chained("tuning", **block, **given).ok()
    wanted = tune(ours, block, arguments)
    assert ours.link() == theirs.link()
    if wanted.mac:
        assert ours.mac() == theirs.mac() == wanted.mac
    for key in SYSCTLS:
        assert ours.side.sysctl(key, "/run/netns/c1") == theirs.side.sysctl(key, "/run/netns/c1")


BAD: dict[str, dict[str, Any]] = {
    "not net": {"sysctl": {"kernel.hostname": "x"}},
    "climbing": {"sysctl": {"net/../kernel/hostname": "x"}},
    "no string": {"sysctl": {"net.ipv4.ip_forward": True}},
    "no object": {"sysctl": ["net.ipv4.ip_forward"]},
    "mac": {"mac": "02:11:22"},
    "mtu as text": {"mtu": "large"},
}


@pytest.mark.parametrize("keys", BAD.values(), ids=BAD.keys())
def test_tuning_refused(ours: Pod, theirs: Pod, keys: dict[str, Any]) -> None:
    """What the reference refuses is refused, and nothing is changed."""
    before = ours.link()
    assert theirs.chained("tuning", **keys).code != 0
    with pytest.raises(CnmError):
        tune(ours, keys, {})
    assert ours.link() == before


def test_restored(ours: Pod, theirs: Pod) -> None:
    """After DEL the link is as it was on both sides; ours puts sysctls back, too."""
    block: dict[str, Any] = {"mtu": 1400, "promisc": True, "sysctl": {"net.ipv4.conf.IFNAME.arp_ignore": "1"}}
    wanted = tuning.parse(block, None, "eth0")
    assert wanted is not None
    first, container = ours.link(), ours.stack("/run/netns/c1")
    before = tuning.current(container, "eth0", wanted)
    tuning.apply(container, "eth0", wanted)
    tuning.restore(container, "eth0", before)
    container.close()
    theirs.chained("tuning", **block).ok()
    theirs.chained("tuning", "DEL", **block).ok()
    assert ours.link() == theirs.link() == first
    assert ours.side.sysctl(SYSCTLS[0], "/run/netns/c1") == "0"
    assert theirs.side.sysctl(SYSCTLS[0], "/run/netns/c1") == "1"


def test_mac_of_a_running_link(ours: Pod, theirs: Pod) -> None:
    """A MAC is changed while the link is up; what routes there were stay."""
    for pod in (ours, theirs):
        pod.side.node.run("ip", "route", "add", "default", "via", "10.77.0.1", netns="/run/netns/c1").ok()
    theirs.chained("tuning", mac="02:11:22:33:44:55").ok()
    tune(ours, {"mac": "02:11:22:33:44:55"}, {})
    for pod in (ours, theirs):
        assert len(pod.side.node.ip("route", "show", "default", netns="/run/netns/c1")) == 1
        assert pod.side.node.ping("10.77.0.1", netns="/run/netns/c1")


def test_check_of_the_interface_s_sysctl(ours: Pod, theirs: Pod) -> None:
    """CHECK finds a sysctl configured with IFNAME; the reference's looks for an interface of that name."""
    block: dict[str, Any] = {"sysctl": {"net.ipv4.conf.IFNAME.arp_ignore": "1"}}
    theirs.chained("tuning", **block).ok()
    assert "conf/IFNAME" in theirs.chained("tuning", "CHECK", **block).json["msg"]
    tune(ours, block, {})


def test_mac_in_capitals(ours: Pod, theirs: Pod) -> None:
    """CHECK compares a MAC without case; the reference's fails on one that was configured in capitals."""
    block = {"mac": "02:AA:BB:CC:DD:EE"}
    answer = theirs.chained("tuning", **block).ok()
    config = {"cniVersion": "1.0.0", "name": "net", "type": "tuning", "prevResult": answer.json, **block}
    assert theirs.side.call("CHECK", config, executable=REFERENCE / "tuning").code != 0
    tune(ours, block, {})


def test_argument_sysctls_alone(ours: Pod, theirs: Pod) -> None:
    """Sysctls by arguments with none configured are set; the reference panics."""
    sysctls = {"sysctl": {"net.ipv4.conf.IFNAME.arp_ignore": "1"}}
    assert theirs.chained("tuning", args={"cni": sysctls}).code == 2
    tune(ours, {}, sysctls)
    assert ours.side.sysctl(SYSCTLS[0], "/run/netns/c1") == "1"


def test_keys_that_can_only_be_written(ours: Pod) -> None:
    """A sysctl that cannot be read is written, passes CHECK and is left alone by restore; a wrong value fails CHECK."""
    wanted = tune(ours, {"sysctl": {"net.ipv4.route.flush": "1", "net.ipv4.conf.IFNAME.arp_ignore": "1"}}, {})
    container = ours.stack("/run/netns/c1")
    before = tuning.current(container, "eth0", wanted)
    assert [key for key, _ in before.sysctls] == [SYSCTLS[0]]
    container.set_sysctls([(SYSCTLS[0], "2")])
    with pytest.raises(CheckFailed, match="arp_ignore is '2'"):
        tuning.check(container, "eth0", wanted)
    with pytest.raises(KernelError, match="net/none"):
        tuning.apply(container, "eth0", Tuning((("net/none", "1"),)))
    container.close()
