"""Calls of runtimes that are not run here, or only with `--long`: played from a table, on lists of theirs and of ours.

Theirs have the types of the reference plugins, which the program answers in `/opt/cni/drop-in`. Ours have the type
`cni-cnm`, where a runtime lets the user write the list.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtimes.callers import CALLERS, Caller
from tests.runtimes.conftest import node_with
from tests.runtimes.libcni import Attachment, Library, Refused
from tests.runtimes.tap import put_tap
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.node import Node

PATH = "/opt/cni/drop-in:/run/others"


@pytest.fixture(scope="module")
def node(bundle: Path) -> Iterator[Node]:
    node = node_with("", "--drop-in")
    try:
        put_tap(node)
        yield node
    finally:
        node.close()


def ours(caller: Caller, number: int) -> dict[str, Any]:
    plugin = {
        "type": "cni-cnm", "capabilities": {"portMappings": True},
        "ipam": {"ranges": [[{"subnet": f"10.99.{number}.0/24"}]]},
    }  # fmt: skip
    return {"cniVersion": caller.version, "name": f"ours{number}", "plugins": [plugin, *caller.behind]}


class Play:
    """One runtime's steps, with what must be true after each."""

    def __init__(self, node: Node, caller: Caller, own: bool) -> None:
        self.node, self.caller = node, caller
        self.library = Library(node, PATH, caller.environment)
        if own:
            loopback = [one for one in caller.theirs if one["name"] == "cni-loopback"]
            self.networks = [*loopback, *(ours(caller, number) for number in range(caller.ours))]
        else:
            self.networks = [{**one, "plugins": [*one["plugins"], *caller.behind]} for one in caller.theirs]
        self._process = ""

    def attachments(self, netns: str | None = None) -> list[tuple[dict[str, Any], Attachment]]:
        """Each network with the interface that the runtime requests on it."""
        caller, at = self.caller, self.caller.netns if netns is None else netns
        named = [one["name"] != "cni-loopback" for one in self.networks]
        ifnames = [f"eth{sum(named[:index])}" if named[index] else "lo" for index in range(len(named))]
        return [
            (one, Attachment(caller.container, at, ifname, caller.args, caller.capabilities))
            for one, ifname in zip(self.networks, ifnames, strict=True)
        ]

    def __call__(self, step: str) -> None:
        if step == "namespace":
            self._namespace_ends()
            self.node.add_netns(self.caller.netns.rpartition("/")[2])
        elif step == "namespace ends":
            self._namespace_ends()
        elif step == "add":
            self._add()
        elif step in ("add refused", "check refused"):
            with pytest.raises(Refused):
                (self._add if step == "add refused" else self._check)()
        elif step == "check":
            self._check()
        elif step in ("delete", "delete, no namespace"):
            for network, of in self.attachments("" if step != "delete" else None):
                self.library.delete(self._todays(network, of), of)
        elif step == "killed":
            network, to = self.attachments()[-1]
            self.library.killed(network, to, 0.01)
        elif step == "changed":
            self.networks = [self._changed(one) for one in self.networks]
        elif step == "broken":
            for _, of in self.attachments():
                self.node.run("ip", "-n", self.caller.netns.rpartition("/")[2], "link", "del", of.ifname).ok()
        elif step in ("port taken", "port free"):
            self._other(step == "port taken")
        elif step == "bare":
            for name in {plugin["type"] for one in self.caller.theirs for plugin in one["plugins"]}:
                assert self.library.bare(name).startswith(f"CNI {name} plugin v1.")
        else:
            for network, _ in self.attachments():
                if step == "versions":
                    self.library.versions(network)
                elif network["cniVersion"] == "1.1.0":
                    self.library.status(network) if step == "status" else self.library.collect(network, [])

    def _add(self) -> None:
        wanted = self.attachments()
        with ThreadPoolExecutor(len(wanted) if self.caller.together else 1) as pool:
            results = list(pool.map(lambda one: self.library.add(*one), wanted))
        assert self.caller.accepts(results, self.caller.netns, self.caller.container), results
        for (network, to), result in zip(wanted, results, strict=True):
            addresses = {ip["address"] for ip in result["ips"] if network["name"] != "cni-loopback"}
            assert self.node.addresses(to.ifname, netns=to.netns) == addresses
        published = "8080" in self.node.run("nft", "list", "ruleset").out
        offered = any("capabilities" in plugin for one in self.networks for plugin in one["plugins"])
        assert published == (offered and "portMappings" in self.caller.capabilities)

    def _check(self) -> None:
        for network, of in self.attachments():
            self.library.check(self._todays(network, of), of)

    def _todays(self, network: dict[str, Any], of: Attachment) -> dict[str, Any]:
        return self.library.cached(network, of)[0] if self.caller.cached_list else network

    def _changed(self, network: dict[str, Any]) -> dict[str, Any]:
        return {**network, "plugins": [{**one, "mtu": 1400} if "ipam" in one else one for one in network["plugins"]]}

    def _other(self, present: bool) -> None:
        network, like = self.attachments()[-1]
        to = like._replace(container="other", netns="/run/netns/other")
        if present:
            self.node.add_netns("other")
            self._process = self.node.run("sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!", netns=to.netns).ok().out
            self.library.add(network, to)
        else:
            self.node.run("kill", self._process.strip()).ok()
            self.library.delete(network, to)
            self.node.run("ip", "netns", "del", "other").ok()

    def _namespace_ends(self) -> None:
        name = self.caller.netns.rpartition("/")[2]
        if self.node.path(f"/run/netns/{name}").exists():
            self.node.run("ip", "netns", "del", name).ok()


