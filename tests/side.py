"""A node with one implementation on it, and everything of its kernel state that a test compares.

Two sides get the same configurations; `Side.state` is normalised (random names and MACs by their role), so that equal
means equal.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.program import form
from tests.system.daemon import Daemon
from tests.system.node import Node
from tests.waiting import until

REFERENCE = Path(os.environ.get("CNI_CNM_REFERENCE", "/usr/lib/cni"))
SYSCTLS = ("arp_notify", "rp_filter", "forwarding", "proxy_arp", "route_localnet")
SYSCTLS6 = ("accept_dad", "disable_ipv6", "forwarding")
"""Not keep_addr_on_down: the reference sets it from 1.2 on, ours is asserted by itself."""


class Answer(NamedTuple):
    code: int
    json: Any
    err: str

    def ok(self) -> Answer:
        assert self.code == 0, f"exit {self.code}: {self.json}\n{self.err}"
        return self


class Side:
    def __init__(
        self,
        executable: Path,
        type_name: str,
        extra_path: tuple[Path, ...] = (),
        *,
        serve: bool = True,
        names: Path | None = None,
    ) -> None:
        """`names`: the folder in which the program under test has the names of the reference plugins."""
        self.node = Node()
        self.names = names
        self.executable = executable
        self.type = type_name
        self.path = ":".join(str(p) for p in (executable.parent, *extra_path))
        self.containers: list[str] = []
        self._service: Daemon | None = None
        if serve and form() == "service" and (executable.name == "cni-cnm" or names):
            self.serve()

    def close(self) -> None:
        self.node.close()
        if self._service:
            self._service.stop()

    def serve(self) -> None:
        """A service in the node. It ends with the node's first process."""
        self._service = Daemon(self.node, self.command, "serve")
        self._service.wait(self.node.path("/run/cni-cnm/service.sock").exists)

    @property
    def command(self) -> str:
        """The command line of the program under test."""
        return str(self.names / "cni-cnm" if self.names else self.executable)

    def container(self, name: str) -> str:
        self.containers.append(name)
        return self.node.add_netns(name)

    def call(
        self,
        verb: str,
        config: dict[str, Any] | str,
        container: str = "c1",
        *,
        ifname: str = "eth0",
        netns: str | None = None,
        args: str = "",
        executable: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> Answer:
        stdin = config if isinstance(config, str) else json.dumps({"type": self.type, **config})
        environment = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/run/netns/{container}" if netns is None else netns,
            "CNI_IFNAME": ifname,
            "CNI_PATH": self.path,
            "CNI_ARGS": args,
            **(env or {}),
        }
        done = self.node.run(str(executable or self.executable), stdin=stdin, env=environment)
        return Answer(done.code, json.loads(done.out) if done.out.strip() else None, done.err)

    def add(self, config: dict[str, Any], container: str = "c1", **more: Any) -> Answer:
        return self.call("ADD", config, container, **more)

    def delete(self, config: dict[str, Any], container: str = "c1", **more: Any) -> Answer:
        return self.call("DEL", config, container, **more)

    def check(self, config: dict[str, Any], previous: Any, container: str = "c1", **more: Any) -> Answer:
        return self.call("CHECK", {**config, "prevResult": previous}, container, **more)

    # what is there -----------------------------------------------------------

    def log_lines(self, path: str, number: int) -> list[str]:
        """The lines of the requests' log. A service answers first and writes the line then, so they are waited for."""
        log = self.node.path(path)
        until(lambda: log.exists() and log.read_text().count("\n") >= number, f"{number} lines in {path}")
        lines = log.read_text().splitlines()
        assert len(lines) == number
        return lines

    def sysctl(self, key: str, netns: str = "") -> str:
        done = self.node.run("cat", f"/proc/sys/{key}", netns=netns)
        return done.out.strip() if done.code == 0 else "missing"

    def state(self, ifname: str = "eth0") -> dict[str, Any]:
        """Links, addresses, routes and sysctls of the host and of every container, normalised."""
        names = {link["ifindex"]: link["ifname"] for link in self.node.ip("link", "show")}
        host = self._namespace("", names)
        return {"host": host, **{c: self._namespace(f"/run/netns/{c}", {}, ifname) for c in self.containers}}

    def leases(self, network: str) -> dict[str, str]:
        folder = self.node.path(f"/var/lib/cni/networks/{network}")
        if not folder.exists():
            return {}
        return {p.name: p.read_text() for p in sorted(folder.iterdir()) if p.name != "lock"}

    def _namespace(self, netns: str, names: dict[int, str], ifname: str = "") -> dict[str, Any]:
        links: dict[str, list[dict[str, Any]]] = {}
        for link in self.node.ip("-d", "address", "show", netns=netns):
            name = link["ifname"]
            info = link.get("linkinfo", {})
            if netns and name == "lo":
                links["lo"] = []  # ours is up after ADD, the reference leaves that to another plugin
                continue
            role = "VETH" if info.get("info_kind") == "veth" and name.startswith("veth") else name
            links.setdefault(role, []).append(
                {
                    "kind": info.get("info_kind"),
                    "up": "UP" in link["flags"],
                    "mtu": link["mtu"],
                    "promisc": link.get("promiscuity", 0) > 0 and info.get("info_kind") == "bridge",
                    "master": link.get("master"),
                    "hairpin": info.get("info_slave_data", {}).get("hairpin"),
                    "isolated": info.get("info_slave_data", {}).get("isolated"),
                    "addresses": sorted(
                        f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] != "link"
                    ),
                }
            )
        routes = sorted(
            str({key: route.get(key) for key in ("dst", "gateway", "dev", "scope", "metric", "type")})
            for family in ("-4", "-6")
            for route in self.node.ip(family, "route", "show", netns=netns)
            if not str(route["dst"]).startswith("fe80") and route.get("dev") != "lo"
        )
        sysctls = {"ip_forward": self.sysctl("net/ipv4/ip_forward", netns)}
        sysctls["all6"] = self.sysctl("net/ipv6/conf/all/forwarding", netns)
        if ifname and ifname in links:
            sysctls |= {key: self.sysctl(f"net/ipv4/conf/{ifname}/{key}", netns) for key in SYSCTLS}
            sysctls |= {f"6/{key}": self.sysctl(f"net/ipv6/conf/{ifname}/{key}", netns) for key in SYSCTLS6}
        return {"links": links, "routes": routes, "sysctls": sysctls}


def normal(result: Any) -> Any:
    """A CNI result with random names and MACs replaced by what they stand for.

    From 1.0.0 on an empty `dns` may be left out (SPEC 1.0.0 "Success"): the reference does since 1.2.
    """
    if not isinstance(result, dict):
        return result
    if result.get("dns") == {} and str(result.get("cniVersion", "")) >= "1":
        result = {key: value for key, value in result.items() if key != "dns"}
    interfaces = [
        {
            "name": "VETH" if not link.get("sandbox") and link["name"].startswith("veth") else link["name"],
            "mac": bool(link.get("mac")),
            "sandbox": link.get("sandbox", ""),
        }
        for link in result.get("interfaces", [])
    ]
    return {**result, **({"interfaces": interfaces} if "interfaces" in result else {})}


def require_reference() -> None:
    if not (REFERENCE / "bridge").exists():
        pytest.skip(f"the reference plugins are not installed in {REFERENCE}")
