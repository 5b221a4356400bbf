"""Hosts of a cluster, on one machine: a namespace for each, an underlay of two segments with a router, a real etcd.

          etcd 192.0.2.10              router: forwards between the segments
            │                        ┌───────┴────────┐
    ────────┴──┬───────────┬─────────┴──   ───┬───────┴──
       node1 .11    node2 .12 …            far1 .75
       192.0.2.0/26   fd00:a::/64          192.0.2.64/26   fd00:b::/64

    with Lab() as lab:                      or the fixture `lab`
        one = lab.host("node1")             a host with a service; far=True: on the other segment
        pod = one.pod("web")                ADD on the network; Pod has its addresses
        pod.pings(other.address)

Each host is a `Node`: its own network, mounts, processes, settings and records. The program is the built one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.kernel.lab import Namespace
from tests.program import built
from tests.side import Answer, Side
from tests.system.daemon import Daemon
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from tests.system.node import Done, Node

STORE, STORE6 = "192.0.2.10", "fd00:a::10"
CONFIG = "/etc/cni-cnm/config.toml"
STATE = ("/var/lib/cni-cnm", "/var/lib/cni/networks")
LOG = "/var/lib/cni-cnm/requests.log"
READY_S = 30
WEB = ("web", "--subnet", "10.32.0.0/16", "--subnet", "fd32::/48")
"""A network of both IP versions: its name, and what `network create` needs."""


class Segment(NamedTuple):
    """One link of the underlay."""

    bridge: str
    prefix: str
    """Of IPv4 addresses, without the last byte."""
    first: int
    """Last byte of the first host."""
    gateways: tuple[str, str]
    prefix6: str


NEAR = Segment("near", "192.0.2.", 11, ("192.0.2.1/26", "fd00:a::1/64"), "fd00:a::")
FAR = Segment("far", "192.0.2.", 75, ("192.0.2.65/26", "fd00:b::1/64"), "fd00:b::")


class Etcd:
    """A real etcd in a namespace of the lab. `stop` and `start` keep its data; `folder` has it."""

    def __init__(self, place: Namespace, folder: Path) -> None:
        self.url, self.url6 = f"http://{STORE}:2379", f"http://[{STORE6}]:2379"
        self.folder = folder
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [
            "etcd", "--name", "lab", "--data-dir", str(self.folder), "--listen-client-urls", f"{self.url},{self.url6}",
            "--advertise-client-urls", f"{self.url},{self.url6}", "--listen-peer-urls", "http://127.0.0.1:2380",
            "--initial-advertise-peer-urls", "http://127.0.0.1:2380", "--initial-cluster", "lab=http://127.0.0.1:2380",
        ]  # fmt: skip
        environ = {"PATH": os.environ["PATH"], "ETCD_UNSUPPORTED_ARCH": "arm64"}
        log = self.folder.with_suffix(".log").open("ab")
        self._process = subprocess.Popen(
            ["nsenter", f"--net={self._place.path}", *argv], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, env=environ,
        )  # fmt: skip
        log.close()
        until(self._answers, "etcd answers", 60, lambda: self.folder.with_suffix(".log").read_text()[-2000:])

    def _answers(self) -> bool:
        return self.ctl("endpoint", "health", check=False) != ""

    def ctl(self, *argv: str, check: bool = True) -> str:
        """`etcdctl argv…` of the same release."""
        done = subprocess.run(
            ["nsenter", f"--net={self._place.path}", "etcdctl", "--endpoints", self.url, *argv],
            capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"},
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout + done.stderr if done.returncode == 0 else ""

    def post(self, call: str, request: object) -> None:
        """A call of the JSON gateway."""
        script = "import sys, urllib.request as u; u.urlopen(sys.argv[1], sys.stdin.buffer.read()).read()"
        self._place.run("/usr/bin/python3", "-c", script, f"{self.url}/v3/{call}", text=json.dumps(request))

    def requests(self) -> int:
        """How many have come so far, watches and their lines not counted: etcd's own figure."""
        script = "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1]).read().decode())"
        text = self._place.run("/usr/bin/python3", "-c", script, f"{self.url}/metrics")
        lines = [line for line in text.splitlines() if line.startswith("grpc_server_started_total{")]
        return int(sum(float(line.split()[-1]) for line in lines if 'grpc_method="Watch"' not in line))

    def stored(self) -> list[str]:
        """All keys."""
        return [line for line in self.ctl("get", "/", "--prefix", "--keys-only").splitlines() if line]

    def stop(self, sig: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(sig)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It has every connection open, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restore(self, backup: str) -> None:
        """Stop it, put the content of a backup (`etcdctl snapshot save`) in its place, and start it."""
        self.stop()
        shutil.rmtree(self.folder)
        self.ctl(
            "snapshot", "restore", backup, "--data-dir", str(self.folder), "--name", "lab",
            "--initial-cluster", "lab=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
        )  # fmt: skip
        self.start()


class Pod:
    """A container with an interface of ours."""

    def __init__(self, host: Host, name: str, config: dict[str, Any], result: Any) -> None:
        self.host = host
        self.name = name
        self.config = config
        self.result = result
        self.netns = f"/run/netns/{name}"

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(ip["address"].partition("/")[0] for ip in self.result["ips"])

    @property
    def address(self) -> str:
        return self.addresses[0]

    def pings(self, address: str, wait: int = 2) -> bool:
        return self.host.node.ping(address, netns=self.netns, wait=wait)

    def reaches(self, *others: Pod) -> bool:
        """Every address of the others. A first packet may find that a neighbour is not resolved: it is tried again."""
        addresses = [address for other in others for address in other.addresses]
        return all(self.pings(address) or self.pings(address) for address in addresses)

    def delete(self) -> Answer:
        return self.host.side.delete(self.config, self.name)

    def check(self) -> Answer:
        return self.host.side.check(self.config, self.result, self.name)


class Host:
    """A host of the cluster. `name` is its node name; `addresses` are those of the underlay."""

    def __init__(self, lab: Lab, name: str, addresses: tuple[str, ...], segment: Segment, settings: str) -> None:
        self.lab = lab
        self.name = name
        self.number = len(lab.hosts)
        self.addresses = addresses
        self.segment = segment
        self.settings = settings
        self.service: Daemon | None = None
        self.environ: dict[str, str] = {}
        """Of the service, beside the test's own."""
        self._pods = 0
        self.side: Side
        self._boot()

    @property
    def node(self) -> Node:
        return self.side.node

    # the machine ----------------------------------------------------------------

    def _boot(self) -> None:
        self.side = Side(built() / "cni-cnm", "cni-cnm", serve=False)
        self.lab.wire(self)
        self.node.write(CONFIG, self.settings)

    def reboot(self) -> None:
        """Everything but the disk is gone: links, processes, /run. The service is not started."""
        saved = {folder: self._pack(folder) for folder in STATE}
        self.power_off()
        self._boot()
        for folder, archive in saved.items():
            self.node.run("mkdir", "-p", folder).ok()
            subprocess.run(self.node.command("tar", "-C", folder, "-xf", "-"), input=archive, check=True)

    def power_off(self) -> None:
        """Without a word to anyone."""
        self.side.close()
        if self.service is not None:
            self.service.stop()
        self.service = None

    def _pack(self, folder: str) -> bytes:
        self.node.run("mkdir", "-p", folder).ok()
        return subprocess.run(
            self.node.command("tar", "-C", folder, "-cf", "-", "."), stdout=subprocess.PIPE, check=True
        ).stdout

    def take_disk(self, other: Host) -> None:
        """A clone: the other's disk is copied to this one."""
        for folder in STATE:
            self.node.run("mkdir", "-p", folder).ok()
            subprocess.run(self.node.command("tar", "-C", folder, "-xf", "-"), input=other._pack(folder), check=True)

    # the service ------------------------------------------------------------------

    def serve(self, *options: str) -> Host:
        """Start the service, and wait until it answers."""
        self.service = Daemon(
            self.node, str(self.side.executable), "serve", *options, log="/run/service.log", env=self.environ
        )
        self.service.wait(self.node.path("/run/cni-cnm/service.sock").exists)
        return self

    def stop(self, sig: int = signal.SIGTERM) -> None:
        assert self.service is not None
        self.service.stop(sig)

    def kill_agent(self) -> None:
        """kill -9, and wait until there is another one."""
        before = self.status()["pid"]
        self.node.run("kill", "-9", str(before)).ok()
        until(lambda: self.status().get("pid") not in (before, None), f"{self.name}: another agent runs", READY_S)

    def status(self) -> dict[str, Any]:
        """What the agent wrote last; empty if there is nothing."""
        try:
            raw: dict[str, Any] = json.loads(self.node.path("/run/cni-cnm/cluster/status.json").read_text())
        except (OSError, ValueError):
            return {}
        return raw

    def said(self) -> str:
        """What the service wrote to stderr, and the log of requests."""
        parts = [self.service.log() if self.service else ""]
        log = self.node.path(LOG)
        parts.append(log.read_text(errors="replace") if log.is_file() else "")
        return "\n".join(parts)

    def wait_said(self, text: str, limit: float = READY_S) -> None:
        until(lambda: text in self.said(), f"{self.name} says {text!r}", limit, lambda: self.said()[-3000:])

    def wait_ready(self, network: str, limit: float = READY_S) -> None:
        """Until the network's data path stands here."""

        def ready() -> bool:
            found = self.status().get("networks", {}).get(network, {})
            return bool(found.get("ready"))

        until(ready, f"{self.name}: {network} is ready", limit, lambda: f"{self.status()}\n{self.said()[-3000:]}")

    # commands -------------------------------------------------------------------

    def cnm(self, *argv: str) -> Done:
        """`cni-cnm argv…`."""
        return self.node.run(str(self.side.executable), *argv)

    def create(self, network: Sequence[str], *options: str) -> None:
        """Make an overlay network for all hosts: its name and the arguments of `network create`."""
        name, *arguments = network
        self.cnm("network", "create", "--driver", "overlay", *arguments, *options, name).ok()

    def pod(self, network: str | dict[str, Any], name: str = "") -> Pod:
        """ADD of a new container; AssertionError if it fails."""
        pod, answer = self.try_pod(network, name)
        answer.ok()
        return pod

    def try_pod(self, network: str | dict[str, Any], name: str = "") -> tuple[Pod, Answer]:
        self._pods += 1
        name = name or f"{self.name}-p{self._pods}"
        self.side.container(name)
        config = configuration(network)
        answer = self.side.add(config, name)
        return Pod(self, name, config, answer.json), answer


class Lab:
    """The underlay, its store and its hosts. Everything ends with `close`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="overlay-lab-"))
        self.hosts: list[Host] = []
        self._counts = {NEAR: 0, FAR: 0}
        self.router = Namespace()
        self._store_place = Namespace()
        for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            self.router.sysctl(key, "1")
        for segment in (NEAR, FAR):
            self.router.ip(f"link add {segment.bridge} type bridge")
            self.router.ip(f"link set {segment.bridge} up")
            for gateway in segment.gateways:
                self.router.ip(f"address add {gateway} dev {segment.bridge}{' nodad' if ':' in gateway else ''}")
        self._plug(NEAR, "store", self._store_place.path, (f"{STORE}/26", f"{STORE6}/64"))
        self.etcd = Etcd(self._store_place, self.folder / "etcd")

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for host in self.hosts:
            host.power_off()
        self.etcd.stop()
        self._store_place.close()
        self.router.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def host(
        self, name: str, *, far: bool = False, versions: Sequence[int] = (4, 6), serve: bool = True, settings: str = ""
    ) -> Host:
        """A further host, with a service that has `[cluster]` in its settings. `settings`: lines for that part."""
        segment = FAR if far else NEAR
        made = Host(self, name, self.addresses_of(segment, versions), segment, self.text(name, versions, settings))
        self.hosts.append(made)
        return made.serve() if serve else made

    def addresses_of(self, segment: Segment, versions: Sequence[int]) -> tuple[str, ...]:
        """Those of a further host on a segment, without prefix."""
        number = segment.first + self._counts[segment]
        self._counts[segment] += 1
        prefixes = {4: segment.prefix, 6: segment.prefix6}
        return tuple(f"{prefixes[version]}{number}" for version in prefixes if version in versions)

    def text(self, name: str, versions: Sequence[int], settings: str) -> str:
        """The settings of a host."""
        return f'log = "{LOG}"\n[cluster]\nnode = "{name}"\n{self.store_settings(versions)}\n{settings}\n'

    def store_settings(self, versions: Sequence[int]) -> str:
        """The store, for a host with these IP versions on the underlay."""
        return f'store = "etcd"\nendpoints = ["{self.etcd.url if 4 in versions else self.etcd.url6}"]'

    # the underlay -----------------------------------------------------------------

    def wire(self, host: Host) -> None:
        """Plug the host in: an uplink eth0 with its addresses and default routes."""
        addresses = tuple(f"{address}/{64 if ':' in address else 26}" for address in host.addresses)
        self._plug(host.segment, f"port{host.number}", f"/proc/{host.node.pid}/ns/net", addresses)

    def _plug(self, segment: Segment, name: str, namespace: str, addresses: Sequence[str]) -> None:
        self.router.run("ip", "link", "delete", name, check=False)
        self.router.ip(f"link add {name} type veth peer name eth0 netns {namespace}")
        self.router.ip(f"link set {name} master {segment.bridge} up")

        def inside(command: str) -> None:
            subprocess.run(["nsenter", f"--net={namespace}", "ip", *command.split()], check=True)

        inside("link set eth0 up")
        for address in addresses:
            inside(f"address add {address} dev eth0{' nodad' if ':' in address else ''}")
        for gateway in segment.gateways:
            version = 6 if ":" in gateway else 4
            if any((":" in address) == (version == 6) for address in addresses):
                inside(f"-{version} route add default via {gateway.partition('/')[0]}")

    def readdress(self, host: Host, *addresses: str) -> None:
        """The host comes to other underlay addresses, without prefix, on its segment."""
        host.node.run("ip", "address", "flush", "dev", "eth0", "scope", "global").ok()
        host.addresses = addresses
        for address in addresses:
            length = "64" if ":" in address else "26"
            host.node.run(
                "ip", "address", "add", f"{address}/{length}", "dev", "eth0", *(["nodad"] if ":" in address else [])
            ).ok()
        for gateway in host.segment.gateways:
            version = "-6" if ":" in gateway else "-4"
            if any((":" in address) == (":" in gateway) for address in addresses):
                host.node.run("ip", version, "route", "replace", "default", "via", gateway.partition("/")[0]).ok()

    def cut_store(self, *hosts: Host) -> None:
        """No packet passes between the store and these hosts; without any: all hosts."""
        for host in hosts or self.hosts:
            self._drop(self._store_place, host.addresses)

    def heal_store(self) -> None:
        self._store_place.run("nft", "delete", "table", "inet", "cut", check=False)

    def cut(self, one: Host, other: Host) -> None:
        """No packet passes between two hosts."""
        for host, addresses in ((one, other.addresses), (other, one.addresses)):
            host.node.run("nft", "-f", "/dev/stdin", stdin=_drops(addresses)).ok()

    def heal(self, *hosts: Host) -> None:
        for host in hosts:
            host.node.run("nft", "delete", "table", "inet", "cut")

    def _drop(self, place: Namespace, addresses: Sequence[str]) -> None:
        place.run("nft", "-f", "/dev/stdin", text=_drops(addresses))


def configuration(network: str | dict[str, Any]) -> dict[str, Any]:
    """A CNI configuration of an overlay network that exists, by its name; or the one given, completed."""
    given = {"name": network} if isinstance(network, str) else network
    return {"cniVersion": "1.0.0", "driver": "overlay", **given}


def _drops(addresses: Sequence[str]) -> str:
    rules = []
    for address in addresses:
        kind = "ip6" if ":" in address else "ip"
        rules += [
            f"add rule inet cut in {kind} saddr {address} drop",
            f"add rule inet cut out {kind} daddr {address} drop",
        ]
    chains = [
        "add table inet cut",
        "add chain inet cut in { type filter hook input priority -400; }",
        "add chain inet cut out { type filter hook output priority -400; }",
    ]
    return "\n".join([*chains, *rules, ""])
