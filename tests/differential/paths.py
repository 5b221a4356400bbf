"""One conflist through both implementations, each on a node with another host beside it; and who reaches whom there.

    outside 192.0.2.2, 2001:db8::2 ─── 192.0.2.1, 192.0.2.7, 2001:db8::1  host ─── pods

The reference runs the plugins of the list one after the other, as libcni does. Ours gets the same list as one
configuration: the keys of the bridge, and a block for each plugin behind it. By the names of the reference plugins it
gets the list as the reference does.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from typing import Any, NamedTuple

from tests.side import REFERENCE, Answer, Side

LIMIT_S = 15
"""How long an answer that should come may take: the machine of a test is a busy one."""
SERVE = r"""
import json, selectors, socket, sys
chosen = selectors.DefaultSelector()
for kind, address, port in json.loads(sys.argv[1]):
    family = socket.AF_INET if "." in address else socket.AF_INET6
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    if kind == "tcp":
        s.listen(64)
    chosen.register(s, selectors.EVENT_READ, kind)
print("up", flush=True)
while True:
    for key, _ in chosen.select():
        try:
            if key.data == "tcp":
                connection, peer = key.fileobj.accept()
                connection.sendall(peer[0].removeprefix("::ffff:").encode())
                connection.close()
            else:
                peer = key.fileobj.recvfrom(100)[1]
                key.fileobj.sendto(peer[0].removeprefix("::ffff:").encode(), peer)
        except OSError:
            pass
