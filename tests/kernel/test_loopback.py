"""The plugin `loopback` on the kernel, beside the reference executable."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cni.plugin import handle
from cni_cnm.frontend.reply import Reply
from cni_cnm.wiring import open_controller
from tests.kernel.lab import Namespace

REFERENCE = Path("/usr/lib/cni/loopback")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


@pytest.fixture
def sandbox() -> Iterator[Namespace]:
    """A container's namespace with `lo` down, as a runtime makes it."""
    namespace = Namespace()
    namespace.ip("link set lo down")
    yield namespace
    namespace.close()


def environ(verb: str, netns: str) -> dict[str, str]:
    return {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": netns,
        "CNI_IFNAME": "lo",
        "CNI_PATH": str(REFERENCE.parent),
    }


def call(verb: str, netns: str, version: str = "1.0.0", **conf: Any) -> Reply:
    stdin = json.dumps({"cniVersion": version, "name": "loop", "type": "loopback", **conf}).encode()
    return handle(environ(verb, netns), lambda: stdin, open_controller, "loopback")


def is_up(namespace: Namespace) -> bool:
    flags: list[str] = json.loads(namespace.run("ip", "-j", "link", "show", "lo"))[0]["flags"]
    return "UP" in flags


def test_up_and_down(sandbox: Namespace) -> None:
    """ADD, CHECK and DEL do what they say, twice over."""
    for _ in range(2):
        added = call("ADD", sandbox.path)
        assert (added.code, is_up(sandbox)) == (0, True)
        assert call("CHECK", sandbox.path, prevResult=json.loads(added.out)).code == 0
        assert (call("DEL", sandbox.path).code, is_up(sandbox)) == (0, False)
        assert call("CHECK", sandbox.path, prevResult=json.loads(added.out)).code == 1


def test_result_is_the_reference_s(sandbox: Namespace) -> None:
    """The same result at 1.0.0; an empty dns counts as none, which releases of the reference differ in."""
    if not REFERENCE.exists():
        pytest.skip(f"{REFERENCE} is not installed")
    conf = json.dumps({"cniVersion": "1.0.0", "name": "loop", "type": "loopback"})
    ran = subprocess.run(
        [REFERENCE], env=environ("ADD", sandbox.path), input=conf, capture_output=True, text=True, check=True
    )
    theirs = json.loads(ran.stdout)
    assert theirs.pop("dns", {}) == {}
    sandbox.ip("link set lo down")
    assert json.loads(call("ADD", sandbox.path).out) == theirs


def test_result_of_an_old_version(sandbox: Namespace) -> None:
    """In the form of the version asked for (the reference's loopback 1.1 answers all in that of 1.0.0)."""
    assert json.loads(call("ADD", sandbox.path, "0.2.0").out) == {
        "cniVersion": "0.2.0",
        "ip4": {"ip": "127.0.0.1/8"},
        "ip6": {"ip": "::1/128"},
        "dns": {},
    }


def test_foreign_address(sandbox: Namespace) -> None:
    """An address that is no loopback address stops ADD, and `lo` stays down."""
    sandbox.ip("address add 192.0.2.1/32 dev lo")
    assert json.loads(call("ADD", sandbox.path).out)["code"] == 999
    assert not is_up(sandbox)


def test_own_namespace(tmp_path: Path) -> None:
    """The plugin's own namespace, under another path: ADD is refused, and DEL leaves its lo up."""
    alias = tmp_path / "netns"
    alias.symlink_to("/proc/self/ns/net")
    assert json.loads(call("ADD", str(alias)).out)["code"] == 8
    assert call("DEL", str(alias)).code == 0


def test_gone(tmp_path: Path) -> None:
    """A namespace that is missing, or the plain file a reboot leaves: DEL is done, ADD is not possible."""
    leftover = tmp_path / "netns"
    for _ in range(2):
        assert call("DEL", str(leftover)).code == 0
        assert json.loads(call("ADD", str(leftover)).out)["code"] == 999
        leftover.touch()
