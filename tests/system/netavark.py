"""netavark's side of the plugin API: a stand-in that sends what it sends, and netavark itself where it is built.

Both are given what podman gives netavark: a network to create, and a container with its networks.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.netavark_messages import CONTAINER
from tests.program import ROOT
from tests.side import Side

PLUGINS = "/opt/netavark"


class PluginFailed(Exception):
    """The plugin answered with an error; its sentence."""


class Caller:
    """`netavark create`, `setup` and `teardown` as podman calls them.

    `program`: netavark; "" for the stand-in. With `served` setup and teardown have no full program: a service answers.
    """

    def __init__(self, side: Side, program: str = "", *, served: bool = False) -> None:
        self._side = side
        self._program = program
        self._environ = {"CNI_CNM_PROGRAM": "/nowhere"} if served else {}
        side.node.run("mkdir", "-p", PLUGINS, "/run/containers/networks").ok()
        side.node.run("ln", "-sf", str(side.executable), f"{PLUGINS}/cni-cnm").ok()

    def create(self, network: dict[str, Any]) -> dict[str, Any]:
        if not self._program:
            return self._plugin("create", network)
        options = {"subnet_pools": [], "default_interface_name": "podman", "check_used_subnets": True}
        used: dict[str, Any] = {"interfaces": [], "names": {}, "subnets": []}
        return self._netavark(["create"], {"network": network, "used": used, "options": options})

    def setup(self, netns: str, *networks: tuple[dict[str, Any], dict[str, Any]], **keys: Any) -> dict[str, Any]:
        """Each network with the container's options there. The status blocks, by the networks' names."""
        if self._program:
            return self._netavark(["setup", netns], self._container(*networks, **keys))
        return {net["name"]: self._plugin("setup", self._message(net, one, **keys), netns) for net, one in networks}

    def teardown(self, netns: str, *networks: tuple[dict[str, Any], dict[str, Any]], **keys: Any) -> None:
        if self._program:
            self._netavark(["teardown", netns], self._container(*networks, **keys))
            return
        for net, one in networks:
            self._plugin("teardown", self._message(net, one, **keys), netns)

    def _container(self, *networks: tuple[dict[str, Any], dict[str, Any]], **keys: Any) -> dict[str, Any]:
        options = {net["name"]: one for net, one in networks}
        info = {net["name"]: net for net, _ in networks}
        whole = {"container_id": CONTAINER, "container_name": "testctr", "networks": options, "network_info": info}
        return {**whole, **keys}

    def _message(self, network: dict[str, Any], options: dict[str, Any], **keys: Any) -> dict[str, Any]:
        """netavark's NetworkPluginExec: absent values of the container's options are null."""
        absent: dict[str, Any] = dict.fromkeys(("aliases", "static_ips", "static_mac", "options"))
        ids = {"container_id": CONTAINER, "container_name": "testctr", "port_mappings": None}
        return {**ids, **keys, "network": network, "network_options": {**absent, **options}}

    def _plugin(self, verb: str, message: dict[str, Any], *arguments: str) -> dict[str, Any]:
        environ = self._environ if verb != "create" else {}
        done = self._side.node.run(f"{PLUGINS}/cni-cnm", verb, *arguments, stdin=json.dumps(message), env=environ)
        if done.code:
            raise PluginFailed(json.loads(done.out)["error"])
        return json.loads(done.out) if done.out else {}

    def _netavark(self, arguments: list[str], message: dict[str, Any]) -> dict[str, Any]:
        where = ("--config", "/run/containers/networks", "--firewall-driver", "none", "--plugin-directory", PLUGINS)
        environ = self._environ if arguments != ["create"] else {}
        done = self._side.node.run(self._program, *where, *arguments, stdin=json.dumps(message), env=environ)
        if done.code:
            raise PluginFailed(json.loads(done.out)["error"])
        return json.loads(done.out) if done.out.strip() else {}


@cache
def _built() -> tuple[str, str]:
    """netavark's path, and why there is none."""
    done = subprocess.run(
        [ROOT / "scripts/reference", "--built", "netavark"], capture_output=True, text=True, check=False
    )
    return (str(Path(done.stdout.strip()) / "netavark"), "") if done.returncode == 0 else ("", done.stderr.strip())


def netavark() -> str:
    """The path of netavark 2. Skips where it is not built."""
    path, why = _built()
    if why:
        pytest.skip(why)
    return path