"""
ASK = r"""
import json, socket, sys, threading
asked, told = json.loads(sys.argv[1]), {}
def ask(number, kind, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(1)
    try:
        s.connect((address, port))
        s.send(b"?") if kind == "udp" else None
        told[number] = s.recv(100).decode() or None
    except OSError:
        told[number] = None
threads = [threading.Thread(target=ask, args=(number, *one)) for number, one in enumerate(asked)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps([told[number] for number in range(len(asked))]))
"""


class Path(NamedTuple):
    """A question: from a container, `outside` or "" for the host, by tcp or udp, to an address and port."""

    source: str
    kind: str
    address: str
    port: int


class Party:
    """One implementation on its node."""

    def __init__(self, side: Side) -> None:
        self.side, self.node = side, side.node
        self.merged = side.type == "cni-cnm"
        self.ours = self.merged or side.names is not None
        self.folder = side.names or REFERENCE
        self._results: dict[tuple[str, str, str], Any] = {}
        for key in ("all", "default"):  # no test waits a second for its link-local addresses
            self.node.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{key}/accept_dad").ok()
        outside = self.node.add_netns("outside")
        self.node.run("ip", "link", "add", "wan0", "type", "veth", "peer", "name", "eth0", "netns", "outside").ok()
        for command in (
            "addr add 192.0.2.1/24 dev wan0", "addr add 192.0.2.7/24 dev wan0",
            "-6 addr add 2001:db8::1/64 dev wan0 nodad", "link set wan0 up",
        ):  # fmt: skip
            self.node.run("ip", *command.split()).ok()
        for command in (
            "link set lo up", "addr add 192.0.2.2/24 dev eth0", "-6 addr add 2001:db8::2/64 dev eth0 nodad",
            "link set eth0 up", "route add default via 192.0.2.1", "-6 route add default via 2001:db8::1",
        ):  # fmt: skip
            self.node.run("ip", *command.split(), netns=outside).ok()

    @property
    def made_first(self) -> set[str]:
        """What a container has when a plugin behind the first one refuses: of one configuration nothing is made."""
        return {"lo"} if self.merged else {"lo", "eth0"}

    def refusal(self, code: int) -> int:
        """The code of an error that has `code` by our own name."""
        return code if self.merged else 999

    def container(self, *names: str) -> None:
        for name in names:
            self.side.container(name)

    # the verbs, for a whole list ----------------------------------------------

    def add(self, conflist: dict[str, Any], container: str = "c1", *, ifname: str = "eth0", **runtime: Any) -> Answer:
        if self.merged:
            answer = self.side.add(one(conflist, runtime), container, ifname=ifname)
        else:
            answer, previous = Answer(0, None, ""), None
            for plugin in conflist["plugins"]:
                config = link(conflist, plugin, runtime, previous)
                answer = self.side.call(
                    "ADD", config, container, ifname=ifname, executable=self.folder / plugin["type"]
                )
                if answer.code:
                    break
                previous = answer.json
        if not answer.code:
            self._results[conflist["name"], container, ifname] = answer.json
        return answer

    def check(self, conflist: dict[str, Any], container: str = "c1", *, ifname: str = "eth0", **runtime: Any) -> Answer:
        previous = self._results[conflist["name"], container, ifname]
        if self.merged:
            return self.side.check(one(conflist, runtime), previous, container, ifname=ifname)
        answer = Answer(0, None, "")
        for plugin in conflist["plugins"]:
            config = link(conflist, plugin, runtime, previous)
            answer = self.side.call("CHECK", config, container, ifname=ifname, executable=self.folder / plugin["type"])
            if answer.code:
                break
        return answer

    def delete(
        self,
        conflist: dict[str, Any],
        container: str = "c1",
        *,
        ifname: str = "eth0",
        netns: str | None = None,
        remembered: bool = True,
        **runtime: Any,
    ) -> Answer:
        """`remembered` False: the runtime has lost the result of ADD."""
        previous = self._results.get((conflist["name"], container, ifname)) if remembered else None
        if self.merged:
            config = {**one(conflist, runtime), **({"prevResult": previous} if previous else {})}
            return self.side.delete(config, container, ifname=ifname, netns=netns)
        answer = Answer(0, None, "")
        for plugin in reversed(conflist["plugins"]):
            config = link(conflist, plugin, runtime, previous)
            answer = self.side.call(
                "DEL", config, container, ifname=ifname, netns=netns, executable=self.folder / plugin["type"]
            )
            if answer.code:
                break
        return answer

    # who reaches whom ----------------------------------------------------------

    def serve(self, place: str, *ports: int, address: str = "::") -> None:
        """Tell every caller, by tcp and udp, what its address is."""
        listeners = [(kind, address, port) for kind in ("tcp", "udp") for port in ports]
        netns = f"/run/netns/{place}" if place else ""
        command = self.node.command(sys.executable, "-Ic", SERVE, json.dumps(listeners), netns=netns)
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], LIMIT_S)
        assert ready
        assert process.stdout.readline() == b"up\n"
        process.stdout.close()
        process.returncode = 0  # it ends with the node's init, like everything there

    def ask(self, paths: list[Path]) -> dict[Path, str | None]:
        """The caller's address as each server sees it; None where no answer came."""
        found: dict[Path, str | None] = {}
        for source in dict.fromkeys(path.source for path in paths):
            asked = [path for path in paths if path.source == source]
            netns = f"/run/netns/{source}" if source else ""
            questions = json.dumps([path[1:] for path in asked])
            out = self.node.run(sys.executable, "-Ic", ASK, questions, netns=netns).ok().out
            found.update(zip(asked, json.loads(out), strict=True))
        return found

    def expect(self, wanted: dict[Path, str | None]) -> None:
        """Each path as it should be. What should answer may take a while; what should not must never."""
        deadline = time.monotonic() + LIMIT_S
        open_paths = list(wanted)
        while open_paths:
            found = self.ask(open_paths)
            wrong = {path: (said, wanted[path]) for path, said in found.items() if said != wanted[path]}
            fatal = {path: said for path, said in wrong.items() if said[0] is not None}
            assert not fatal, f"{'ours' if self.ours else 'reference'}, (found, expected): {fatal}"
            assert time.monotonic() < deadline, f"{'ours' if self.ours else 'reference'}, (found, expected): {wrong}"
            open_paths = list(wrong)

    def rules(self) -> str:
        return self.node.run("nft", "list", "ruleset").ok().out


def link(conflist: dict[str, Any], plugin: dict[str, Any], runtime: dict[str, Any], previous: Any) -> dict[str, Any]:
    """What libcni hands one plugin of a list."""
    config = {"cniVersion": conflist["cniVersion"], "name": conflist["name"], **plugin}
    given = {key: runtime[key] for key in plugin.get("capabilities", {}) if key in runtime}
    return {**config, **({"runtimeConfig": given} if given else {}), **({"prevResult": previous} if previous else {})}


def one(conflist: dict[str, Any], runtime: dict[str, Any]) -> dict[str, Any]:
    """The list as one configuration of ours."""
    bridge, *behind = conflist["plugins"]
    config = {"cniVersion": conflist["cniVersion"], "name": conflist["name"], **bridge, "type": "cni-cnm"}
    capabilities = dict(bridge.get("capabilities", {}))
    for plugin in behind:
        capabilities |= plugin.get("capabilities", {})
        block = {key: value for key, value in plugin.items() if key not in ("type", "capabilities")}
        if block:
            config[plugin["type"]] = block
    given = {key: runtime[key] for key in capabilities if key in runtime}
    return {**config, "capabilities": capabilities, **({"runtimeConfig": given} if given else {})}


def conflist(
    *behind: dict[str, Any], name: str = "net", number: int = 77, version: str = "1.0.0", **bridge: Any
) -> dict[str, Any]:
    """A bridge with both families, default gateway and hairpin, and the plugins behind it."""
    ranges = [[{"subnet": f"10.{number}.0.0/24"}], [{"subnet": f"fd00:{number}::/64"}]]
    first = {
        "type": "bridge", "bridge": f"cni{number}", "isDefaultGateway": True, "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": ranges}, **bridge,
    }  # fmt: skip
    return {"cniVersion": version, "name": name, "plugins": [first, *behind]}
