"""The name service with a thousand names, under load beside the same server alone, and while it is killed."""

from __future__ import annotations

import re
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.daemon import Daemon
from tests.system.node import Node
from tests.system.test_names import NET, UPSTREAM, Host, pytestmark
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pytestmark"]

CONTAINERS, ALIASES = 100, 10
PAIRS, ROUND_S = 7, 2


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A thousand names of a hundred containers, beside their ids."""
    made = Host()
    for number in range(CONTAINERS):
        made.add(f"c{number}", NET, aliases=[f"name{number * ALIASES + one}" for one in range(ALIASES)])
    yield made
    made.close()


def rate(node: Node, container: str, at: str) -> float:
    """Answers a second for questions of one container for all names."""
    node.write("/run/questions", "".join(f"name{number} A\n" for number in range(CONTAINERS * ALIASES)))
    command = ("dnsperf", "-s", at, "-d", "/run/questions", "-l", str(ROUND_S), "-c", "4", "-q", "50")
    said = node.run(*command, netns=f"/run/netns/{container}").ok().out
    lost, speed = re.search(r"Queries lost: +(\d+)", said), re.search(r"Queries per second: +([\d.]+)", said)
    codes = re.search(r"Response codes: +NOERROR \d+ \(100.00%\)", said)
    assert lost
    assert int(lost[1]) == 0, said
    assert speed
    assert codes, said
    return float(speed[1])


@pytest.mark.long
def test_a_thousand_names(host: Host) -> None:
    for number in (0, 1, 499, 998, 999):
        address = f"10.61.0.{2 + number // ALIASES}"
        assert host.dig("c0", f"name{number}") == ("NOERROR", [address])
    removed = CONTAINERS - 1
    host.delete(f"c{removed}", NET)
    assert host.dig("c0", f"name{removed * ALIASES}") == ("NXDOMAIN", [])
    host.add(f"c{removed}", NET, aliases=[f"name{removed * ALIASES + one}" for one in range(ALIASES)])
    assert host.dig("c0", f"name{removed * ALIASES}")[0] == "NOERROR"


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("dnsperf"), reason="dnsperf is not installed")
def test_as_fast_as_the_server_alone(host: Host) -> None:
    """In another node: a bridge, a container and dnsmasq with the same names, and nothing of ours."""
    alone = Node()
    try:
        for words in (
            "link add br0 type bridge", "address add 10.61.0.1/24 dev br0", "link set br0 up", "netns add c0",
            "link add v0 type veth peer name eth0 netns c0", "link set v0 master br0 up",
            "-n c0 address add 10.61.0.2/24 dev eth0", "-n c0 link set eth0 up",
        ):  # fmt: skip
            alone.run("ip", *words.split()).ok()
        for path in host.node.path("/run/cni-cnm-names/net").glob("[0-9a-f]*"):
            alone.write(f"/run/names/{path.name}", path.read_text())
        # It gives up its rights after the start.
        alone.run("chmod", "-R", "a+rX", "/run/names").ok()
        server = Daemon(alone, *UPSTREAM, "--listen-address=10.61.0.1", "--hostsdir=/run/names", "--cache-size=1000")
        until(lambda: "10.61.0.1:53" in alone.run("ss", "-Hlun").out, "dnsmasq alone")
        rate(host.node, "c0", "10.61.0.1")
        # The best of the rounds: other work on the machine only makes a round slower.
        rounds = [(rate(host.node, "c0", "10.61.0.1"), rate(alone, "c0", "10.61.0.1")) for _ in range(PAIRS)]
        with_us, without = (max(rates) for rates in zip(*rounds, strict=True))
        print(f"answers a second, of those of the server alone: {with_us / without:.2f}")
        assert with_us >= (0.95 - 0.05) * without, rounds
    finally:
        alone.close()
        server.stop()


@pytest.mark.long
def test_kills(host: Host) -> None:
    """The service, its process for names and the server, at any moment of it: names are answered in the end."""
    for number in range(20):
        pids = host.node.run("pgrep", "-f", "cni-cnm serve|dnsmasq.*hostsdir").out.split()
        victim = pids[number % len(pids)]
        host.node.run("kill", "-9", victim)
        host.add("k1", NET, aliases=["killed"])
        if not host.service.running:
            host.service.stop()
            until(lambda: not host.node.run("pgrep", "-f", "cni-cnm serve").out, "the end of the service")
            host.serve()
        until(lambda: host.dig("c0", "killed", wait_s=1)[0] == "NOERROR", f"an answer after the kill of {victim}", 20)
        host.delete("k1", NET)
        until(lambda: host.dig("c0", "killed", wait_s=1)[0] == "NXDOMAIN", f"no name after the kill of {victim}", 20)
        assert len(host.node.run("pgrep", "-f", "dnsmasq.*hostsdir=/run/cni-cnm-names/net$").out.split()) == 1


@pytest.mark.long
def test_no_answer_is_late_while_the_service_restarts(host: Host) -> None:
    """A question each 10 ms, through five restarts: every one is answered at once."""
    questions = "for i in $(seq 500); do dig +tries=1 +time=1 +short @10.61.0.1 name5; done"
    asking = Daemon(host.node, "nsenter", "--net=/run/netns/c0", "sh", "-c", questions, log="/run/answers")
    for number in (signal.SIGTERM, signal.SIGKILL) * 2:
        time.sleep(0.5)
        host.service.stop(number)
        until(lambda: not host.node.run("pgrep", "-f", "cni-cnm serve").out, "the end of the service")
        host.serve()
    until(lambda: not asking.running, "all questions", 60)
    answers = host.node.path("/run/answers").read_text().split()
    assert answers == ["10.61.0.2"] * 500
