"""A machine whose pods the real reference plugins have made through libcni, with a host outside and open connections.

AdoptionHost(folder, plugins, form)     `plugins` is their folder, `form` iptables or nftables
    .add("p1", ports=…)                 a container, by libcni: cnitool, or Debian's library in the client of the tests
    .check("p1"), .delete("p1")         likewise, with the file in /etc/cni/net.d of now
    .talk()                             each connection that was opened answers once more
"""

from __future__ import annotations

import json
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import ROOT, program
from tests.system.node import Done, Node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BIN = "/opt/cni/bin"
CONFLIST = "/etc/cni/net.d/10-net.conflist"
SUBNETS = ("10.7.0.0/24", "fd00:7::/64")
OUTSIDE = "198.51.100.2"
HERE = "198.51.100.1"
LIMITS = {"ingressRate": 10**9, "ingressBurst": 10**7, "egressRate": 10**9, "egressBurst": 10**7}
SERVER = r"""
import socket, sys, threading
server = socket.create_server(("", int(sys.argv[1])))
print("up", flush=True)
def answer(connection):
    while data := connection.recv(100):
        connection.sendall(data)
while True:
    threading.Thread(target=answer, args=server.accept()[:1], daemon=True).start()
"""
CLIENT = r"""
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
for line in sys.stdin:
    connection.sendall(line.encode())
    print(connection.recv(100).decode(), end="", flush=True)
"""


