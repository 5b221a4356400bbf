"""What a runtime's library does with a list of plugins: who is called, in which order, with what on stdin.

As libcni does it: github.com/containernetworking/cni@v1.3.0 libcni/api.go, and pkg/invoke/exec.go for VERSION. go-cni
and ocicni call it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.system.node import Node


class Refused(Exception):
    """A plugin's error: its code and text. The list is not called further."""

    def __init__(self, plugin: str, answer: dict[str, Any]) -> None:
        super().__init__(f"{plugin}: {answer}")
        self.code = answer.get("code")


class Attachment(NamedTuple):
    """One container on one list, as a runtime names it (libcni's RuntimeConf)."""

    container: str
    netns: str
    ifname: str = "eth0"
    args: str = ""
    capabilities: dict[str, Any] = {}  # noqa: RUF012 never changed


class Library:
    """libcni in a node: `path` is CNI_PATH, `environment` what else the runtime's process has, `inside` a command in
    front of each plugin. The cache is the runtime's."""

    def __init__(self, node: Node, path: str, environment: dict[str, str], inside: tuple[str, ...] = ()) -> None:
        self.node, self.path, self.environment, self.inside = node, path, environment, inside
        self._cache: dict[tuple[str, str, str], tuple[dict[str, Any], Any]] = {}

    def add(self, network: dict[str, Any], to: Attachment) -> Any:
        result: Any = None
        for plugin in network["plugins"]:
            result = self._call("ADD", network, plugin, to, result)
        self._cache[self._key(network, to)] = (network, result)
        return result

    def check(self, network: dict[str, Any], of: Attachment) -> None:
        for plugin in network["plugins"]:
            self._call("CHECK", network, plugin, of, self.cached(network, of)[1])

    def delete(self, network: dict[str, Any], of: Attachment) -> None:
        for plugin in reversed(network["plugins"]):
            self._call("DEL", network, plugin, of, self.cached(network, of)[1])
        self._cache.pop(self._key(network, of), None)

    def status(self, network: dict[str, Any]) -> None:
        """From version 1.1.0 of a list on."""
        for plugin in network["plugins"]:
            self._call("STATUS", network, plugin, Attachment("", "", ""), None)

    def collect(self, network: dict[str, Any], valid: list[Attachment]) -> None:
        """GC of what is not valid. Before it, libcni deletes what its cache has and the list has not."""
        kept = [(one.container, one.ifname) for one in valid]
        for name, container, ifname in list(self._cache):
            if name == network["name"] and (container, ifname) not in kept:
                self.delete(network, Attachment(container, "", ifname))
        listed = [{"containerID": container, "ifname": ifname} for container, ifname in kept]
        keys = {"cni.dev/valid-attachments": listed, "cni.dev/attachments": listed}
        for plugin in network["plugins"]:
            self._call("GC", network, {**plugin, **keys}, Attachment("", "", ""), None)

    def versions(self, network: dict[str, Any]) -> None:
        for plugin in network["plugins"]:
            names = {"CNI_COMMAND": "VERSION", "CNI_NETNS": "dummy", "CNI_IFNAME": "dummy", "CNI_PATH": "dummy"}
            answer = self._run(plugin["type"], names, {"cniVersion": "1.1.0"})
            assert network["cniVersion"] in answer["supportedVersions"]

    def killed(self, network: dict[str, Any], to: Attachment, after_s: float) -> None:
        """An ADD whose process is killed, that of a plugin with it. There is no result in the cache then."""
        name = network["plugins"][0]["type"]
        config, environ = self._request("ADD", network, network["plugins"][0], to, None)
        with subprocess.Popen(
            self._command(name, environ), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        ) as child:
            assert child.stdin is not None
            child.stdin.write(json.dumps(config).encode())
            child.stdin.close()
            try:
                child.wait(after_s)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)

    def bare(self, name: str) -> str:
        """What a plugin prints without CNI_COMMAND, on both streams."""
        done = self.node.run(self._found(name)).ok()
        return done.out + done.err

    def cached(self, network: dict[str, Any], of: Attachment) -> tuple[dict[str, Any], Any]:
        """The list and the result that ADD had; the list of today and None if there is no cache."""
        return self._cache.get(self._key(network, of), (network, None))

    def _key(self, network: dict[str, Any], of: Attachment) -> tuple[str, str, str]:
        return (network["name"], of.container, of.ifname)

    def _request(
        self, verb: str, network: dict[str, Any], plugin: dict[str, Any], to: Attachment, previous: Any
    ) -> tuple[dict[str, Any], dict[str, str]]:
        given = {key: to.capabilities[key] for key in plugin.get("capabilities", {}) if key in to.capabilities}
        config = {**plugin, "name": network["name"], "cniVersion": network["cniVersion"]}
        config |= {"runtimeConfig": given} if given else {}
        config |= {"prevResult": previous} if previous is not None else {}
        environ = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": to.container, "CNI_NETNS": to.netns, "CNI_IFNAME": to.ifname,
            "CNI_ARGS": to.args, "CNI_PATH": self.path,
        }  # fmt: skip
        return config, environ

    def _call(self, verb: str, network: dict[str, Any], plugin: dict[str, Any], to: Attachment, previous: Any) -> Any:
        config, environ = self._request(verb, network, plugin, to, previous)
        return self._run(plugin["type"], environ, config)

    def _found(self, name: str) -> str:
        paths = (f"{folder}/{name}" for folder in self.path.split(":"))
        return next(path for path in paths if os.path.lexists(self.node.path(path)))

    def _command(self, name: str, environ: dict[str, str]) -> list[str]:
        """With the runtime's environment and no other."""
        given = (f"{key}={value}" for key, value in {**self.environment, **environ}.items())
        return self.node.command(*self.inside, "env", "-i", *given, self._found(name))

    def _run(self, name: str, environ: dict[str, str], config: dict[str, Any]) -> Any:
        done = subprocess.run(
            self._command(name, environ), input=json.dumps(config), capture_output=True, encoding="utf-8", timeout=60,
            check=False,
        )  # fmt: skip
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
        if done.returncode:
            raise Refused(f"{environ['CNI_COMMAND']} of {name}", {**answer, "stderr": done.stderr})
        return answer
