"""The units of conf/ under a real systemd: the first connection starts the service, and it comes back after a kill."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.docker_host import PLUGIN_SOCKET
from tests.system.systemd import Systemd, missing
from tests.waiting import until

SERVICE_SOCKET = "/run/cni-cnm/service.sock"
SERVICE = "cni-cnm.service"

pytestmark = pytest.mark.long


@pytest.fixture
def systemd(require_root: None, bundle: Path) -> Iterator[Systemd]:
    if why := missing():
        pytest.skip(why)
    with Systemd() as systemd:
        systemd.control("start", "cni-cnm.socket", "cni-cnm-docker.socket")
        yield systemd


def activates(systemd: Systemd) -> list[str]:
    """What the plugin says to Docker's first call, over the socket that systemd has made."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(systemd.path(PLUGIN_SOCKET)))
        connection.sendall(
            b"POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return list(json.loads(answer.partition(b"\r\n\r\n")[2])["Implements"])


def test_the_first_connection_starts_the_service(systemd: Systemd) -> None:
    """Both sockets are there before, root's alone. What connects while it starts waits for it."""
    assert systemd.run("systemctl", "is-active", SERVICE).out.strip() == "inactive"
    for path in (PLUGIN_SOCKET, SERVICE_SOCKET):
        assert systemd.path(path).stat().st_mode & 0o777 == 0o600
    assert activates(systemd) == ["NetworkDriver", "IpamDriver"]
    until(lambda: systemd.run("systemctl", "is-active", SERVICE).code == 0, "the service is ready")
    assert systemd.shown(SERVICE, "NRestarts") == "0"


def test_it_is_started_again_after_a_kill(systemd: Systemd) -> None:
    """The sockets stay, so no connection is refused meanwhile."""
    systemd.control("start", SERVICE)
    before = systemd.shown(SERVICE, "MainPID")
    systemd.run("kill", "-9", before).ok()
    assert activates(systemd) == ["NetworkDriver", "IpamDriver"]
    until(lambda: systemd.shown(SERVICE, "MainPID") not in ("0", before), "another process")
    assert systemd.shown(SERVICE, "NRestarts") == "1"


def test_a_stop_ends_all_processes_and_a_connection_starts_it_again(systemd: Systemd) -> None:
    """SIGTERM is enough: it ends before TimeoutStopSec, with the result success."""
    assert activates(systemd)
    until(lambda: systemd.run("systemctl", "is-active", SERVICE).code == 0, "the service is ready")
    systemd.run("systemctl", "stop", SERVICE).ok()
    assert systemd.shown(SERVICE, "Result") == "success"
    assert systemd.shown(SERVICE, "MainPID") == "0"
    assert "/opt/cni/lib" not in systemd.run("ps", "-eo", "args").out
    assert activates(systemd) == ["NetworkDriver", "IpamDriver"]


def test_dockers_socket_is_opened_once_the_service_is_stopped(systemd: Systemd) -> None:
    """As docs/install.md says."""
    systemd.control("stop", "cni-cnm-docker.socket")
    systemd.control("start", SERVICE)
    assert systemd.run("systemctl", "start", "cni-cnm-docker.socket").code
    systemd.control("stop", SERVICE)
    systemd.control("start", "cni-cnm.socket", "cni-cnm-docker.socket")
    assert activates(systemd) == ["NetworkDriver", "IpamDriver"]


def test_what_the_unit_takes_away(systemd: Systemd) -> None:
    """Capabilities and system calls, as the kernel shows them."""
    systemd.control("start", SERVICE)
    pid = systemd.shown(SERVICE, "MainPID")
    status = systemd.run("cat", f"/proc/{pid}/status").ok().out
    bounding = int(status.partition("CapBnd:\t")[2].split()[0], 16)
    assert not bounding >> 16 & 1, "CAP_SYS_MODULE"
    assert bounding >> 12 & 1, "CAP_NET_ADMIN"
    assert "Seccomp:\t2" in status


def test_the_units_are_without_faults(require_root: None, bundle: Path) -> None:
    """`systemd-analyze verify`, with the program where the units look for it."""
    if why := missing():
        pytest.skip(why)
    with Systemd() as systemd:
        units = ("cni-cnm.service", "cni-cnm.socket", "cni-cnm-docker.socket")
        done = systemd.run("systemd-analyze", "verify", "--man=no", *(f"/run/units/{unit}" for unit in units))
    assert (done.code, done.err) == (0, "")
