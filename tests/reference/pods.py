"""Pods that the real reference plugins make in the test's network namespace, as libcni calls them.

Pods(folder, …).add("c1", plugins, ports=…)     runs the chain, and writes libcni's cached file
pods.check("c1"), pods.delete("c1")             the reference's own, with the cached configuration and result
Pods(…).state()                                 rules, qdiscs, links and files that it has made
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cni_cnm.model import EndpointKey
from cni_cnm.reference import cache
from cni_cnm.reference.cache import Cached

if TYPE_CHECKING:
    from collections.abc import Callable

LEGACY = ("iptables", "ip6tables")


class Refused(Exception):
    """A plugin's error."""


class Pod(NamedTuple):
    key: EndpointKey
    netns: str
    conflist: dict[str, Any]
    capabilities: dict[str, Any]
    args: tuple[tuple[str, str], ...]
    result: dict[str, Any]


class Pods:
    def __init__(self, folder: Path, plugins: Path, make_netns: Callable[[str], str]) -> None:
        self.folder, self.plugins, self._make_netns = folder, plugins, make_netns
        self.cache = str(folder / "results")
        self.path = os.environ["PATH"]
        self.pods: dict[str, Pod] = {}

    def with_legacy(self) -> None:
        """From now on `iptables` is iptables-legacy, for the plugins."""
        links = self.folder / "legacy"
        links.mkdir()
        for name in LEGACY:
            for program in ("", "-save", "-restore"):
                (links / f"{name}{program}").symlink_to(f"/usr/sbin/{name}-legacy{program}")
        self.path = f"{links}:{self.path}"

    def conflist(self, plugins: list[dict[str, Any]], name: str = "net", version: str = "1.0.0") -> dict[str, Any]:
        """The list with the test's own folders in it."""
        filled = []
        for plugin in plugins:
            own = dict(plugin)
            if "ipam" in own and own["ipam"].get("type") == "host-local":
                own["ipam"] = {**own["ipam"], "dataDir": str(self.folder / "leases")}
            if own["type"] == "tuning":
                own["dataDir"] = str(self.folder / "tuning")
            filled.append(own)
        return {"cniVersion": version, "name": name, "plugins": filled}

    def add(
        self,
        container: str,
        conflist: dict[str, Any],
        *,
        ifname: str = "eth0",
        netns: str = "",
        args: tuple[tuple[str, str], ...] = (),
        **capabilities: Any,
    ) -> Pod:
        netns = netns or self._make_netns(container)
        pod = Pod(EndpointKey(conflist["name"], container, ifname), netns, conflist, capabilities, args, {})
        previous: dict[str, Any] | None = None
        for plugin in conflist["plugins"]:
            previous = json.loads(self._call("ADD", pod, plugin, previous))
        assert previous is not None
        pod = pod._replace(result=previous)
        cached = Cached(pod.key, json.dumps(conflist).encode(), netns, args, capabilities, previous)
        cache.write(cached, self.cache)
        self.pods[container + ifname] = pod
        return pod

    def check(self, pod: Pod) -> list[str]:
        """The plugins whose CHECK fails. Debian's portmap always does: it asks both families for the rules of one."""
        failing = []
        for plugin in pod.conflist["plugins"]:
            try:
                self._call("CHECK", pod, plugin, pod.result)
            except Refused:
                failing.append(plugin["type"])
        return failing

    def delete(self, pod: Pod) -> None:
        for plugin in reversed(pod.conflist["plugins"]):
            self._call("DEL", pod, plugin, pod.result)
        Path(cache.path(pod.key, self.cache)).unlink()

    def _call(self, verb: str, pod: Pod, plugin: dict[str, Any], previous: dict[str, Any] | None) -> str:
        given = {key: pod.capabilities[key] for key in plugin.get("capabilities", {}) if key in pod.capabilities}
        config = {**plugin, "name": pod.conflist["name"], "cniVersion": pod.conflist["cniVersion"]}
        config |= {"runtimeConfig": given} if given else {}
        config |= {"prevResult": previous} if previous else {}
        environment = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": pod.key.container_id, "CNI_NETNS": pod.netns,
            "CNI_IFNAME": pod.key.ifname, "CNI_PATH": str(self.plugins), "PATH": self.path,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in pod.args),
        }  # fmt: skip
        done = subprocess.run(
            [self.plugins / plugin["type"]], input=json.dumps(config), env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise Refused(f"{plugin['type']} {verb}: {done.stdout} {done.stderr}")
        return done.stdout

    # what is there -----------------------------------------------------------

    def state(self) -> dict[str, list[str]]:
        """Everything that the reference makes on the host, in its order, without counters, handles and indexes."""
        return {
            **{name: self._saved(name) for name in LEGACY},
            "nft": self._nft(),
            "tc": [line for line in self._run("tc", "qdisc").split("\n") if " tbf " in line or " ingress " in line],
            "ifb": [line.split()[0] for line in self._run("ip", "-br", "link", "show", "type", "ifb").splitlines()],
            "files": [f"{path.relative_to(self.folder)} {path.read_text()!r}" for path in self._files()],
        }

    def _files(self) -> list[Path]:
        found = [path for kind in ("leases", "tuning") for path in (self.folder / kind).rglob("*")]
        return sorted(path for path in found if path.is_file() and "last_reserved" not in path.name)

    def _nft(self) -> list[str]:
        """The tables that the plugins make with nft. Those of iptables are in what is saved."""
        tables = (line.removeprefix("table ") for line in self._run("nft", "list", "tables").splitlines())
        own = [table for table in tables if "cni_" in table or table == "bridge nat"]
        return [line for table in own for line in self._run("nft", "-n", "list", "table", *table.split()).split("\n")]

    def _saved(self, name: str) -> list[str]:
        """Rules, and chains that are not built in: asking for a table makes it, with its own chains."""
        found, table = [], ""
        for line in self._run(f"{name}-save").split("\n"):
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(("-A ", ":")) and line.endswith("- [0:0]") is line.startswith(":"):
                found.append(f"{table} {line}")
        return found

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, env={"PATH": self.path}, check=True)
        return done.stdout
