"""Through the plugin: what others flush comes back with the next ADD, what others drop by default is accepted."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.side import Side
from tests.system.daemon import Daemon
from tests.system.test_ports import ask, port, serve
from tests.waiting import until

DOCKER = """\
*filter
:FORWARD DROP
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j RETURN
COMMIT
"""
FLUSHES = [
    "nft flush ruleset",
    "nft delete table inet cni_cnm",
    "nft flush table inet cni_cnm",
    "nft flush chain inet cni_cnm publish",
    "nft delete table bridge cni_cnm",
    "nft flush table bridge cni_cnm",
]
UNSEEN = [
    "nft flush map inet cni_cnm ports4",
    "nft delete element inet cni_cnm masquerade4 { 10.61.0.2 }",
    "nft flush set inet cni_cnm networks",
    "nft flush set inet cni_cnm allowed",
    "nft flush set bridge cni_cnm senders",
    "nft flush chain inet cni_cnm published",
    "nft flush chain bridge cni_cnm reflection",
]
"""What a look at tables and base chains does not show."""
BACKENDS = ["nft", "legacy"]


@pytest.fixture
def side(side: Side) -> Side:
    """A host whose up0 leads to the namespace `outside`, at 192.0.2.9."""
    node = side.node
    node.add_netns("outside")
    node.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside").ok()
    for netns, link, address in (("", "up0", "192.0.2.1/24"), ("/run/netns/outside", "eth0", "192.0.2.9/24")):
        node.run("ip", "addr", "add", address, "dev", link, netns=netns).ok()
        node.run("ip", "link", "set", link, "up", netns=netns).ok()
    node.run("ip", "route", "add", "10.61.0.0/24", "via", "192.0.2.1", netns="/run/netns/outside").ok()
    return side


def conf(name: str = "net", subnet: str = "10.61.0.0/24", **keys: Any) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": name, "ipam": {"subnet": subnet}, **keys}


PUBLISHED: dict[str, Any] = {"runtimeConfig": {"portMappings": [port(8080, 80)]}, "macspoofchk": True, "profile": "cnm"}


@contextmanager
def serving(side: Side) -> Iterator[None]:
    """A service in the node, which gets no calls."""
    service = Daemon(side.node, str(side.executable), "serve", log="/run/service.log")
    try:
        service.wait(side.node.path("/run/cni-cnm/service.sock").exists)
        yield
        assert service.stop() == 0
    finally:
        service.stop(signal.SIGKILL)


def comes_back(side: Side, before: list[str]) -> None:
    deadline = time.monotonic() + 30
    while (now := ruleset(side)) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert now == before


def run(side: Side, command: str) -> str:
    return side.node.run(*command.split()).ok().out


def ruleset(side: Side) -> list[str]:
    """Our tables, without what a container comes and goes with, and without what rules have counted."""
    # The kernel's own elements, of broadcasts in the last moment (firewall/reflection.py), are left out.
    listed = re.sub(r"\n\s*elements = \{[^}]*expires[^}]*\}", "", run(side, "nft list ruleset"))
    return sorted(line.strip() for line in listed.splitlines() if not line.strip().startswith("packets "))


def published(side: Side) -> bool:
    return not ask(side, "tcp", "192.0.2.1", 8080, "outside").startswith("no")


def out(side: Side, container: str = "c1") -> bool:
    return side.node.ping("192.0.2.9", netns=f"/run/netns/{container}", wait=1)


def load(side: Side, backend: str, script: str) -> None:
    for family in ("iptables", "ip6tables"):
        side.node.run(f"{family}-{backend}-restore", "--noflush", stdin=script).ok()


def saved(side: Side, backend: str) -> str:
    lines = run(side, f"iptables-{backend}-save -t filter").splitlines()
    return "\n".join(line.partition(" [")[0] for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("flush", FLUSHES)
def test_the_next_add_puts_everything_back(side: Side, flush: str) -> None:
    """Rules and elements of all containers and networks, whatever was flushed; CHECK names it, and then passes."""
    config = conf(**PUBLISHED)
    result = side.add(config).ok().json
    side.add(conf("other", "10.62.0.0/24"), "c2").ok()
    side.delete(conf("other", "10.62.0.0/24"), "c2").ok()
    serve(side, "c1", "tcp", 80)
    assert published(side)
    before = ruleset(side)
    side.check(config, result).ok()
    run(side, flush)
    broken = side.check(config, result)
    assert broken.code == 1
    assert "missing" in broken.json["msg"]
    assert ruleset(side) != before
    side.add(conf("other", "10.62.0.0/24"), "c2").ok()
    side.check(config, result).ok()
    assert published(side)
    assert side.node.ping("192.0.2.9", netns="/run/netns/c2", wait=1), "masqueraded again, too"
    side.delete(conf("other", "10.62.0.0/24"), "c2").ok()
    assert ruleset(side) == before


@pytest.mark.parametrize("flush", [*FLUSHES, *UNSEEN, "docker"])
def test_the_service_puts_everything_back(side: Side, flush: str) -> None:
    """Without any call: what was flushed is there again, and what drops by default lets through."""
    config = conf(**PUBLISHED)
    side.add(config).ok()
    side.add(conf("other", "10.62.0.0/24"), "c2").ok()
    run(side, f"{side.executable} network allow other net")
    serve(side, "c1", "tcp", 80)
    before = ruleset(side)
    with serving(side):
        run(side, "nft add table inet unrelated")
        run(side, "nft delete table inet unrelated")
        if flush == "docker":
            load(side, "nft", DOCKER)
            until(lambda: out(side), "a packet reaches the outside")
        else:
            run(side, flush)
            comes_back(side, before)
        assert published(side)


def test_the_service_puts_back_the_living_alone(side: Side) -> None:
    """Of a map that was flushed what is on record comes back, and not what went before the flush or after it."""
    with serving(side):
        for number, container in enumerate(("c1", "c2")):
            side.add(conf(runtimeConfig={"portMappings": [port(8080 + number, 80)]}), container).ok()
        side.delete(conf()).ok()
        before = ruleset(side)
        run(side, "nft flush map inet cni_cnm ports4")
        comes_back(side, before)
        side.container("c3")
        side.add(conf(), "c3").ok()
        side.delete(conf(), "c2").ok()
        living = ruleset(side)
        assert "net/c2" not in "".join(living)
        for name in ("ports4", "hairpin4", "masquerade4"):
            run(side, f"nft flush map inet cni_cnm {name}")
        comes_back(side, living)


@pytest.mark.parametrize("flush", ["nft flush ruleset", "nft flush map inet cni_cnm ports4"])
def test_the_service_looks_when_it_starts(side: Side, flush: str) -> None:
    """What was flushed while no service ran."""
    side.add(conf(**PUBLISHED)).ok()
    before = ruleset(side)
    run(side, flush)
    with serving(side):
        comes_back(side, before)


def test_nothing_of_the_dead_comes_back(side: Side) -> None:
    """After a flush only what is on record is put back, not what was deleted before or meanwhile."""
    config = conf(**PUBLISHED)
    side.add(config).ok()
    side.add(conf(), "c2").ok()
    run(side, "nft flush ruleset")
    side.delete(config).ok()
    side.container("c3")
    side.add(conf(), "c3").ok()
    assert "net/c1" not in run(side, "nft list ruleset")
    assert "net/c2" in run(side, "nft list ruleset")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_beside_a_firewall_that_drops(side: Side, backend: str, first: bool) -> None:
    """Docker's policy, made before our network or after: traffic passes with the next ADD, and all is taken back."""
    config = conf(**PUBLISHED)
    if first:
        load(side, backend, DOCKER)
        clean = saved(side, backend)
    result = side.add(config).ok().json
    serve(side, "c1", "tcp", 80)
    if not first:
        load(side, backend, DOCKER)
        clean = saved(side, backend)
        assert not out(side)
        broken = side.check(config, result)
        assert broken.code == 1
        assert "iptables" in broken.json["msg"]
        side.add(conf(), "c2").ok()
    assert out(side)
    assert published(side)
    side.check(config, result).ok()
    for family in ("iptables", "ip6tables"):
        run(side, f"{family}-{backend} -F FORWARD")
    assert not out(side)
    side.container("c3")
    side.add(conf(), "c3").ok()
    assert out(side)
    once = saved(side, backend)
    side.container("c4")
    side.add(conf(), "c4").ok()
    assert saved(side, backend) == once
    for container in ("c1", "c2", "c3", "c4"):
        side.delete(config, container).ok()
    assert saved(side, backend) == once, "the network is still there"
    run(side, f"{side.executable} network rm net")
    assert saved(side, backend) == clean.replace("-A FORWARD -j DOCKER-USER\n", "")