def nothing_left(node: Node) -> None:
    assert json.loads(node.run("cni-cnm", "endpoint", "ls", "--json").ok().out) == []
    assert node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()
    assert [name for name in node.links() if name.startswith("veth")] == []
    leases = node.files("/var/lib/cni/networks", "/run/cni")
    assert [path for path in leases if path.rpartition("/")[2][0].isdigit()] == []
    assert "8080" not in node.run("nft", "list", "ruleset").ok().out


@pytest.mark.quick("cri-o-theirs", "nomad-theirs", "nomad-ours", "apptainer-theirs")
@pytest.mark.parametrize("own", [False, True], ids=["theirs", "ours"])
@pytest.mark.parametrize("name", CALLERS)
def test_the_calls_of(node: Node, name: str, own: bool) -> None:
    play = Play(node, CALLERS[name], own)
    for number, step in enumerate(CALLERS[name].steps):
        try:
            play(step)
        except (Refused, AssertionError) as error:
            raise AssertionError(f"step {number}, {step}: {error}") from error
    nothing_left(node)
    if "cni0" in node.links():  # containerd's and CRI-O's lists have it, with another address each
        node.run("ip", "link", "del", "cni0").ok()


def test_nerdctls_second_network_is_faster(node: Node) -> None:
    """It publishes the ports then. The first one waits for them, and has them when the second one has left."""
    play = Play(node, CALLERS["nerdctl"], own=True)
    play("namespace")
    first, second = play.attachments()
    for network, to in (second, first):
        play.library.add(network, to)
    play.library.delete(*second)
    (left,) = json.loads(node.run("cni-cnm", "endpoint", "ls", "--json").ok().out)
    assert len(left["published"]) == 2
    play.library.delete(*first)
    play("namespace ends")
    nothing_left(node)


def test_nomad_tries_again(node: Node) -> None:
    """Its second and third ADD come without a DEL. A list of ours has undone the first one by itself."""
    play = Play(node, CALLERS["nomad"], own=True)
    for step in ("namespace", "port taken", "add refused", "port free", "add", "delete", "namespace ends"):
        play(step)
    nothing_left(node)


def _apptainer_container(node: Node, path: str) -> str:
    """A process with a network namespace, bound to `path` in a mount namespace that only it has; its pid."""
    folder = path.rpartition("/")[0]
    bound = f"mount -t tmpfs none {folder} && touch {path} && mount --bind /proc/self/ns/net {path}"
    container = f"unshare --net --mount sh -c '{bound} && echo $$ && exec sleep 60 >/dev/null 2>&1'"
    return node.run("sh", "-c", f"mkdir -p {folder} && {container} &").ok().out.strip()


def test_apptainer_has_one_path_for_all_namespaces(node: Node) -> None:
    """The path is in a mount namespace of each container: the same path for all, and none on the host. A killed one
    gets no DEL: it is found gone, and the other is not."""
    caller = CALLERS["apptainer"]
    path = "/var/lib/apptainer/mnt/session/netns"
    network = caller.theirs[0]
    pids = {name: _apptainer_container(node, path) for name in ("4711", "4712")}
    library = {name: Library(node, PATH, caller.environment, _in_mounts_of(pid)) for name, pid in pids.items()}
    of = {name: Attachment(name, path, "eth0", caller.args) for name in pids}
    for name, pid in pids.items():
        result = library[name].add(network, of[name])
        library[name].check(network, of[name])
        assert node.addresses("eth0", netns=f"/proc/{pid}/ns/net") == {result["ips"][0]["address"]}
    library["4711"].check(network, of["4711"])
    found = node.run("cni-cnm", "doctor", "--check", "records", "--check", "service", "--check", "inside").out
    assert " is gone" not in found
    assert found.count(f"{path} cannot be opened from here") == 2
    assert "declines" not in found  # no service is left behind in such a mount namespace
    node.run("kill", "-9", pids["4712"]).ok()
    until(lambda: not node.path(f"/proc/{pids['4712']}").exists(), "the process ends")
    found = node.run("cni-cnm", "doctor", "--check", "records").out
    assert "bridge/4712/eth0 is gone" in found
    assert "4711" not in found
    library["4711"].delete(network, of["4711"])
    node.run("kill", pids["4711"]).ok()
    node.run("cni-cnm", "endpoint", "rm", "--force", "bridge/4712/eth0").ok()
    nothing_left(node)


def _in_mounts_of(pid: str) -> tuple[str, ...]:
    """As a child of a process with these mounts, whose parent has the host's."""
    runtime = f'nsenter --mount=/proc/{pid}/ns/mnt -- sh -c \'"$@"; exit $?\' sh "$@"; exit $?'
    return ("sh", "-c", runtime, "sh")
