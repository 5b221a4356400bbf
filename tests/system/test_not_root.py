"""Without root, and where a folder cannot be used: one sentence that says so, never a traceback, nothing changed."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.program import ROOT
from tests.system.node import Done, Node

HEAD = """
import importlib, os, pkgutil, sys
sys.path.insert(0, {root!r})
import cni_cnm
for module in pkgutil.walk_packages(cni_cnm.__path__, "cni_cnm."):
    importlib.import_module(module.name)  # an unprivileged user may not read the checkout
for module in pkgutil.iter_modules(importlib.import_module("encodings").__path__, "encodings."):
    if "mbcs" not in module.name and "oem" not in module.name:
        importlib.import_module(module.name)
import argparse, gettext, hashlib, locale, shutil, tomllib, traceback
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
"""
LIBRARY = """
from cni_cnm import CnmError, open_controller

controller = open_controller()
steps = {
    "networks": lambda: list(controller.networks()),
    "network": lambda: controller.network("there"),
    "new_network": lambda: controller.new_network("new", ipam_config={"subnet": "10.6.0.0/24"}),
    "choose": lambda: controller.new_network("new"),
    "sandboxes": lambda: list(controller.sandboxes()),
    "sandbox": lambda: controller.sandbox("red"),
    "new_sandbox": lambda: controller.new_sandbox("blue", "/run/netns/red"),
    "allow": lambda: controller.allow("there", "there2"),
}
found = {}
for name, step in steps.items():
    try:
        found[name] = repr(step())
    except CnmError as error:
        found[name] = str(error)
import json
print(json.dumps(found))
"""
COMMANDS = (
    "network ls", "network inspect there", "network create new", "network rm there", "network allow there there2",
    "network prune --yes", "endpoint ls", "endpoint inspect red", "sandbox ls", "sandbox inspect red", "ipam ls",
    "ipam show there", "port ls", "doctor", "repair", "repair --dry-run", "serve",
)  # fmt: skip
CONF = {"cniVersion": "1.1.0", "name": "pods", "type": "cni-cnm", "ipam": {"subnet": "10.7.0.0/24"}}


def unprivileged(node: Node, script: str, **keys: Any) -> Done:
    return node.run(sys.executable, "-I", "-c", HEAD.format(root=str(ROOT)) + script, **keys)


@pytest.fixture
def used(node: Node) -> Node:
    """With networks and a sandbox on record, in folders as root makes them."""
    node.add_netns("red")
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom cni_cnm import open_controller\nc = open_controller()\n"
        "c.new_network('there', ipam_config={'subnet': '10.5.0.0/24'})\nc.new_sandbox('red', '/run/netns/red')\n"
    )
    node.run(sys.executable, "-I", "-c", script).ok()
    return node


def test_the_library(used: Node) -> None:
    before = used.files("/run/cni-cnm", "/var/lib/cni-cnm"), used.links()
    found = json.loads(unprivileged(used, LIBRARY).ok().out)
    for name, said in found.items():
        assert "\n" not in said, name
        assert "ermi" in said, (name, said)  # "Permission denied", "Operation not permitted"
    assert (used.files("/run/cni-cnm", "/var/lib/cni-cnm"), used.links()) == before


def test_the_library_where_nothing_is_on_record(node: Node) -> None:
    """There is nothing to list, which needs no root; what would make something says that it may not."""
    node.add_netns("red")
    found = json.loads(unprivileged(node, LIBRARY).ok().out)
    assert (found["networks"], found["sandboxes"]) == ("[]", "[]")
    for name in ("new_network", "choose", "new_sandbox"):
        assert "ermi" in found[name], (name, found[name])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line(used: Node, command: str) -> None:
    done = unprivileged(
        used, f"from cni_cnm.cli import run_command\nsys.exit(run_command(['cni-cnm', *{command.split()}]))"
    )
    assert done.code == 1
    assert done.err.startswith("cni-cnm: ")
    assert done.err.count("\n") == 1, done.err
    assert "ermi" in done.err


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_the_plugin(used: Node, verb: str) -> None:
    env = {
        "CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/red", "CNI_IFNAME": "eth0",
        "CNI_PATH": "/nowhere",
    }  # fmt: skip
    conf = {**CONF, "prevResult": {"cniVersion": "1.1.0", "ips": []}, "cni.dev/valid-attachments": []}
    script = "from cni_cnm.__main__ import main\nsys.exit(main())"
    done = unprivileged(used, script, stdin=json.dumps(conf), env=env)
    assert done.code == 1
    error = json.loads(done.out)
    assert error["code"] != 110 or "internal error" not in error["msg"], error
    assert "ermi" in error["msg"], error


@pytest.mark.parametrize("folder", ["/var/lib/cni-cnm", "/run/cni-cnm", "/var/lib/cni/networks"])
def test_a_folder_that_is_a_file(node: Node, folder: str) -> None:
    """As root, too: the sentence names the path and the reason."""
    node.add_netns("red")
    node.run("sh", "-c", f"umount {folder}")  # if it is one of the node's own
    node.run("sh", "-c", f"rm -rf {folder} && touch {folder}").ok()
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom cni_cnm import CnmError, open_controller\n"
        "c = open_controller()\n"
        "try:\n"
        "    list(c.networks())\n"
        "    list(c.sandboxes())\n"
        "    n = c.new_network('one', ipam_config={'subnet': '10.5.0.0/24'})\n"
        "    n.create_endpoint('red').join(c.new_sandbox('red', '/run/netns/red'))\n"
        "except CnmError as error:\n"
        "    print(error)\n"
    )
    said = node.run(sys.executable, "-I", "-c", script).ok().out
    assert folder in said
    assert said.count("\n") == 1
