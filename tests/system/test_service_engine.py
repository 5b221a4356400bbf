"""The service with the real engine, beside the full program."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import LAUNCHER, ROOT
from tests.system.node import Done, Node
from tests.waiting import until

CONF: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "podnet", "type": "cni-cnm", "bridge": "br0", "isGateway": True, "ipMasq": True,
    "ipam": {"type": "host-local", "subnet": "10.88.0.0/16"},
}  # fmt: skip
SOCKET = "/run/cni-cnm/service.sock"


class Served:
    """A node with a service in it, and relays that call it."""

    def __init__(self, relay: Path, folder: Path) -> None:
        self.node = Node()
        self.relay = str(relay)
        self.program = folder / "program"
        self.program.write_text(LAUNCHER.format(python=sys.executable, root=str(ROOT)))
        self.program.chmod(0o755)
        self.log = folder / "log"
        self.service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.service = subprocess.Popen(
                self.node.command(str(self.program), "serve", "--trace", "--workers", "1"), stderr=log
            )
        until(lambda: b"answering" in self.log.read_bytes(), "the service answers", said=self.log.read_text)

    def pids(self) -> dict[str, int]:
        """Of the service's processes, as the node sees them, in the order in which they were started."""
        found = map(int, self.node.run("pgrep", "-f", "serve --trace").ok().out.split())
        return dict(zip(("supervisor", "worker", "watch", "names", "metrics", "deleter"), found, strict=True))

    def close(self) -> None:
        self.node.close()
        if self.service is not None:
            self.service.wait(timeout=20)

    def call(
        self, verb: str, container: str = "c1", *, conf: dict[str, Any] = CONF, netns: str | None = None,
        caller: str = "", **environ: str,
    ) -> Done:  # fmt: skip
        given = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": f"/run/netns/{container}" if netns is None else netns,
            "CNI_PATH": "/nowhere",
            "CNI_CNM_PROGRAM": str(self.program),
            "CNI_CNM_OWNER": "test",
            **environ,
        }
        return self.node.run(self.relay, netns=caller, stdin=json.dumps(conf), env=given)

    def traced(self, text: str) -> int:
        return self.log.read_text().count(text)


@pytest.fixture
def served(require_root: None, compiled_relay: Path, tmp_path: Path) -> Iterator[Served]:
    made = Served(compiled_relay, tmp_path)
    for name in ("c1", "c2"):
        made.node.add_netns(name)
    try:
        yield made
    finally:
        made.close()


def test_a_pod_by_the_service(served: Served) -> None:
    """ADD, CHECK, DEL, STATUS are answered by the service, work, and leave nothing."""
    served.start()
    added = served.call("ADD").ok()
    result = json.loads(added.out)
    assert served.node.addresses("eth0", netns="/run/netns/c1") == {"10.88.0.2/16"}
    assert served.node.ping("10.88.0.1", netns="/run/netns/c1")
    assert served.call("CHECK", conf={**CONF, "prevResult": result}).ok().out == ""
    assert served.call("STATUS", conf={**CONF, "cniVersion": "1.1.0"}).ok().out == ""
    assert served.call("DEL").ok().out == ""
    assert served.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()
    assert served.node.links(netns="/run/netns/c1") == {"lo"}
    assert [served.traced(f"{verb} c1 eth0 code=0") for verb in ("ADD", "CHECK", "STATUS", "DEL")] == [1] * 4


def test_status_while_the_service_hangs(served: Served) -> None:
    """The full program answers, ready or not; the service goes on later as if nothing had been asked."""
    served.start()
    assert served.service is not None
    newer = {**CONF, "cniVersion": "1.1.0"}
    missing = {**newer, "ipam": {"type": "nowhere-found"}}
    served.node.run("kill", "-STOP", str(served.pids()["worker"])).ok()
    assert served.call("STATUS", conf=newer).ok().out == ""
    assert json.loads(served.call("STATUS", conf=missing).out)["code"] == 50
    served.node.run("kill", "-CONT", str(served.pids()["worker"])).ok()
    served.call("ADD").ok()
    served.call("DEL").ok()
    assert served.traced("ADD c1 eth0 code=0") == 1


CALLS: dict[str, dict[str, Any]] = {
    "no such version": {"conf": {**CONF, "cniVersion": "9.9.9"}},
    "no such namespace": {"netns": "/run/netns/nowhere"},
    "no namespace": {"netns": ""},
    "own namespace": {"netns": "/proc/self/ns/net"},
    "bad value": {"conf": {**CONF, "mtu": "much"}},
    "bad subnet": {"conf": {**CONF, "ipam": {"type": "host-local", "subnet": "300.0.0.0/8"}}},
    "bad container": {"container": "../x"},
    "unknown key": {"conf": {**CONF, "unheardOf": 1}, "netns": "/run/netns/nowhere"},
    "older result": {"conf": {**CONF, "cniVersion": "0.2.0"}},
}


