"""The units of conf/: their sockets, passed by systemd's own activator, and what scripts/install does with them."""

from __future__ import annotations

import configparser
import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cni_cnm.service.activation import DOCKER, DOCKER_SOCKET_PATH, SOCKET_PATH
from tests.program import ROOT
from tests.system.node import PLUGIN, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE, PODS, DOCKERS = "cni-cnm.service", "cni-cnm.socket", "cni-cnm-docker.socket"
INSTALL = ROOT / "scripts" / "install"
ACTIVATOR = "systemd-socket-activate"


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string((ROOT / "conf" / name).read_text(encoding="utf-8"))
    return parsed


class Activated:
    """Waits on the units' sockets and becomes the service with the first connection, as systemd starts it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        argv: list[str] = []
        names = []
        for name in (PODS, DOCKERS):
            section = unit(name)["Socket"]
            path = section["ListenStream"]
            node.path(path).parent.mkdir(parents=True)
            argv += ["--listen", path]
            names.append(section.get("FileDescriptorName", name))
        program = node.path("/run/program")
        program.write_text(
            f"#!/bin/sh\necho $$ >/run/started\nexec {PLUGIN} serve 2>/run/service.log\n", encoding="ascii"
        )
        program.chmod(0o755)
        command = node.command(ACTIVATOR, *argv, "--fdname", ":".join(names), "/run/program")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def started(self) -> bool:
        return self.node.path("/run/started").exists()

    def docker(self, call: str) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.node.path(DOCKER_SOCKET_PATH)))
            connection.sendall(f"POST /{call} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        decoded = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert isinstance(decoded, dict)
        return decoded

    def pod(self, container: str) -> None:
        environ = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": container, "CNI_NETNS": self.node.add_netns(container),
                   "CNI_IFNAME": "eth0", "CNI_PATH": str(PLUGIN.parent), "CNI_CNM_OWNER": "cni/test"}  # fmt: skip
        conf = {"cniVersion": "1.0.0", "name": "podnet", "type": "cni-cnm"}
        self.node.run(str(PLUGIN), stdin=json.dumps(conf), env=environ).ok()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def activated(bundle: Path, node: Node) -> Iterator[Activated]:
    if shutil.which(ACTIVATOR) is None:
        pytest.skip(f"needs {ACTIVATOR}")
    made = Activated(node)
    for path in (SOCKET_PATH, DOCKER_SOCKET_PATH):
        while not node.path(path).exists():
            assert made.process.poll() is None, "the activator ended"
    yield made
    made.close()


def test_dockers_first_call_starts_the_service_for_both(activated: Activated) -> None:
    """One process answers Docker and pods; a socket that is systemd's outlives it."""
    assert not activated.started()
    assert activated.docker("Plugin.Activate") == {"Implements": ["NetworkDriver", "IpamDriver"]}
    assert activated.started()
    activated.pod("one")
    log = activated.node.path("/run/service.log")
    assert log.read_text(encoding="utf-8").count("the socket of systemd") == 1
    assert activated.docker("NetworkDriver.GetCapabilities")["Scope"] == "local"
    activated.node.run("kill", activated.node.path("/run/started").read_text().strip()).ok()
    activated.process.wait(60)
    for path in (SOCKET_PATH, DOCKER_SOCKET_PATH):
        assert activated.node.path(path).exists()


def test_a_pod_starts_the_service_for_both(activated: Activated) -> None:
    activated.pod("one")
    assert activated.started()
    assert activated.docker("Plugin.Activate")["Implements"] == ["NetworkDriver", "IpamDriver"]


def test_the_units_say_what_the_program_expects() -> None:
    """Paths, the name that tells Docker's socket, one service for both, root's alone, before dockerd and not after."""
    pods, dockers = unit(PODS), unit(DOCKERS)
    assert pods["Socket"]["ListenStream"] == SOCKET_PATH
    assert dockers["Socket"]["ListenStream"] == DOCKER_SOCKET_PATH
    assert dockers["Socket"]["FileDescriptorName"] == DOCKER
    assert dockers["Socket"]["Service"] == SERVICE
    assert dockers["Unit"]["Before"] == "docker.service"
    assert "docker" not in unit(SERVICE)["Unit"]["After"]
    for one in (pods, dockers):
        assert (one["Socket"]["SocketMode"], one["Socket"]["DirectoryMode"]) == ("0600", "0700")


def test_systemd_understands_the_units(bundle: Path, node: Node) -> None:
    """systemd-analyze finds nothing to say about them once they are installed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    node.run(str(INSTALL), "--docker").ok()
    done = node.run(
        "systemd-analyze", "verify", "--man=no", *(f"/etc/systemd/system/{n}" for n in (PODS, DOCKERS, SERVICE))
    )
    said = [line for line in (done.out + done.err).splitlines() if "cni-cnm" in line]
    assert (done.code, said) == (0, [])


SYSTEMCTL = f"""\
#!/bin/sh
case $1 in
list-unit-files) printf '%s enabled\\n' {PODS} {SERVICE} {DOCKERS} ;;
*) echo "$*" >>/run/asked ;;
esac
"""


def test_units_are_installed_on_request_and_taken_back(bundle: Path, node: Node) -> None:
    """Where a systemd runs it is told; what runs is stopped before its unit goes."""
    node.write("/opt/stand-in/systemctl", SYSTEMCTL)
    node.path("/opt/stand-in/systemctl").chmod(0o755)
    node.path("/run/systemd/system").mkdir(parents=True)
    environ = {"PATH": "/opt/stand-in:/usr/sbin:/usr/bin:/sbin:/bin"}
    units = node.path("/etc/systemd/system")

    def there() -> set[str]:
        return {path.name for path in units.glob("*cni-cnm*")}

    node.run(str(INSTALL), env=environ).ok()
    assert there() == set()
    node.run(str(INSTALL), "--service", env=environ).ok()
    assert there() == {PODS, SERVICE}
    node.run(str(INSTALL), "--docker", env=environ).ok()
    assert there() == {PODS, SERVICE, DOCKERS}
    assert (units / DOCKERS).read_bytes() == (ROOT / "conf" / DOCKERS).read_bytes()
    node.run(str(INSTALL), "--uninstall", env=environ).ok()
    assert there() == set()
    asked = node.path("/run/asked").read_text(encoding="utf-8").splitlines()
    assert asked == [
        "daemon-reload",
        "daemon-reload",
        f"disable --quiet --now {PODS} {SERVICE} {DOCKERS}",
        "daemon-reload",
    ]


def test_below_a_prefix_no_systemd_is_asked(bundle: Path, node: Node) -> None:
    node.write("/opt/stand-in/systemctl", SYSTEMCTL)
    node.path("/opt/stand-in/systemctl").chmod(0o755)
    node.path("/run/systemd/system").mkdir(parents=True)
    environ = {"PATH": "/opt/stand-in:/usr/sbin:/usr/bin:/sbin:/bin"}
    for argument in ("--docker", "--uninstall"):
        node.run(str(INSTALL), "--prefix", "/run/image", argument, env=environ).ok()
        assert bool(list(node.path("/run/image").glob("etc/systemd/system/cni-cnm*"))) == (argument == "--docker")
    assert not node.path("/run/asked").exists()
