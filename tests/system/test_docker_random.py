"""Random operations beside a real dockerd, against a model, with kills of the service and of dockerd among them.

Each operation's outcome is predicted, unless a kill interrupts it. Afterwards Docker's view and ours agree: networks,
endpoints, addresses, published ports and links. The seed is printed; CNI_CNM_SEED repeats a run.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import pytest

from tests.system.docker_host import OURS, PLUGIN_SOCKET, DockerHost, docker_host
from tests.waiting import until

OPERATIONS, OF_A_RUN = 100, 50
LONG_OPERATIONS = 1000
SETTLED_S = 150.0
"""What a kill left is removed after 30 s without a call of Docker's, by a look that comes every 30 s."""
FIXED, RANGE = range(8001, 8004), range(8010, 8013)


class Model:
    """What Docker has, as far as it is predicted."""

    def __init__(self) -> None:
        self.networks: dict[str, int] = {}
        """Name to the number in its subnet."""
        self.attached: dict[str, set[str]] = {}
        """Container to its networks."""
        self.running: set[str] = set()
        self.ports: dict[str, str] = {}
        """Container to the host port that it requests: one or a range."""
        self.home: dict[str, str] = {}
        """Container to the network that it was run on."""
        self.stale: set[str] = set()
        """Containers with a network that was removed: Docker may not start or connect them."""

    def used(self, but: str) -> list[str]:
        """Ports of running containers that are on a network."""
        there = (one for one in self.running if one != but and self.attached[one])
        return [self.ports[one] for one in there if one in self.ports]

    def starts(self, container: str, port: str) -> bool:
        used = self.used(container)
        return used.count(port) < len(RANGE) if "-" in port else port not in used