def test_an_admin_chain(side: Side) -> None:
    """`iptablesAdminChainName` decides before the accept, from when it exists."""
    load(side, "nft", DOCKER)
    config = conf(firewall={"iptablesAdminChainName": "CNI-ADMIN"})
    side.add(config).ok()
    assert out(side)
    load(side, "nft", "*filter\n:CNI-ADMIN -\n-A CNI-ADMIN -o up0 -j DROP\nCOMMIT\n")
    side.add(config, "c2").ok()
    assert not out(side)


@pytest.mark.parametrize("keys", [{"firewalldZone": "no zone"}, {"iptablesAdminChainName": "-x"}])
def test_names_that_are_none(side: Side, keys: dict[str, str]) -> None:
    """Refused with code 7 before anything is touched."""
    refused = side.add(conf(firewall=keys))
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert side.node.links() == {"lo", "up0"}


def test_unasked_traffic(side: Side) -> None:
    """Through a policy DROP: from outside to a container only where the network is open."""
    load(side, "nft", DOCKER)
    addresses = []
    for name, subnet, policy, container in (
        ("net", "10.61.0.0/24", "open", "c1"),
        ("other", "10.62.0.0/24", "same-bridge", "c2"),
    ):
        made = side.add(conf(name, subnet, firewall={"ingressPolicy": policy}), container).ok().json
        addresses.append(made["ips"][0]["address"].partition("/")[0])
    side.node.run("ip", "route", "add", "10.62.0.0/24", "via", "192.0.2.1", netns="/run/netns/outside").ok()
    reached: Callable[[str], bool] = lambda address: side.node.ping(address, netns="/run/netns/outside", wait=1)  # noqa: E731
    assert [reached(address) for address in addresses] == [True, False]
    assert out(side, "c1")
    assert out(side, "c2")


