"""Commands in namespaces: `run` in a fresh one, `exec` in a container's, and a second network for a container."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import program
from tests.side import Side
from tests.system.node import Done
from tests.waiting import until

SHOP = {"cniVersion": "1.0.0", "name": "shop", "ipam": {"ranges": [[{"subnet": "10.9.0.0/24"}]]}}
POD = "K8S_POD_NAME=front;K8S_POD_NAMESPACE=web;K8S_POD_UID=1"


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    made = Side(program(tmp_path_factory.mktemp("program")), "cni-cnm")
    command(made, "network", "create", "shop", "--subnet", "10.9.0.0/24").ok()
    command(made, "network", "create", "web", "--subnet", "10.8.0.0/24").ok()
    yield made
    made.close()


@pytest.fixture
def pod(side: Side) -> Iterator[str]:
    """A container id of a pod web/front with one interface."""
    netns = side.node.add_netns("c1")
    side.call("ADD", SHOP, "c1", netns=netns, args=POD).ok()
    yield "c1"
    side.call("DEL", SHOP, "c1", netns=netns).ok()
    command(side, "network", "disconnect", "web", "c1")
    side.node.run("ip", "netns", "delete", "c1").ok()


def command(side: Side, *words: str) -> Done:
    return side.node.run(str(side.executable), *words)


def endpoints(side: Side) -> list[str]:
    return command(side, "endpoint", "ls", "-q").ok().out.split()


def test_run(side: Side) -> None:
    """The command has the network and its loopback, and nothing is left after it."""
    script = 'ip -br address show dev "$1" && ip -br address show lo && ping -c1 -W2 10.9.0.1 >/dev/null; exit 3'
    done = command(side, "run", "shop", "--ip", "10.9.0.9", "--ifname", "net0", "--", "sh", "-c", script, "-", "net0")
    assert (done.code, done.err) == (3, "")
    assert "10.9.0.9/24" in done.out
    assert "127.0.0.1/8" in done.out
    assert endpoints(side) == []
    assert side.node.files("/run/cni-cnm/sandboxes") == set()


def test_a_run_with_a_name(side: Side) -> None:
    """It is listed, found and answered by its name. A second one on the network is refused, until the first has ended,
    also by a kill."""
    command(side, "network", "create", "asked", "--subnet", "10.6.0.0/24", "--dns").ok()
    words = side.node.command(str(side.executable), "run", "asked", "--name", "Web-1", "--", "sleep", "61")
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        until(lambda: "ready" in command(side, "endpoint", "ls").out, "the endpoint")
        assert " Web-1 " in command(side, "endpoint", "ls", "--network", "asked").ok().out
        assert "10.6.0.2" in command(side, "exec", "Web-1", "--", "ip", "address").ok().out
        names = command(side, "network", "names", "asked", "-q").ok().out.split()
        assert {"web-1", "web-1.asked.internal"} <= set(names)
        refused = command(side, "run", "asked", "--name", "Web-1", "--", "true")
        assert refused.code == 1
        assert "a command with the name Web-1 runs on the network asked" in refused.err
        command(side, "run", "shop", "--name", "Web-1", "--", "true").ok()
    finally:
        inside = side.node.run("pgrep", "-xf", "sleep 61").out.strip()
        side.node.run("sh", "-c", f"kill -9 $(ps -o ppid= -p {inside})")
        process.wait(timeout=20)
    until(lambda: side.node.run("ps", "-p", inside).code != 0, "the command is gone")
    command(side, "run", "asked", "--name", "Web-1", "--", "true").ok()
    assert endpoints(side) == []
    command(side, "network", "rm", "asked").ok()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("run", "shop", "--", "nope"), 127, "cni-cnm: nope: there is no such command\n"),
        (("run", "shop", "--", "/etc"), 126, "cni-cnm: /etc: Permission denied\n"),
        (("run", "shop", "--", "sh", "-c", "kill -9 $$"), 137, ""),
        (("run", "nope", "--", "true"), 1, "there is no network 'nope'"),
        (("run", "shop", "--ip", "10.7.0.1", "--", "true"), 1, "the requested address 10.7.0.1 is not in"),
        (("run", "shop", "--ifname", "a/b", "--", "true"), 1, "ifname is"),
        (("run", "shop", "--name", "a b", "--", "true"), 1, "--name is 'a b', it must be labels of letters"),
        (("exec", "nope", "--", "true"), 1, "there is no endpoint 'nope'"),
    ],
)
def test_what_a_command_returns(side: Side, words: tuple[str, ...], code: int, sentence: str) -> None:
    """Its own exit code, a shell's for one that cannot be started. Nothing is left in any case."""
    done = command(side, *words)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
    assert endpoints(side) == []


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended(side: Side, sig: signal.Signals) -> None:
    """SIGTERM is the command's. After a kill the command is gone, and the next run removes the rest."""
    marker = f"/run/started-{sig.name}"
    script = f"trap 'exit 5' TERM; echo $$ >{marker}; while :; do sleep 0.05; done"
    words = side.node.command(str(side.executable), "run", "shop", "-p", "8080:80", "--", "sh", "-c", script)
    running = subprocess.Popen(words)
    started = side.node.path(marker)
    until(lambda: started.exists() and started.read_text().strip() != "", "the command has started")
    assert len(endpoints(side)) == 1
    inside = started.read_text().strip()
    parent = side.node.run("sh", "-c", f"ps -o ppid= -p {inside}").ok().out.strip()
    side.node.run("sh", "-c", f"kill -{sig.value} {parent}").ok()
    code = running.wait(timeout=20)
    if sig == signal.SIGTERM:
        assert code == 5
    else:
        until(lambda: side.node.run("ps", "-p", inside).code != 0, "the command is gone")
        assert len(endpoints(side)) == 1
        command(side, "run", "shop", "-p", "8080:80", "--", "true").ok()
    assert endpoints(side) == []


