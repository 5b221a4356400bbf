"""The packages: installed, upgraded, used and removed, with containers that live through it.

In the normal run on a copy of this machine in memory, in the long one also on minimal trees of Debian 12 and 13.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cni_cnm import __version__
from tests.program import ROOT
from tests.system import packages
from tests.system.containerd import Containerd
from tests.system.daemon import Daemon
from tests.system.node import COPIED, Done, Node
from tests.system.open_connection import OpenConnection
from tests.system.packages import EARLIER

PODNET = {"cniVersion": "1.0.0", "name": "podnet", "type": "cni-cnm"}
LIB = f"/opt/cni/lib/cni-cnm/{__version__}"
TREES = ["", *(pytest.param(suite, marks=pytest.mark.long) for suite in ("bookworm", "trixie"))]

pytestmark = pytest.mark.skipif(not shutil.which("dpkg"), reason="packages are built on Debian")


@pytest.fixture(scope="module")
def debs(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The earlier one and the one of this checkout."""
    return packages.earlier("deb", tmp_path_factory.mktemp("earlier")), packages.built("deb")[0]


@pytest.fixture
def machine(require_root: None) -> Iterator[Callable[[str], Node]]:
    """A Debian of a suite; "": a copy of this machine."""
    made: list[Node] = []

    def make(suite: str) -> Node:
        node = Node(tree=packages.tree(suite)) if suite else Node(copied=(*COPIED, "/usr"))
        made.append(node)
        node.run("sh", "-c", "rm -rf /opt/cni /usr/local/bin/cni-cnm; mkdir -p /run/netns").ok()
        return node

    yield make
    for node in made:
        node.close()