def test_allow_and_revoke(side: Side) -> None:
    """Two networks opened to each other stay so over a flush; closed at once, and with one of them gone."""
    made = {}
    for name, subnet, container in (("net", "10.61.0.0/24", "c1"), ("other", "10.62.0.0/24", "c2")):
        result = side.add(conf(name, subnet), container).ok().json
        made[container] = result["ips"][0]["address"].partition("/")[0]

    def reached() -> set[bool]:
        ways = (("c1", "c2"), ("c2", "c1"))
        return {side.node.ping(made[to], netns=f"/run/netns/{one}", wait=1) for one, to in ways}

    program = side.executable
    assert reached() == {False}
    run(side, f"{program} network allow net other")
    assert reached() == {True}
    run(side, "nft flush ruleset")
    side.container("c3")
    side.add(conf(), "c3").ok()
    assert reached() == {True}
    run(side, f"{program} network revoke other net")
    assert reached() == {False}
    run(side, f"{program} network allow other net")
    side.delete(conf("other", "10.62.0.0/24"), "c2").ok()
    run(side, f"{program} network rm other")
    listed = run(side, "nft list set inet cni_cnm allowed")
    assert listed.count(' . "') == 1, "net with itself"
    assert side.node.run(str(program), "network", "allow", "net", "net").code == 1