class Run:
    def __init__(self, host: DockerHost, rng: random.Random) -> None:
        self.host = host
        self.docker = host.dockerd
        self.rng = rng
        self.model = Model()
        self.names = 0
        self.done: list[str] = []

    def operations(self, count: int) -> None:
        plain = [self.create, self.remove, self.run, self.run, self.stop, self.start, self.rm, self.connect]
        plain += [self.disconnect, self.restart]
        for _ in range(count):
            kind = self.rng.choices(["plain", "interrupted", "service", "dockerd"], [80, 12, 6, 2])[0]
            if kind == "plain":
                self.rng.choice(plain)()
            elif kind == "interrupted":
                self.interrupted(self.rng.choice(plain))
            elif kind == "service":
                self.restart_service(self.rng.choice([signal.SIGKILL, signal.SIGTERM]))
            else:
                self.docker.restart(self.rng.choice([signal.SIGKILL, signal.SIGTERM]))
                self.note("dockerd restarted")
                self.look()

    # operations -------------------------------------------------------------------

    def create(self) -> None:
        number = next(n for n in range(256) if n not in self.model.networks.values())
        if number > 4:
            return
        name = self.name("net")
        subnets = ["--subnet", f"172.31.{number}.0/24"]
        if self.rng.random() < 0.4:
            subnets += ["--ipv6", "--subnet", f"fd00:31:{number}::/64"]
        if self.command(True, "network", "create", *OURS, *subnets, name):
            self.model.networks[name] = number

    def remove(self) -> None:
        name = self.one(self.model.networks)
        used = any(name in self.model.attached[one] for one in self.model.running)
        if name and self.command(not used, "network", "rm", name):
            del self.model.networks[name]
            self.model.stale |= {one for one, home in self.model.home.items() if home == name}
            for one, networks in self.model.attached.items():
                if name in networks:
                    self.model.stale.add(one)
                    networks.discard(name)

    def run(self) -> None:
        network = self.one(self.model.networks)
        if not network or len(self.model.attached) > 7:
            return
        name, port = self.name("box"), self.rng.choice(["", *map(str, FIXED), f"{RANGE[0]}-{RANGE[-1]}"])
        publish = ["-p", f"{port}:80"] if port else []
        expected = not port or self.model.starts("", port)
        self.model.attached[name] = {network}
        self.model.home[name] = network
        if port:
            self.model.ports[name] = port
        options = ["-d", "--name", name, "--stop-timeout", "0", f"--net={network}", *publish]
        if self.command(expected, "run", *options, "box"):
            self.model.running.add(name)

    def stop(self) -> None:
        name = self.one(self.model.running)
        if name and self.command(True, "stop", "-t0", name):
            self.model.running.discard(name)

    def start(self) -> None:
        name = self.one(self.model.attached.keys() - self.model.running)
        if name:
            port = self.model.ports.get(name, "")
            stale = name in self.model.stale
            expected = None if stale or not self.model.attached[name] else not port or self.model.starts(name, port)
            if self.command(expected, "start", name):
                self.model.running.add(name)

    def restart(self) -> None:
        name = self.one(self.model.running)
        # One that has left all networks publishes nothing, and another container may have its port.
        expected = True if name and self.model.attached[name] else None
        if name and not self.command(expected, "restart", "-t0", name):
            self.look()

    def rm(self) -> None:
        name = self.one(self.model.attached)
        if name and self.command(True, "rm", "-f", name):
            del self.model.attached[name]
            self.model.running.discard(name)
            self.model.ports.pop(name, None)

    def connect(self) -> None:
        name = self.one(self.model.running)
        network = self.one(self.model.networks.keys() - self.model.attached.get(name, set()))
        if name and network:
            alone = not self.model.attached[name] and self.model.ports.get(name)
            expected = None if alone or name in self.model.stale else True
            if self.command(expected, "network", "connect", network, name):
                self.model.attached[name].add(network)

    def disconnect(self) -> None:
        name = self.one(self.model.running)
        network = self.one(self.model.attached.get(name, ()))
        if network and self.command(True, "network", "disconnect", network, name):
            self.model.attached[name].discard(network)

    def restart_service(self, sig: int) -> None:
        self.host.stop_service(sig)
        self.host.node.path(PLUGIN_SOCKET).unlink(missing_ok=True)
        self.host.serve()
        self.host.call("NetworkDriver.GetCapabilities", {})
        self.note(f"the service was restarted by signal {sig}")

    def interrupted(self, operation: Any) -> None:
        """The service is killed while Docker works, and comes back at once."""
        model, self.model = self.model, Model()
        self.model.__dict__.update(
            {key: dict(value) if isinstance(value, dict) else set(value) for key, value in model.__dict__.items()}
        )
        self.expects = False
        worker = Thread(target=operation)
        worker.start()
        time.sleep(self.rng.random() * 0.4)
        self.restart_service(signal.SIGKILL)
        worker.join()
        self.expects = True
        self.look()

    expects = True

    # what is there ------------------------------------------------------------------

    def command(self, expected: bool | None, *argv: str) -> bool:
        """Whether it succeeded, as it must if `expected` says so."""
        done = self.docker.try_(*argv, timeout=180)
        self.note(f"docker {' '.join(argv)}: {done.code} {done.err.strip()[:200]}")
        if expected is not None and self.expects:
            assert (done.code == 0) == expected, "\n".join([*self.done[-20:], self.host.log()[-3000:]])
        if done.code and argv[0] != "network":
            self.look()
        return done.code == 0

    def look(self) -> None:
        """The model is what Docker says."""
        model = self.model
        listed = self.docker("network", "ls", "--filter", "driver=cni-cnm", "--format", "{{.Name}}").split()
        found = {name: self.docker.inspect("network", name) for name in listed}
        model.networks = {name: int(one["IPAM"]["Config"][0]["Subnet"].split(".")[2]) for name, one in found.items()}
        model.attached, model.running, model.ports, model.stale = {}, set(), {}, set()
        for name in self.docker("ps", "-a", "--format", "{{.Names}}").split():
            one = self.docker.inspect(name)
            model.home[name] = one["HostConfig"]["NetworkMode"]
            running, networks = one["State"]["Running"], one["NetworkSettings"]["Networks"]
            # After a refused connect, 20.10 still shows the endpoint with the container. The network does not.
            joined = {network for network in networks.keys() & found if one["Id"] in found[network]["Containers"]}
            model.attached[name] = joined if running else networks.keys() & found
            if not {model.home[name], *networks} <= model.networks.keys():
                model.stale.add(name)
            if running:
                model.running.add(name)
            for bindings in (one["HostConfig"]["PortBindings"] or {}).values():
                model.ports[name] = bindings[0]["HostPort"]

    def differences(self) -> list[str]:
        """What Docker and we do not agree on."""
        networks = [
            self.docker.inspect("network", name)
            for name in self.docker("network", "ls", "--filter", "driver=cni-cnm", "--format", "{{.Name}}").split()
        ]
        endpoints = {
            one["EndpointID"]: {one[key].partition("/")[0] for key in ("IPv4Address", "IPv6Address") if one[key]}
            for network in networks
            for one in network["Containers"].values()
        }
        found = [*self.compared("networks", {one["Id"][:12] for one in networks}, self.networks())]
        found += self.compared("endpoints", set(endpoints), set(self.records()))
        links = {f"veth{one[:11]}" for one in endpoints} | {f"br-{one['Id'][:12]}" for one in networks}
        there = {link for link in self.host.node.links() if link.startswith(("veth", "br-", "tmp"))}
        found += self.compared("links", links, there)
        leased = {
            address
            for network in networks
            for address, holder in self.host.leases(f"docker-{network['Id'][:12]}").items()
            if not holder.endswith(("requested", "reserved"))
        }
        found += self.compared("addresses", set().union(*endpoints.values()) if endpoints else set(), leased)
        return found + self.ports(endpoints)

    def ports(self, endpoints: dict[str, set[str]]) -> list[str]:
        """Each running container's port is published once, at an address of its own."""
        published: dict[str, list[int]] = {}
        for line in self.host.node.run("nft", "list", "map", "inet", "cni_cnm", "ports4").out.splitlines():
            for number, address in re.findall(r"tcp \. (\d+) .*? : ([\d.]+) \. 80", line):
                published.setdefault(address, []).append(int(number))
        found = []
        for name in self.docker("ps", "--format", "{{.Names}}").split():
            one = self.docker.inspect(name)
            addresses = [settings["IPAddress"] for settings in one["NetworkSettings"]["Networks"].values()]
            numbers = [number for address in addresses for number in published.pop(address, ())]
            bindings = [text[0]["HostPort"] for text in (one["HostConfig"]["PortBindings"] or {}).values()]
            first, _, last = bindings[0].partition("-") if bindings and any(addresses) else ("0", "", "")
            wanted = range(int(first), int(last or first) + 1)
            if len(numbers) != (wanted[0] > 0) or not all(number in wanted for number in numbers):
                found.append(f"{name} has the ports {numbers}, requested is {bindings}")
        return found + [f"published for no container: {address} {numbers}" for address, numbers in published.items()]

    def records(self) -> list[str]:
        return [
            path.name.removesuffix(".json") for path in self.host.node.path("/run/cni-cnm/endpoints").glob("*.json")
        ]

    def networks(self) -> set[str]:
        folder = self.host.node.path("/var/lib/cni-cnm/networks")
        return {one[:12] for path in folder.glob("*.json") for one in json.loads(path.read_text())["guests"]}

    @staticmethod
    def compared(what: str, docker: set[str], ours: set[str]) -> list[str]:
        return (
            [f"{what}: Docker has {sorted(docker - ours)}, we have {sorted(ours - docker)}"] if docker != ours else []
        )

    def name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}{self.names}"

    def one(self, names: Any) -> str:
        """One of these, or ""."""
        there = sorted(names)
        return self.rng.choice(there) if there else ""

    def note(self, line: str) -> None:
        self.done.append(f"{len(self.done)}. {line}")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("release", "operations"),
    [
        ("29", OPERATIONS),
        pytest.param("20.10", LONG_OPERATIONS // 2, marks=pytest.mark.long),
        pytest.param("29", LONG_OPERATIONS // 2, marks=pytest.mark.long),
    ],
)
def test_docker_and_the_records_agree(tmp_path: Path, release: Literal["20.10", "29"], operations: int) -> None:
    seed = int(os.environ.get("CNI_CNM_SEED") or random.randrange(1 << 32))
    print(f"CNI_CNM_SEED={seed}")
    with docker_host(tmp_path, release=release) as host:
        run = Run(host, random.Random(seed))
        for _ in range(operations // OF_A_RUN):
            run.operations(OF_A_RUN)
            until(
                lambda: not run.differences(),
                "both agree",
                SETTLED_S,
                lambda: "\n".join([*run.differences(), *run.done[-60:], host.log()[-6000:]]),
            )