def call(node: Node, verb: str, container: str) -> Done:
    environ = {"CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_NETNS": f"/run/netns/{container}",
               "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}  # fmt: skip
    return node.run("/opt/cni/bin/cni-cnm", stdin=json.dumps(PODNET), env=environ)


def add(node: Node, container: str) -> str:
    """Its address."""
    node.add_netns(container)
    address: str = json.loads(call(node, "ADD", container).ok().out)["ips"][0]["address"]
    return address.partition("/")[0]


def pings(node: Node, address: str) -> bool:
    return node.run("ping", "-c1", "-W2", address).code == 0


def dpkg(node: Node, *arguments: str | Path) -> Done:
    """Without triggers of other packages. An edited configuration is kept, as dpkg does without a terminal."""
    words = []
    for argument in arguments:
        if isinstance(argument, Path):
            node.path(f"/run/{argument.name}").write_bytes(argument.read_bytes())
            argument = f"/run/{argument.name}"
        words.append(argument)
    return node.run("dpkg", "--no-triggers", "--force-confdef", "--force-confold", *words, timeout=120)


def left(node: Node) -> set[str]:
    """Files that a package leaves after it was purged."""
    folders = ("/opt/cni", "/etc/cni", "/etc/cni-cnm", "/var/lib/cni", "/var/lib/cni-cnm", "/usr/lib/cni-cnm")
    return node.files(*folders) | {path for path in node.files("/usr/lib/systemd", "/usr/bin") if "cni-cnm" in path}


@pytest.mark.parametrize("suite", TREES)
def test_a_deb_with_containers_that_live_through_it(
    debs: tuple[Path, Path], machine: Callable[[str], Node], suite: str
) -> None:
    """Installed, upgraded beside a running service, removed: the containers keep their network until they are gone."""
    node = machine(suite)
    dpkg(node, "--install", debs[0]).ok()
    assert EARLIER in str(node.path("/opt/cni/lib/cni-cnm/current").readlink())
    assert node.files("/etc/cni/net.d") == set()
    licenses = node.path("/usr/share/doc/cni-cnm/copyright").read_text("utf-8")
    parts = ("Python 3", "pyroute2 ", "netaddr ", "rich ", "pyinstaller ", "libc6 ")
    assert all(f"\n{name}" in licenses for name in parts)
    first = add(node, "c1")
    assert "podnet" in node.run("cni-cnm", "endpoint", "ls").ok().out
    connection = None if suite else OpenConnection(node, "/run/netns/c1", first)  # the trees have no Python
    service = Daemon(node, "/opt/cni/lib/cni-cnm/current/cni-cnm", "serve")
    service.wait(node.path("/run/cni-cnm/service.sock").exists)
    node.write("/etc/cni-cnm/config.toml", "port_wait = 7\n")

    said = dpkg(node, "--install", debs[1]).ok().out
    assert f"still runs {EARLIER}: systemctl restart cni-cnm.service" in said
    assert node.path("/etc/cni-cnm/config.toml").read_text("utf-8") == "port_wait = 7\n"
    second = add(node, "c2")
    assert service.running
    service.stop()
    assert pings(node, first)
    assert pings(node, second)
    if connection is not None:
        connection.lives()
        connection.close()
    assert call(node, "DEL", "c1").ok().err == ""

    said = dpkg(node, "--remove", "cni-cnm").ok().out
    assert "the program stays in /opt/cni" in said
    assert pings(node, second)
    assert "the program in /opt/cni is still there" in dpkg(node, "--purge", "cni-cnm").ok().out
    call(node, "DEL", "c2").ok()
    node.run("/opt/cni/share/cni-cnm/scripts/install", "--uninstall", "--purge").ok()
    assert node.links() == {"lo"}
    assert left(node) == set()


@pytest.mark.parametrize("suite", TREES)
def test_a_deb_without_containers(debs: tuple[Path, Path], machine: Callable[[str], Node], suite: str) -> None:
    """Removed: the program is gone, networks stay. Installed again they are known, and purged they are not."""
    node = machine(suite)
    dpkg(node, "--install", debs[1]).ok()
    add(node, "c1")
    call(node, "DEL", "c1").ok()
    dpkg(node, "--remove", "cni-cnm").ok()
    assert node.files("/opt/cni") == set()
    dpkg(node, "--install", debs[1]).ok()
    assert "podnet" in node.run("cni-cnm", "network", "ls").ok().out
    dpkg(node, "--purge", "cni-cnm").ok()
    assert node.links() == {"lo"}
    assert "cni_cnm" not in node.run("nft", "list", "ruleset").out
    assert left(node) == set()


SYSTEMCTL = """#!/bin/sh
echo "$*" >>/run/systemctl
case $1 in list-unit-files) printf '%s enabled\\n' cni-cnm.service cni-cnm.socket ;; esac
"""


def test_what_a_deb_tells_systemd(debs: tuple[Path, Path], machine: Callable[[str], Node]) -> None:
    """Nothing is enabled; an upgrade restarts a service that runs; a removal stops it, unless endpoints are live."""
    node = machine("")
    node.run("mkdir", "-p", "/run/systemd/system").ok()
    node.write("/usr/bin/systemctl", SYSTEMCTL)
    node.path("/usr/bin/systemctl").chmod(0o755)
    log = node.path("/run/systemctl")

    def told() -> list[str]:
        words = log.read_text("utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in words if not line.startswith("list-unit-files")]

    dpkg(node, "--install", debs[0]).ok()
    assert told() == ["daemon-reload", "try-restart cni-cnm.service"]
    dpkg(node, "--install", debs[1]).ok()
    assert "try-restart cni-cnm.service" in (words := told())
    assert not [line for line in words if line.startswith(("disable", "enable", "stop"))]
    add(node, "c1")
    dpkg(node, "--remove", "cni-cnm").ok()
    assert told() == ["daemon-reload"]
    dpkg(node, "--install", debs[1]).ok()
    call(node, "DEL", "c1").ok()
    told()
    dpkg(node, "--remove", "cni-cnm").ok()
    assert told()[0] == "disable --quiet --now cni-cnm.service cni-cnm.socket"


@pytest.mark.long
@pytest.mark.parametrize("suite", TREES)
def test_an_rpm(bundle: Path, machine: Callable[[str], Node], tmp_path: Path, suite: str) -> None:
    """The same by rpm, whose scripts get numbers: upgraded and removed with a container, and without."""
    if not shutil.which("rpm"):
        pytest.skip("no rpm")
    archives = packages.earlier("rpm", tmp_path), packages.built("rpm")[0]
    node = machine(suite)
    root = "/run/node/root" if suite else "/"

    def rpm(*arguments: str) -> str:
        """Debian's rpm on the tree. Dependencies are not checked: its database knows no package of Debian."""
        words = ["rpm", "--root", root, "--nodeps", *arguments]
        command = ["nsenter", "--target", str(node.pid), "--net", "--mount", "--pid", "--", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    for archive in archives:
        rpm("--upgrade", str(archive))
        assert node.run("cni-cnm", "--version").ok().out == f"cni-cnm {__version__}\n"
    assert str(node.path("/opt/cni/lib/cni-cnm/current").readlink()) == __version__
    assert node.files("/etc/cni/net.d") == set()
    address = add(node, "c1")
    assert "the program stays in /opt/cni" in rpm("--erase", "cni-cnm")
    assert pings(node, address)
    rpm("--install", str(archives[1]))
    call(node, "DEL", "c1").ok()
    rpm("--erase", "cni-cnm")
    assert node.files("/opt/cni", "/usr/lib/cni-cnm") == set()
    assert node.path("/var/lib/cni-cnm/networks/podnet.json").exists()


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_two_builds_are_equal(bundle: Path, tmp_path: Path) -> None:
    """Of one commit, with the program built again in another folder."""
    first = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packages.built("deb", "rpm", "image")}
    checkout = tmp_path / "again"
    subprocess.run(["git", "clone", "-q", ROOT, checkout], check=True)
    for name in ("cni_cnm", "build", "conf", "docs", "scripts"):
        shutil.rmtree(checkout / name)
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    again = packages.built("deb", "rpm", "image", root=checkout)
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in again} == first


@pytest.mark.long
def test_the_image(containerd: Containerd) -> None:
    """Imported by containerd: the program and nft run, every package of Debian has its copyright file."""
    [archive] = packages.built("image")
    node = containerd.node
    node.path("/run/image.tar").write_bytes(archive.read_bytes())
    name = f"localhost/cni-cnm:{__version__}"
    ctr = ("ctr", "--namespace", "test")
    node.run(*ctr, "images", "import", "--snapshotter", "native", "/run/image.tar").ok()

    def inside(*words: str) -> str:
        made = (*ctr, "run", "--rm", "--snapshotter", "native", "--net-host", "--with-ns", "cgroup:/proc/1/ns/cgroup")
        return node.run(*made, name, "one", *words).ok().out

    assert inside("/usr/bin/cni-cnm", "--version") == f"cni-cnm {__version__}\n"
    assert inside("/usr/sbin/nft", "--version").startswith("nftables v")
    assert "(legacy)" in inside("/usr/sbin/iptables-legacy-save", "--version")
    installed = inside("ls", "/var/lib/dpkg/status.d").split()
    assert "libnftables1" in installed
    licensed = inside("sh", "-c", "cd /usr/share/doc; ls -d */copyright").split()
    assert {f"{package}/copyright" for package in (*installed, "cni-cnm")} <= set(licensed)
    said = inside("/usr/lib/cni-cnm/scripts/install", "--prefix", "/run", "--conflist", "podnet")
    assert "installed" in said