@pytest.mark.parametrize("case", CALLS)
def test_the_same_answer_on_both_ways(served: Served, case: str) -> None:
    """Byte for byte on stdout and stderr, with the same exit code."""
    served.start()
    given = CALLS[case]
    by_service = served.call("ADD", **given)
    served.call("DEL", **given)
    served.node.run("sh", "-c", "rm -f /var/lib/cni/networks/podnet/last_reserved_ip.0").ok()
    by_program = served.call("ADD", **given, CNI_CNM_SOCKET="")
    assert by_service == by_program
    assert served.traced("ADD ") == 1


def test_what_one_adds_the_other_deletes(served: Served) -> None:
    """Service and full program work on the same records."""
    served.start()
    served.call("ADD", "c1").ok()
    served.call("ADD", "c2", CNI_CNM_SOCKET="").ok()
    served.call("DEL", "c1", CNI_CNM_SOCKET="").ok()
    served.call("DEL", "c2").ok()
    assert served.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()


def test_a_caller_in_another_namespace_is_not_the_services(served: Served) -> None:
    """The full program answers in the caller's namespace; the service's has no part in it."""
    served.start()
    other = served.node.add_netns("other")
    served.call("ADD", caller=other).ok()
    assert "br0" in served.node.links(netns=other)
    assert "br0" not in served.node.links()
    assert served.traced("declined") == 1


def test_the_namespace_comes_as_a_descriptor(served: Served) -> None:
    """A namespace only the relay can see (another mount namespace, a path of its own) is served all the same."""
    served.start()
    pinned = "mkdir /run/elsewhere; mount -t tmpfs none /run/elsewhere; touch /run/elsewhere/ns; "
    pinned += 'mount --bind /run/netns/c1 /run/elsewhere/ns; exec "$0"'
    environ = {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/elsewhere/ns",
        "CNI_CNM_PROGRAM": "/bin/false", "CNI_CNM_OWNER": "test",
    }  # fmt: skip
    served.node.run("unshare", "--mount", "sh", "-c", pinned, served.relay, stdin=json.dumps(CONF), env=environ).ok()
    assert served.node.addresses("eth0", netns="/run/netns/c1") == {"10.88.0.2/16"}


@pytest.mark.parametrize("delay_ms", [0, 2, 4, 6, 8, 11])
def test_killed_anywhere_in_an_add_nothing_is_lost(served: Served, delay_ms: int) -> None:
    """kill -9 of the service: the relay's own run finishes the same request, with one address and one link."""
    served.start()
    served.call("ADD", "c2").ok()
    pids = " ".join(map(str, served.pids().values()))
    script = f'(sleep {0.03 + delay_ms / 1000}; kill -9 $1) & sleep 0.03; "$0"; code=$?; wait; exit $code'
    environ = {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/c1",
        "CNI_CNM_PROGRAM": str(served.program), "CNI_CNM_OWNER": "test",
    }  # fmt: skip
    ran = served.node.run("sh", "-c", script, served.relay, pids, stdin=json.dumps(CONF), env=environ)
    (given,) = json.loads(ran.ok().out)["ips"]
    assert served.node.addresses("eth0", netns="/run/netns/c1") == {given["address"]}
    leases = {path.rpartition("/")[2] for path in served.node.files("/var/lib/cni/networks/podnet")}
    assert {name for name in leases if name.startswith("10.")} == {"10.88.0.2", given["address"].partition("/")[0]}
    assert len([link for link in served.node.links() if link.startswith("veth")]) == 2
    served.call("DEL", "c1").ok()
    served.call("DEL", "c2").ok()
    assert served.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()
    assert not [link for link in served.node.links() if link.startswith("veth")]


def test_sigterm_ends_it(served: Served) -> None:
    """Exit code 0, and the socket's name is gone."""
    served.start()
    served.call("ADD").ok()
    served.node.run("kill", f"-{signal.SIGTERM.value}", str(served.pids()["supervisor"])).ok()
    assert served.service is not None
    assert served.service.wait(timeout=20) == 0
    assert not served.node.path(SOCKET).exists()


def soak(served: Served, *steps: str) -> list[int]:
    """Resident KiB at each point of a load (tests/system/soak.py)."""
    served.start()
    command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.system.soak"]
    done = served.node.run(*command, served.relay, str(served.pids()["supervisor"]), *steps, timeout=3000)
    return [int(line) for line in done.ok().out.split()]


def test_memory_stays_where_it_was(served: Served) -> None:
    """After 600 ADD and DEL it is what it was after 200, within 3 MiB; with that, below 50 MiB."""
    points = soak(served, "cycle", "200", "cycle", "400")
    assert points[-1] - points[2] < 3 * 1024, points
    assert points[-1] < 50 * 1024, points


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_memory_does_not_grow_over_20_000_pods(served: Served) -> None:
    """20,000 ADD and DEL after the first 2,000: within 3 MiB."""
    points = soak(served, "cycle", "2000", "cycle", "20000")
    assert points[-1] - points[10] < 3 * 1024, points


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_thousand_endpoints_take_less_than_50_mib(served: Served) -> None:
    """Resident, with all of them attached."""
    assert soak(served, "attach", "1000")[0] < 50 * 1024
