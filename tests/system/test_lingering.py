"""The service that a call leaves behind: when it starts, what it has of its caller, whom it answers, when it ends."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from cni_cnm.service.protocol import encode_request
from tests.program import built
from tests.side import Side
from tests.system.test_service import WHOLE, exchange
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONF: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "podnet", "bridge": "br0", "isGateway": True,
    "ipam": {"type": "host-local", "subnet": "10.88.0.0/16"},
}  # fmt: skip
SOCKET = "/run/cni-cnm/service.sock"
LINGERS = {"CNI_CNM_LINGER": "", "CNI_CNM_OWNER": "test"}
BUSCTL = '#!/bin/sh\necho "$@" >>/run/busctl\nexec sleep 1000\n'


class Host:
    """A node with the built program and no service, and calls that may leave one behind."""

    def __init__(self) -> None:
        self.side = Side(built() / "cni-cnm", "cni-cnm")
        self.node = self.side.node
        for name in ("c1", "c2"):
            self.side.container(name)

    def call(self, verb: str = "ADD", container: str = "c1", **environ: str) -> Any:
        return self.side.call(verb, CONF, container, env={**LINGERS, **environ}).ok().json

    def pair(self, **environ: str) -> None:
        """An ADD and a DEL: two calls at once one after the other."""
        self.call("ADD", **environ)
        self.call("DEL", **environ)

    def service(self) -> list[int]:
        """Processes of the service, as the node sees them, the supervisor first."""
        found = self.node.run("pgrep", "-f", "serve --linger").out.split()
        return [int(pid) for pid in found]

    def listening(self) -> bool:
        return self.node.path(SOCKET).exists() and len(self.service()) > 2

    def wait(self) -> int:
        """Until the service answers: the supervisor's pid."""
        until(self.listening, "a service lingers")
        return self.service()[0]

    def ended(self) -> bool:
        return not self.service()

    def never_starts(self) -> bool:
        time.sleep(0.5)
        return not self.service()

    def file(self, pid: int, name: str) -> str:
        return self.node.run("cat", f"/proc/{pid}/{name}").ok().out


@pytest.fixture
def host(require_root: None) -> Iterator[Host]:
    made = Host()
    yield made
    made.side.close()


def test_the_second_call_leaves_a_service_behind(host: Host) -> None:
    """The first one does not. The third is answered by the service, with the same answer."""
    first = host.call("ADD")
    assert host.never_starts()
    host.call("DEL")
    supervisor = host.wait()
    noted = host.node.path("/run/cni-cnm/linger").stat().st_mtime_ns
    again = host.call("ADD")
    assert again["interfaces"][0] == first["interfaces"][0]
    host.call("DEL")
    assert host.service()[0] == supervisor
    assert host.node.path("/run/cni-cnm/linger").stat().st_mtime_ns == noted, "a call without the service"
    assert host.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()


def test_calls_by_another_name_leave_one_behind(host: Host, tmp_path: Path) -> None:
    """The service is the program itself, whatever plugin it was called as."""
    (tmp_path / "bridge").symlink_to(host.side.executable)
    for verb in ("ADD", "DEL"):
        host.side.call(verb, CONF, env=LINGERS, executable=tmp_path / "bridge").ok()
    host.wait()
    host.side.call("ADD", CONF, env=LINGERS, executable=tmp_path / "bridge").ok()
    host.side.call("DEL", CONF, env=LINGERS, executable=tmp_path / "bridge").ok()
    assert host.node.files("/run/cni-cnm/endpoints") == set()


def test_it_has_nothing_of_its_caller(host: Host) -> None:
    """Session, folder, descriptors, environment, limits, mask."""
    caller = "umask 0; ulimit -Sn 200; trap '' TERM; exec 7</etc/passwd 8>/run/kept; cd /tmp; exec \"$0\""
    environ = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
               "CNI_PATH": "/nowhere", "PRIVATE": "canary", **LINGERS}  # fmt: skip
    for verb in ("ADD", "DEL"):
        host.node.run("sh", "-c", caller, str(host.side.executable), stdin=json.dumps({**CONF, "type": "cni-cnm"}),
                      env={**environ, "CNI_COMMAND": verb}).ok()  # fmt: skip
    pid = host.wait()
    root = f"/proc/{pid}"
    opened = host.node.run("sh", "-c", f"for fd in {root}/fd/*; do readlink $fd; done").ok().out.split("\n")
    assert opened.count("/dev/null") == 3
    assert not {"/etc/passwd", "/run/kept"} & set(opened)
    assert host.node.run("readlink", f"{root}/cwd").out.strip() == "/"
    assert "canary" not in host.file(pid, "environ")
    fields = host.file(pid, "stat").rpartition(")")[2].split()
    assert fields[1] == "1", "the parent is the first process of the node"
    assert int(fields[3]) != pid, "it leads no session, so it gets no terminal"
    status = dict(line.partition(":")[::2] for line in host.file(pid, "status").splitlines())
    assert status["Umask"].strip() == "0022", "as of every form of the program"
    assert not int(status["SigIgn"], 16) & 1 << (signal.SIGTERM - 1)
    limits = {line[:26].strip(): line[26:].split() for line in host.file(pid, "limits").splitlines()}
    assert int(limits["Max open files"][0]) > 200


def test_the_runtime_does_not_wait_for_it(host: Host) -> None:
    """The pipes of the call that starts it end with the call: this returns only when they have."""
    for _ in range(2):
        host.pair()
    host.wait()


