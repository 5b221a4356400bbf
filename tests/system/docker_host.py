"""A machine with our service and a real dockerd on it, for the tests of the Docker frontend. PluginHost has no dockerd.

host.dockerd(…)         docker's command line (tests/system/dockerd.py)
host.serve()            the service again, after `host.stop_service()`
host.add(…)             a CNI ADD through the same program
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import program
from tests.system.daemon import Daemon
from tests.system.dockerd import Dockerd, missing
from tests.system.node import Done, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.dockerd import Release

PLUGIN_SOCKET = "/run/docker/plugins/cni-cnm.sock"
OURS = ("--driver", "cni-cnm", "--ipam-driver", "cni-cnm")


class PluginHost:
    """Without a dockerd: `call` speaks for it. `forwarding`: the host forwards already, and dockerd sets no policy."""

    def __init__(self, folder: Path, *, forwarding: bool = True, executable: Path | None = None) -> None:
        self.node = Node()
        self.program = executable or program(folder)
        self._service: Daemon
        try:
            self.node.write("/etc/cni-cnm/config.toml", 'log = "/run/cni-cnm.log"\n')
            on = int(forwarding)
            self.node.run("sysctl", "-qw", f"net.ipv4.ip_forward={on}", f"net.ipv6.conf.all.forwarding={on}").ok()
            self.serve()
        except BaseException:
            self.node.close()
            raise

    def close(self) -> None:
        try:
            self.stop_service()
        finally:
            self.node.close()

    # the service ---------------------------------------------------------------

    def serve(self) -> None:
        self._service = Daemon(self.node, str(self.program), "serve", "--docker", log="/run/service.log")
        self._service.wait(self._accepts)

    def _accepts(self) -> bool:
        """The socket's file is there a moment before it is listened on."""
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.node.path(PLUGIN_SOCKET)))
            except OSError:
                return False
        return True

    @property
    def service_pid(self) -> int:
        """The service itself, as seen from outside; 0 if it has ended."""
        return self._service.pid

    def stop_service(self, sig: int = signal.SIGTERM) -> None:
        self._service.stop(sig)
        if sig != signal.SIGKILL:
            assert not self.node.path(PLUGIN_SOCKET).exists(), "a stopped service leaves its socket"

    def log(self) -> str:
        """A line for each call of Docker's and of CNI, and what the service said."""
        return "".join(
            self.node.path(path).read_text(encoding="utf-8", errors="replace")
            for path in ("/run/cni-cnm.log", "/run/service.log")
            if self.node.path(path).exists()
        )

    def call(self, name: str, body: Any) -> Any:
        """A request to the plugin as Docker makes them; AssertionError if the answer is an error."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.node.path(PLUGIN_SOCKET)))
            content = json.dumps(body).encode()
            head = (
                f"POST /{name} HTTP/1.1\r\nHost: plugin\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(head.encode() + content)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        decoded = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert answer.startswith(b"HTTP/1.1 200"), f"{name}: {decoded}"
        return decoded

    def popen(self, *argv: str) -> subprocess.Popen[bytes]:
        """A process in the node. The caller ends it."""
        return subprocess.Popen(["nsenter", "--no-fork", *self.node.command(*argv)[1:]], stdin=subprocess.DEVNULL)

    # CNI beside it ---------------------------------------------------------------

    def cni(self, verb: str, network: str, container: str, **more: Any) -> Done:
        environ = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_NETNS": f"/run/netns/{container}",
            "CNI_IFNAME": "eth0", "CNI_PATH": str(self.program.parent), "CNI_ARGS": "",
        }  # fmt: skip
        conf = {"cniVersion": "1.0.0", "name": network, "type": "cni-cnm", **more}
        return self.node.run(str(self.program), stdin=json.dumps(conf), env=environ)

    def add(self, network: str, container: str, **more: Any) -> str:
        """A pod by CNI, in a namespace made for it: its first address, without prefix."""
        if not self.node.path(f"/run/netns/{container}").exists():
            self.node.add_netns(container)
        result = json.loads(self.cni("ADD", network, container, **more).ok().out)
        return str(result["ips"][0]["address"].partition("/")[0])

    def delete(self, network: str, container: str, **more: Any) -> None:
        self.cni("DEL", network, container, **more).ok()
        self.node.run("ip", "netns", "del", container).ok()

    # what is there ---------------------------------------------------------------

    def leases(self, network: str) -> dict[str, str]:
        """Address to holder, of all leases of a network."""
        folder = self.node.path(f"/var/lib/cni/networks/{network}")
        if not folder.exists():
            return {}
        found = {
            p.name: p.read_bytes().decode()
            for p in folder.iterdir()
            if p.name != "lock" and "last_reserved" not in p.name
        }
        return {name: found[name] for name in sorted(found)}

    def records(self) -> set[str]:
        """Names of the records of endpoints, networks and pools."""
        return {
            path.partition("cni-cnm/")[2]
            for path in self.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm/networks", "/var/lib/cni-cnm/pools")
        }

    def elements(self) -> str:
        """What the packet filter has of endpoints and networks. The set `foreign` has bridges of other programs."""
        listed = self.node.run("nft", "-j", "list", "table", "inet", "cni_cnm")
        if listed.code:
            return ""
        sets = (one.get("set") or one.get("map") for one in json.loads(listed.out)["nftables"])
        held = [(one["name"], one["elem"]) for one in sets if one and one.get("elem") and one["name"] != "foreign"]
        return json.dumps(held) if held else ""


class DockerHost(PluginHost):
    def __init__(self, folder: Path, *options: str, release: Release = "20.10") -> None:
        super().__init__(folder)
        try:
            self.dockerd = Dockerd(self.node, *options, release=release)
        except BaseException:
            self.node.close()
            raise

    def close(self) -> None:
        try:
            self.dockerd.close()
        finally:
            super().close()


@contextmanager
def docker_host(folder: Path, *options: str, release: Release = "20.10") -> Iterator[DockerHost]:
    """For fixtures: skips where there is no root or no such Docker. `options` are dockerd's."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network and mount namespaces")
    if why := missing(release):
        pytest.skip(why)
    host = DockerHost(folder, *options, release=release)
    try:
        yield host
    finally:
        host.close()