@pytest.mark.parametrize("wanted", ["web/front", "c1", "front"])
def test_exec(side: Side, pod: str, wanted: str) -> None:
    """In the container's namespace, with files of the host, stdin and exit code of the command."""
    done = command(side, "exec", wanted, "--", "sh", "-c", "readlink /proc/self/ns/net; exit 7")
    assert done.code == 7
    assert done.out == side.node.run("readlink", "/proc/self/ns/net", netns=f"/run/netns/{pod}").ok().out
    assert command(side, "exec", wanted, "--", "nope").code == 127


def test_exec_in_a_namespace_that_was_replaced(side: Side, pod: str) -> None:
    """Another namespace at the recorded path is not entered."""
    side.node.run("ip", "netns", "delete", pod).ok()
    gone = command(side, "exec", pod, "--", "true")
    assert (gone.code, "there is no network namespace at /run/netns/c1" in gone.err) == (1, True)
    side.node.add_netns(pod)
    other = command(side, "exec", pod, "--", "true")
    assert (other.code, "is gone: /run/netns/c1 is another one" in other.err) == (1, True)


def test_connect_and_disconnect(side: Side, pod: str) -> None:
    """A second interface beside the runtime's. The default route stays, and so does the runtime's interface."""
    added = command(side, "network", "connect", "web", "web/front", "--ip", "10.8.0.77").ok()
    assert added.out.split()[1:] == ["eth1", "10.8.0.77/24"]
    again = command(side, "network", "connect", "web", "web/front")
    assert "the container is in the network web already: web/c1/eth1 (web/front)" in again.err
    taken = command(side, "network", "connect", "shop", "c1")
    assert "is in the network shop already" in taken.err
    routes = command(side, "exec", "c1", "--", "ip", "route").ok().out
    assert "default via 10.9.0.1 dev eth0" in routes
    assert "10.8.0.0/24 dev eth1" in routes

    command(side, "network", "disconnect", "web", "10.8.0.77").ok()  # found by the address
    command(side, "network", "connect", "web", "c1", "--ifname", "net7").ok()
    kept = command(side, "network", "disconnect", "shop", "c1")
    assert "which does not expect that it goes (--force removes it all the same)" in kept.err
    assert command(side, "network", "disconnect", "web", "c1").ok().out == "web/c1/net7 (web/front)\n"
    assert "is not in the network web" in command(side, "network", "disconnect", "web", "c1").err
    assert command(side, "exec", "c1", "--", "ip", "-br", "link").ok().out.count("@") == 1