@pytest.mark.parametrize("why", ["settings", "environment", "no socket", "a unit", "STATUS", "long ago", "mounts"])
def test_when_none_starts(host: Host, why: str) -> None:
    environ = {}
    if why == "settings":
        host.node.write("/etc/cni-cnm/config.toml", "linger = 0\n")
    elif why == "a unit":
        host.node.write("/etc/systemd/system/cni-cnm.service", "")
    elif why == "environment":
        environ["CNI_CNM_LINGER"] = "0"
    elif why == "no socket":
        environ["CNI_CNM_SOCKET"] = ""
    if why == "STATUS":
        for _ in range(3):
            host.side.call("STATUS", {**CONF, "cniVersion": "1.1.0"}, env=LINGERS).ok()
    elif why == "mounts":
        environ = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
                   "CNI_PATH": "/nowhere", **LINGERS}  # fmt: skip
        stdin = json.dumps({**CONF, "type": "cni-cnm"})
        host.node.write("/run/conf", stdin)
        script = 'for v in ADD DEL; do CNI_COMMAND=$v unshare --mount "$0" </run/conf; done; exit $?'
        host.node.run("sh", "-c", script, str(host.side.executable), env=environ).ok()
        assert host.node.path("/run/cni-cnm/linger").exists()
    elif why == "long ago":
        host.call("ADD")
        past = time.time() - 60
        os.utime(host.node.path("/run/cni-cnm/linger"), (past, past))
        host.call("DEL")
    else:
        host.pair(**environ)
    assert host.never_starts()


def test_it_ends_without_calls(host: Host) -> None:
    """After the seconds of the setting; the socket's file goes with it, and the next call works."""
    host.node.write("/etc/cni-cnm/config.toml", "linger = 1\n")
    host.pair()
    host.wait()
    until(host.ended, "it ends")
    assert not host.node.path(SOCKET).exists()
    host.pair()


@pytest.mark.parametrize("who", ["settings", "mounts", "network"])
def test_others_get_the_full_program(host: Host, who: str) -> None:
    """The service refuses them, and stays."""
    host.pair()
    supervisor = host.wait()
    environ = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c2", "CNI_NETNS": "/run/netns/c2", "CNI_IFNAME": "eth0",
               "CNI_PATH": "/nowhere", **LINGERS}  # fmt: skip
    stdin = json.dumps({**CONF, "type": "cni-cnm"})
    program = str(host.side.executable)
    if who == "settings":
        host.node.write("/etc/other.toml", 'state_dir = "/run/other"\n')
        host.node.run(program, stdin=stdin, env={**environ, "CNI_CNM_CONFIG": "/etc/other.toml"}).ok()
        assert host.node.path("/run/other/networks/podnet.json").exists()
    elif who == "mounts":
        script = 'mount -t tmpfs none /var/lib/cni-cnm; "$0"; ls /var/lib/cni-cnm/networks'
        done = host.node.run("unshare", "--mount", "sh", "-c", script, program, stdin=stdin, env=environ).ok()
        assert done.out.endswith("podnet.json\n"), done.out
    else:
        other = host.node.add_netns("other")
        host.node.run(program, netns=other, stdin=stdin, env=environ).ok()
        assert "br0" in host.node.links(netns=other)
    assert host.service()[0] == supervisor


def test_another_version_ends_it(host: Host) -> None:
    """As after an upgrade: its relay gets the full program of its own version."""
    host.pair()
    host.wait()
    assert exchange(host.node.path(SOCKET), encode_request(WHOLE, 1, version="0.1.0"), 1) == b""
    until(host.ended, "it ends")


def test_systemd_is_asked_for_a_scope_and_not_waited_for(host: Host) -> None:
    """A stand-in for busctl that never answers: the service starts all the same."""
    host.node.path("/run/systemd/system").mkdir(parents=True)
    host.node.write("/opt/stand-in/busctl", BUSCTL)
    host.node.path("/opt/stand-in/busctl").chmod(0o755)
    host.pair(PATH="/opt/stand-in:/usr/sbin:/usr/bin:/sbin:/bin")
    pid = host.wait()
    asked = host.node.path("/run/busctl").read_text(encoding="ascii")
    assert f"StartTransientUnit ssa(sv)a(sa(sv)) cni-cnm-{pid}.scope fail 3 PIDs au 1 {pid}" in asked


def killed_at_random(host: Host, times: int) -> None:
    """Calls go on while processes of the lingering service are killed: each answer is right."""
    chance = random.Random(times)
    kills = 0
    begun = time.monotonic()
    while kills < times:
        assert time.monotonic() - begun < 10 * times + 60
        added = host.call("ADD")
        (given,) = added["ips"]
        assert host.node.addresses("eth0", netns="/run/netns/c1") == {given["address"]}
        if pids := host.service():
            victim = chance.choice(pids)
            host.node.run("sh", "-c", f"(sleep 0.0{chance.randint(0, 9)}; kill -9 {victim}) >/dev/null 2>&1 &")
            kills += 1
        host.call("DEL")
        assert host.node.links(netns="/run/netns/c1") == {"lo"}
        assert host.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()
    assert {name for name in host.side.leases("podnet") if name.startswith("10.")} == set()


def test_killed_at_random_no_answer_is_lost(host: Host) -> None:
    killed_at_random(host, 10)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_random_often(host: Host) -> None:
    killed_at_random(host, 200)
