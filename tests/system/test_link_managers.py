"""Beside a real systemd-networkd that wants every link: the files of conf/ keep it away from ours.

Without a bus and without udev, as networkd runs in a container: a read-only /sys tells it that there is no udev.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import ROOT
from tests.side import Side
from tests.system.daemon import Daemon
from tests.waiting import until

NETWORKD = "/lib/systemd/systemd-networkd"
CONF = ROOT / "conf" / "systemd-networkd"
EVERYTHING = "[Match]\nName=*\n[Network]\nLinkLocalAddressing=no\nAddress=10.99.0.1/24\nIPv6AcceptRA=no\n"
NET = {"cniVersion": "1.1.0", "name": "net", "ipam": {"ranges": [[{"subnet": "10.66.0.0/24"}]]}}


class Networkd:
    """A node with a link of the host's, `other0`, and a routing rule of another program."""

    def __init__(self, side: Side) -> None:
        self.side, self.node = side, side.node
        self.node.run("mount", "-t", "sysfs", "-o", "ro", "sysfs", "/sys").ok()
        self.node.run("mount", "-t", "tmpfs", "tests", "/etc/systemd").ok()
        for folder in ("/run/systemd/netif/links", "/run/systemd/netif/leases"):
            self.node.run("mkdir", "-p", folder).ok()
        self.node.run("chown", "-R", "systemd-network:", "/run/systemd/netif").ok()
        self.node.write("/etc/systemd/network/50-everything.network", EVERYTHING)
        lan = self.node.add_netns("lan")
        self.node.run("ip", "link", "add", "other0", "up", "type", "veth", "peer", "end0", "netns", "lan").ok()
        self.node.run("ip", "link", "set", "end0", "up", netns=lan).ok()
        self.node.run("ip", "rule", "add", "from", "10.66.0.0/24", "lookup", "100").ok()
        self._daemon: Daemon | None = None

    def keep_off(self) -> None:
        """What `scripts/install --managers` copies."""
        for name in ("05-cni-cnm.network", "05-cni-cnm.link"):
            self.node.write(f"/etc/systemd/network/{name}", (CONF / name).read_text(encoding="utf-8"))
        text = (CONF / "networkd.conf").read_text(encoding="utf-8")
        self.node.write("/etc/systemd/networkd.conf.d/cni-cnm.conf", text)

    def start(self) -> None:
        """Returns when `other0` has its configuration."""
        self._daemon = Daemon(self.node, NETWORKD, log="/run/networkd.log", env={"SYSTEMD_LOG_LEVEL": "debug"})
        self._daemon.wait(lambda: self.state("other0") in ("configuring", "configured"))

    def state(self, link: str) -> str:
        """The state of a link's configuration, as networkd writes it for others: "" if it does not know the link."""
        found = [entry["ifindex"] for entry in self.node.ip("link", "show") if entry["ifname"] == link]
        file = self.node.path(f"/run/systemd/netif/links/{found[0]}")
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return next((line.partition("=")[2] for line in lines if line.startswith("ADMIN_STATE=")), "")

    def log(self) -> str:
        return self._daemon.log()[-3000:] if self._daemon else ""

    def close(self) -> None:
        if self._daemon:
            self._daemon.stop()


@pytest.fixture
def networkd(require_root: None, side: Side) -> Iterator[Networkd]:
    if not os.access(NETWORKD, os.X_OK):
        pytest.skip(f"needs {NETWORKD}")
    made = Networkd(side)
    yield made
    made.close()


def ours(networkd: Networkd) -> list[str]:
    return sorted(name for name in networkd.node.links() if name.startswith(("br-", "veth")))


def port(networkd: Networkd) -> str:
    return next(name for name in ours(networkd) if name.startswith("veth"))


def test_without_the_files(networkd: Networkd) -> None:
    """networkd takes the port off its bridge, and removes the rule of another program."""
    networkd.side.add(NET).ok()
    networkd.start()
    until(
        lambda: "master" not in networkd.node.ip("link", "show", "dev", port(networkd))[0],
        "networkd takes the port off its bridge", 30, networkd.log,
    )  # fmt: skip
    assert not networkd.node.ping("10.66.0.1", netns="/run/netns/c1", wait=1)
    until(lambda: "lookup 100" not in networkd.node.run("ip", "rule").out, "the rule is removed", 30, networkd.log)


def test_with_the_files(networkd: Networkd) -> None:
    """Links made before its start and after it stay as they are, and so does the rule."""
    networkd.keep_off()
    networkd.side.add(NET).ok()
    before = networkd.side.state()["host"]["links"]
    networkd.start()
    networkd.side.add({**NET, "name": "later", "ipam": {"ranges": [[{"subnet": "10.67.0.0/24"}]]}}, "c2").ok()
    until(
        lambda: {networkd.state(link) for link in ours(networkd)} == {"unmanaged"},
        "all links of ours are unmanaged", 30, networkd.log,
    )  # fmt: skip
    until(lambda: networkd.state("other0") == "configured", "other0 is configured", 30, networkd.log)
    after = networkd.side.state()["host"]["links"]
    bridge = next(name for name in before if name.startswith("br-"))
    assert after[bridge] == before[bridge]
    assert before["VETH"][0] in after["VETH"]
    assert networkd.node.ping("10.66.0.1", netns="/run/netns/c1")
    assert networkd.node.ping("10.67.0.1", netns="/run/netns/c2")
    assert "lookup 100" in networkd.node.run("ip", "rule").out


def test_names_in_the_files() -> None:
    """All files match the same links: those of cni-cnm, and no bridge of another length."""
    from fnmatch import fnmatchcase

    names = ["br-91d0c7ba3e55", "veth77ce0211", "veth0123456789a", "bwp0123456789ab", "tmp0123456789ab"]
    for path, key, separator in (
        (CONF / "05-cni-cnm.network", "Name=", " "),
        (CONF / "05-cni-cnm.link", "OriginalName=", " "),
        (ROOT / "conf" / "NetworkManager" / "cni-cnm.conf", "unmanaged-devices+=", ";"),
    ):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        value = next(line.removeprefix(key) for line in lines if line.startswith(key))
        patterns = [one.removeprefix("interface-name:") for one in value.split(separator)]
        for name in names:
            assert any(fnmatchcase(name, pattern) for pattern in patterns), (path, name)
        for name in ("br-lan", "eth0", "docker0", "bond0", "br-91d0c7ba3e555"):
            assert not any(fnmatchcase(name, pattern) for pattern in patterns), (path, name)