def newest() -> Path:
    """The folder of the newest reference plugins and cnitool. Skips where they are not built."""
    done = subprocess.run([ROOT / "scripts/reference"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return Path(done.stdout.strip())


class Talk:
    """A TCP connection from a namespace of the node, whose other end sends back what it gets."""

    def __init__(self, node: Node, netns: str, address: str, port: int) -> None:
        command = node.command(sys.executable, "-Ic", CLIENT, address, str(port), netns=netns)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._number = 0
        self.netns = netns

    def again(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._number += 1
        line = f"{self._number}\n".encode()
        self._process.stdin.write(line)
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], 10)
        assert ready, "the connection does not answer any more"
        assert self._process.stdout.readline() == line

    def close(self) -> None:
        """After the node's end, which ends the process."""
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()
        self._process.wait(timeout=10)


def plugins_of(form: str, policy: str = "same-bridge", subnets: Sequence[str] = SUBNETS[:1]) -> list[dict[str, Any]]:
    """Every plugin that can be taken over."""
    nft = form == "nftables"
    ipam = {"type": "host-local", "ranges": [[{"subnet": subnet}] for subnet in subnets]}
    bridge = {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "ipMasq": True, "hairpinMode": True}
    return [
        {**bridge, **({"ipMasqBackend": form} if nft else {}), "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}, **({"backend": form} if nft else {})},
        {"type": "firewall", "ingressPolicy": policy},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_ignore": "1"}, "mtu": 1400},
    ]


class AdoptionHost:
    def __init__(self, folder: Path, plugins: Path, form: str, libcni: Path, **more: Any) -> None:
        """`libcni` is cnitool, or the client of tests/system/libcni_client."""
        self.node = Node()
        self.libcni = libcni
        self.said: dict[str, str] = {}
        """By container: what the plugins' CHECK says. Debian's portmap looks for IPv6 rules that it has not made."""
        self._requests: dict[str, dict[str, Any]] = {}
        self._files: dict[str, str] = {}
        """By container: what configures its network, if not CONFLIST."""
        self._talks: list[Talk] = []
        self._ended: list[Talk] = []
        self._servers: list[subprocess.Popen[bytes]] = []
        target = self.node.path(BIN)
        target.mkdir(parents=True, exist_ok=True)
        for one in plugins.iterdir():
            if one.name not in ("cnitool", "cni-cnm"):  # the second: of an installation on this machine
                shutil.copy(one, target / one.name)
        (target / "cni-cnm").unlink(missing_ok=True)
        (target / "cni-cnm").symlink_to(program(folder))
        self.node.write(
            CONFLIST, json.dumps({"cniVersion": "1.0.0", "name": "net", "plugins": plugins_of(form, **more)}, indent=2)
        )
        self.node.add_netns("outside")
        self.node.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside").ok()
        for netns, link, address in (("", "up0", HERE), ("/run/netns/outside", "eth0", OUTSIDE)):
            self.node.run("ip", "address", "add", f"{address}/24", "dev", link, netns=netns).ok()
            self.node.run("ip", "link", "set", link, "up", netns=netns).ok()
        self.serve("/run/netns/outside", 7000)

    def close(self) -> None:
        self.node.close()
        for talk in (*self._talks, *self._ended):
            talk.close()
        for server in self._servers:
            server.wait(timeout=10)

    # the runtime -------------------------------------------------------------

    def prepare(self, name: str, *, port: int = 0, limits: bool = False) -> None:
        """A container's namespace, and what its runtime requests."""
        mappings = [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]
        capabilities = {**({"portMappings": mappings} if port else {}), **({"bandwidth": LIMITS} if limits else {})}
        self._requests[name] = {
            "path": [BIN], "cache": "/var/lib/cni", "containerID": name, "netns": self.node.add_netns(name),
            "ifname": "eth0", "args": [["IgnoreUnknown", "1"], ["K8S_POD_NAME", name]], "capabilities": capabilities,
        }  # fmt: skip

    def add(self, name: str, *, port: int = 0, limits: bool = False, file: str = CONFLIST) -> dict[str, Any]:
        """`file` configures the network."""
        self._files[name] = file
        self.prepare(name, port=port, limits=limits)
        result = self.call("ADD", name)
        if port:
            self.serve(f"/run/netns/{name}", 80)
        return result

    def interface(self, name: str, ifname: str, verb: str = "ADD") -> None:
        """Another interface of a container on the same network, and its CHECK and DEL."""
        self._requests[name] = {**self._requests[name], "ifname": ifname}
        self.call(verb, name)

    def check(self, name: str) -> None:
        self.call("CHECK", name)

    def delete(self, name: str) -> None:
        """Its own connections end with it."""
        self._ended += [talk for talk in self._talks if talk.netns == f"/run/netns/{name}"]
        self._talks = [talk for talk in self._talks if talk not in self._ended]
        self.call("DEL", name)

    def call(self, verb: str, name: str) -> dict[str, Any]:
        done = self._libcni(verb, name)
        assert done.code == 0, f"{verb} {name}: {done.out} {done.err}"
        answer: dict[str, Any] = json.loads(done.out) if done.out.strip() else {}
        return answer

    def refused(self, verb: str, name: str) -> str:
        """What a plugin says, without names that a container gives; "" if it does not fail."""
        done = self._libcni(verb, name)
        return re.sub(r"CNI-[\w-]+|0x\w+", "-", json.loads(done.out)["msg"]) if done.code else ""

    def _libcni(self, verb: str, name: str) -> Done:
        conflist = json.loads(self.node.path(self._files.get(name, CONFLIST)).read_text())
        request = json.dumps({"conflist": conflist, **self._requests[name]})
        return self.node.run(str(self.libcni), verb, stdin=request, env={"GOMAXPROCS": "1"})

    def network(self, name: str, bridge: str, subnet: str, *plugins: Mapping[str, Any], **keys: Any) -> str:
        """Another network: bridge with these keys, then these. Its file."""
        ipam = {"type": "host-local", "ranges": [[{"subnet": subnet}]]}
        first = {"type": "bridge", "bridge": bridge, "isDefaultGateway": True, "ipMasq": True, "ipam": ipam, **keys}
        path = f"/etc/cni/net.d/20-{name}.conflist"
        self.node.write(path, json.dumps({"cniVersion": "1.0.0", "name": name, "plugins": [first, *plugins]}))
        return path

    def reaches(self, name: str, address: str) -> bool:
        """Whether a container gets an answer."""
        return self.node.run("ping", "-c1", "-W1", address, netns=f"/run/netns/{name}").code == 0

    def command(self, *argv: str, code: int | None = 0) -> str:
        """`code` None: it may succeed or fail."""
        done = self.node.run(f"{BIN}/cni-cnm", *argv)
        assert code in (None, done.code), f"exit {done.code}\n{done.out}\n{done.err}"
        return f"{done.out}{done.err}"

    # connections -------------------------------------------------------------

    def serve(self, netns: str, port: int) -> None:
        command = self.node.command(sys.executable, "-Ic", SERVER, str(port), netns=netns)
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.stdout.close()
        self._servers.append(process)

    def open(self, netns: str, address: str, port: int) -> None:
        """From a namespace, by name or path; "" is the host's."""
        path = f"/run/netns/{netns}" if netns and "/" not in netns else netns
        talk = Talk(self.node, path, address, port)
        self._talks.append(talk)
        talk.again()

    def hang_up(self) -> None:
        """No connection is to answer any more."""
        self._ended += self._talks
        self._talks = []

    def talk(self) -> None:
        for talk in self._talks:
            talk.again()

    # what is there -----------------------------------------------------------

    def rules(self) -> list[str]:
        """Of the reference plugins, in an order of their own: without counters and this program's."""
        found = []
        for name in ("iptables", "ip6tables"):
            lines = self.node.run(f"{name}-save").ok().out.split("\n")
            found += sorted(f"{name} {line.partition(' [')[0]}" for line in lines if line and line[0] in ":-")
        tables = [line.removeprefix("table ") for line in self.node.run("nft", "list", "tables").ok().out.splitlines()]
        own = [table for table in tables if "cni_hostport" in table or "cni_plugins" in table]
        for table in own:
            found += sorted(self.node.run("nft", "list", "table", *table.split()).ok().out.split("\n"))
        return found

    def links(self) -> list[str]:
        """Qdiscs and links of the host, with what the bridge's ports are set to."""
        bridge = self.node.run("bridge", "-d", "link").ok().out.split("\n")
        links = self.node.run("ip", "-br", "link").ok().out.split("\n")
        return sorted([*self.node.run("tc", "qdisc").ok().out.split("\n"), *bridge, *links])

    def cached(self) -> Mapping[str, Any]:
        folder = self.node.path("/var/lib/cni/results")
        return {one.name: json.loads(one.read_text()) for one in sorted(folder.iterdir())}

    def ours(self) -> str:
        """The elements of this program's tables."""
        return self.node.run("nft", "list", "ruleset").ok().out