def test_what_is_allowed_stays_so_over_a_reboot(side: Side) -> None:
    """What networks are opened to outlives /run and the packet filter: their next pods reach each other."""
    configs = {"c1": conf("net", "10.61.0.0/24"), "c2": conf("other", "10.62.0.0/24")}
    for container, config in configs.items():
        side.add(config, container).ok()
    run(side, f"{side.executable} network allow net other")
    for container, config in configs.items():
        side.delete(config, container).ok()
    run(side, "nft flush ruleset")
    run(side, "rm -rf /run/cni-cnm")
    made = {}
    for container, config in configs.items():
        made[container] = side.add(config, container).ok().json["ips"][0]["address"].partition("/")[0]
    for one, other in (("c1", "c2"), ("c2", "c1")):
        assert side.node.ping(made[other], netns=f"/run/netns/{one}", wait=1)
    run(side, f"{side.executable} network revoke net other")
    assert not side.node.ping(made["c2"], netns="/run/netns/c1", wait=1)


@pytest.mark.parametrize("reloaded", ["all at once", "beside what is there", "by a service"])
def test_saved_rules_do_not_bring_the_dead_back(side: Side, reloaded: str) -> None:
    """Rules saved while a pod published a port, loaded when it is gone: the host's own program gets its port back."""
    config = conf(**PUBLISHED)
    load(side, "nft", DOCKER)
    side.add(config).ok()
    side.add(conf(), "c2").ok()
    saved_rules = run(side, "nft list ruleset")
    side.delete(config).ok()
    serve(side, "", "tcp", 8080)
    assert published(side)

    def loaded() -> None:
        if reloaded != "beside what is there":
            run(side, "nft flush ruleset")
        side.node.run("nft", "-f", "-", stdin=saved_rules).ok()

    def only_the_living() -> bool:
        ruleset = run(side, "nft list ruleset")
        return "net/c1" not in ruleset and "net/c2" in ruleset

    if reloaded == "by a service":
        with serving(side):
            loaded()
            until(only_the_living, "only the living ones have elements")
            assert published(side)
            side.node.run("nft", "-f", "-", stdin=saved_rules).ok()
            until(only_the_living, "only the living ones have elements")
    else:
        loaded()
        assert not published(side)
        side.container("c3")
        side.add(conf(), "c3").ok()
    assert only_the_living()
    assert published(side)
    assert out(side, "c2")


def test_saved_rules_are_not_there_after_a_reboot(side: Side) -> None:
    """nftables.service and iptables-persistent load what was saved; records in /run and pods are gone."""
    load(side, "nft", DOCKER)
    side.add(conf(**PUBLISHED)).ok()
    side.add(conf("other", "10.62.0.0/24"), "c2").ok()
    rules, tables = saved(side, "nft"), run(side, "nft list ruleset inet")
    assert rules.count("cni-cnm:") == 4
    run(side, "nft flush ruleset")
    run(side, "rm -rf /run/cni-cnm")
    for name in ("net", "other"):
        run(side, f"{side.executable} network rm {name}")
    load(side, "nft", rules.replace("COMMIT", "") + "\nCOMMIT\n")
    side.node.run("nft", "-f", "-", stdin=tables).ok()
    side.container("c3")
    side.add(conf("third", "10.63.0.0/24"), "c3").ok()
    ruleset = run(side, "nft list ruleset inet")
    assert "third/c3" in ruleset
    assert "net/c1" not in ruleset
    assert "other/c2" not in ruleset
    assert saved(side, "nft").count("cni-cnm:") == 2
    assert out(side, "c3")


def test_elements_of_others_in_our_tables_stay(side: Side) -> None:
    """Only what names an owner as we do, and whose owner is not recorded, is taken for ours."""
    side.add(conf(**PUBLISHED)).ok()
    side.node.run("nft", 'add element inet cni_cnm networks { "br-hand" comment "by hand", "br-none" }').ok()
    run(side, "rm /run/cni-cnm/firewall/state.json")
    side.add(conf(), "c2").ok()
    listed = run(side, "nft list set inet cni_cnm networks")
    assert "br-hand" in listed
    assert "br-none" in listed