def test_a_container_that_is_gone(side: Side) -> None:
    """What `connect` has added to it is removed by the next command that adds something."""
    netns = side.node.add_netns("c2")
    side.call("ADD", SHOP, "c2", netns=netns).ok()
    command(side, "network", "connect", "web", "c2").ok()
    side.call("DEL", SHOP, "c2", netns=netns).ok()
    side.node.run("ip", "netns", "delete", "c2").ok()
    assert len(endpoints(side)) == 1
    gone = "the kernel has removed the namespace and its links, which it does after the command"
    until(lambda: not any(name.startswith("veth") for name in side.node.links()), gone)
    command(side, "run", "shop", "--", "true").ok()
    assert endpoints(side) == []
    assert [Path(lease).name for lease in side.leases("web") if lease[0].isdigit()] == []


def test_graph(side: Side, pod: str) -> None:
    """The host as it is, in both formats; a network alone."""
    for words, kinds in ((("graph",), 2), (("graph", "--network", "web"), 1)):
        picture = command(side, *words).ok().out
        assert picture.startswith("<svg ")
        assert picture.count('<rect class="network"') == kinds
        assert ("web/front" in picture) == (kinds == 2)
    graphviz = command(side, "graph", "--format", "dot").ok().out
    assert graphviz.startswith("digraph host {")
    assert 'label="web/front' in graphviz
    assert "there is no network 'nope'" in command(side, "graph", "--network", "nope").err


def test_watch(side: Side, pod: str) -> None:
    """A second pod joins, cannot reach the first one's network, and leaves: all of it in lines, and as JSON."""
    web = {**SHOP, "name": "web", "ipam": {"ranges": [[{"subnet": "10.8.0.0/24"}]]}}
    words = str(side.executable), "watch", "--interval", "0.2"
    readers = [
        subprocess.Popen(side.node.command(*words, *more), stdout=subprocess.PIPE, text=True)
        for more in ((), ("--json",))
    ]
    seen: list[list[str]] = [[], []]

    def until_seen(part: str) -> None:
        for reader, lines in zip(readers, seen, strict=True):
            assert reader.stdout is not None
            while not any(part in line for line in lines):
                lines.append(reader.stdout.readline())
                assert lines[-1], lines

    try:
        side.node.run("sleep", "1").ok()  # for the first look of both
        netns = side.node.add_netns("c2")
        side.add(web, "c2", netns=netns).ok()
        until_seen("c2 joined web: eth0 10.8.0.")
        assert command(side, "exec", "c2", "--", "ping", "-c2", "-W1", "-i0.2", "10.9.0.1").code == 0
        listed = command(side, "endpoint", "ls", "--network", "shop", "--format", "{{.Addresses}}").ok()
        first = listed.out.strip()
        command(side, "exec", "c2", "--", "ping", "-c2", "-W1", "-i0.2", first.partition("/")[0])
        until_seen("isolation")
        side.delete(web, "c2", netns=netns).ok()
        until_seen("c2 left web")
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
            if reader.stdout is not None:
                reader.stdout.close()
        side.node.run("ip", "netns", "delete", "c2")
    plain, objects = seen
    assert any(" receives " in line and "web/eth0" in line for line in plain)
    kinds = {json.loads(line)["what"] for line in objects}
    assert kinds == {"event", "drop", "rate"}


def test_watch_ends(side: Side) -> None:
    """After a number of looks."""
    assert command(side, "watch", "--count", "2", "--interval", "0.1").ok().err == ""
    wrong = command(side, "watch", "--interval", "0")
    assert (wrong.code, "'0' is no number of seconds" in wrong.err) == (2, True)
