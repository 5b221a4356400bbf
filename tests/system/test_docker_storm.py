"""Docker's frontend under load: its endpoints and pods at once on one network, and while its socket is flooded."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.system.docker_host import OURS, PLUGIN_SOCKET, PluginHost, docker_host
from tests.system.dockerd import EVERY_RELEASE
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.dockerd import Release

SUBNET = {"ipam": {"type": "host-local", "subnet": "10.88.0.0/23"}}
SHARED = (*OURS, "--subnet", "10.88.0.0/23", "-o", "cni-cnm.network=podnet", "--ipam-opt", "cni-cnm.network=podnet")
NETWORK = "e" * 64


@pytest.fixture
def plugin(require_root: None, tmp_path: Path) -> Iterator[PluginHost]:
    host = PluginHost(tmp_path)
    yield host
    host.close()


class Guest(NamedTuple):
    """An endpoint and a sandbox, in the steps and the order in which dockerd makes and removes them."""

    host: PluginHost
    pool: str
    number: int

    @property
    def netns(self) -> str:
        return f"/run/netns/guest{self.number}"

    @property
    def where(self) -> dict[str, str]:
        return {"NetworkID": NETWORK, "EndpointID": sha256(self.netns.encode()).hexdigest()}

    def up(self) -> str:
        """Its address, without prefix."""
        host = self.host
        options: dict[str, list[object]] = {"com.docker.network.portmap": []}
        asked = {"PoolID": self.pool, "Address": "", "Options": {"com.docker.network.endpoint.name": f"g{self.number}"}}
        address = str(host.call("IpamDriver.RequestAddress", asked)["Address"])
        interface = {"Address": address, "AddressIPv6": "", "MacAddress": ""}
        created = host.call("NetworkDriver.CreateEndpoint", {**self.where, "Interface": interface, "Options": options})
        joined = host.call("NetworkDriver.Join", {**self.where, "SandboxKey": self.netns, "Options": options})
        source, mac = joined["InterfaceName"]["SrcName"], created["Interface"]["MacAddress"]
        host.node.run("ip", "link", "set", source, "netns", self.netns.rpartition("/")[2]).ok()
        batch = f"""\
            link set {source} name eth0 address {mac}
            address add {address} dev eth0
            link set eth0 up
            route add default via {joined["Gateway"]}
            """
        host.node.run("ip", "-batch", "-", netns=self.netns, stdin=batch).ok()
        host.call("NetworkDriver.ProgramExternalConnectivity", {**self.where, "Options": options})
        return address.partition("/")[0]

    def down(self, address: str) -> None:
        for call in ("RevokeExternalConnectivity", "Leave", "DeleteEndpoint"):
            self.host.call(f"NetworkDriver.{call}", self.where)
        self.host.call("IpamDriver.ReleaseAddress", {"PoolID": self.pool, "Address": address})


def make_network(host: PluginHost) -> str:
    """podnet, as `docker network create` with both options does: its pool's id."""
    options = {"cni-cnm.network": "podnet"}
    subnet = "10.88.0.0/23"
    pool = str(
        host.call("IpamDriver.RequestPool", {"AddressSpace": "cni-cnm", "Pool": subnet, "Options": options})["PoolID"]
    )
    gateway = {"RequestAddressType": "com.docker.network.gateway"}
    given = host.call("IpamDriver.RequestAddress", {"PoolID": pool, "Address": "", "Options": gateway})["Address"]
    data = [{"AddressSpace": "cni-cnm", "Pool": subnet, "Gateway": given}]
    generic = {"com.docker.network.generic": options}
    host.call("NetworkDriver.CreateNetwork", {"NetworkID": NETWORK, "Options": generic, "IPv4Data": data})
    return pool


def test_fifty_endpoints_of_dockers_and_fifty_pods_at_once(plugin: PluginHost) -> None:
    """No address twice, each reaches the next one and the gateway; all at once gone, nothing is left."""
    pool_id = make_network(plugin)
    guests = [Guest(plugin, pool_id, number) for number in range(1, 51)]
    pods = [f"pod{number}" for number in range(50)]
    for name in (*pods, *(guest.netns.rpartition("/")[2] for guest in guests)):
        plugin.node.add_netns(name)
    with ThreadPoolExecutor(16) as pool:
        pairs = list(zip(guests, pods, strict=True))
        both = [(pool.submit(guest.up), pool.submit(plugin.add, "podnet", pod, **SUBNET)) for guest, pod in pairs]
        given = [future.result() for pair in both for future in pair]
    places = [place for guest, pod in pairs for place in (guest.netns, f"/run/netns/{pod}")]
    assert len(set(given)) == 100
    assert set(plugin.leases("podnet")) == set(given)
    with ThreadPoolExecutor(8) as pool:
        targets = zip(places, [*given[1:], given[0]], strict=True)
        reached = pool.map(lambda to: plugin.node.ping(to[1], netns=to[0], wait=5), targets)
        assert all(reached)
        assert all(pool.map(lambda place: plugin.node.ping("10.88.0.1", netns=place, wait=5), places[:8]))
    with ThreadPoolExecutor(16) as pool:
        gone = [pool.submit(guest.down, address) for guest, address in zip(guests, given[::2], strict=True)]
        gone += [pool.submit(plugin.delete, "podnet", pod, **SUBNET) for pod in pods]
        for future in gone:
            future.result()
    assert not plugin.leases("podnet")
    plugin.call("IpamDriver.ReleasePool", {"PoolID": pool_id})
    plugin.call("NetworkDriver.DeleteNetwork", {"NetworkID": NETWORK})
    plugin.node.run(str(plugin.program), "network", "rm", "podnet").ok()
    assert not plugin.records()
    assert not plugin.elements()
    assert not {link for link in plugin.node.links() if link.startswith(("veth", "br-", "tmp"))}


@pytest.mark.parametrize("each", [6, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
@pytest.mark.parametrize("release", EVERY_RELEASE)
def test_docker_runs_and_pods_at_once(require_root: None, tmp_path: Path, release: Release, each: int) -> None:
    """The same with a real dockerd: `docker run` and ADD together, `docker rm` and DEL together."""
    with docker_host(tmp_path, release=release) as host:
        docker = host.dockerd
        docker("network", "create", *SHARED, "shared")
        names = [f"c{number}" for number in range(each)]
        pods = [f"pod{number}" for number in range(each)]
        with ThreadPoolExecutor(8) as pool:
            started = [pool.submit(docker.start, name, "--net=shared") for name in names]
            added = [pool.submit(host.add, "podnet", pod, **SUBNET) for pod in pods]
            for one in started:
                one.result()
            given = [one.result() for one in added]
        addresses = [docker.address(name, "shared") for name in names]
        assert len({*given, *addresses}) == 2 * each
        for number in range(each):
            assert docker.ping(names[number], given[number], wait=5)
            assert host.node.ping(addresses[number], netns=f"/run/netns/{pods[number]}", wait=5)
        assert docker.ping(names[0], names[-1], wait=5)
        with ThreadPoolExecutor(8) as pool:
            gone = [pool.submit(docker.remove, name) for name in names]
            gone += [pool.submit(host.delete, "podnet", pod, **SUBNET) for pod in pods]
            for ended in gone:
                ended.result()
        assert not host.leases("podnet")
        docker("network", "rm", "shared")
        host.node.run(str(host.program), "network", "rm", "podnet").ok()
        assert not host.records()
        assert not host.elements()


def status(pid: int, field: str) -> int:
    """A field of /proc/PID/status in kB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def test_a_flooded_socket_harms_neither_pods_nor_the_service(plugin: PluginHost) -> None:
    """More connections than it takes, garbage, large bodies: pods start meanwhile, its memory is as before."""
    make_network(plugin)
    plugin.add("podnet", "before", **SUBNET)
    pid = plugin.service_pid
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    memory = status(pid, "VmRSS")
    floods = [
        b"POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n" + b" " * (1 << 20),
        b"POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * (1 << 20),
        b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 10000,
        b"[" * (1 << 20),
        b"POST /IpamDriver.RequestPool HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100000,
    ]

    def flood(number: int) -> None:
        with connect(plugin) as connection:
            try:
                connection.sendall(floods[number % len(floods)])
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass

    idle = [connect(plugin) for _ in range(400)]
    with ThreadPoolExecutor(16) as pool:
        flooding = [pool.submit(flood, number) for number in range(200)]
        plugin.add("podnet", "meanwhile", **SUBNET)
        for one in flooding:
            one.result()
    assert plugin.call("Plugin.Activate", {})["Implements"]
    for connection in idle:
        connection.close()
    # A thread that works for the first time keeps two netlink sockets: the second pod's, and the one that watches.
    allowed = descriptors + 4
    until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= allowed, "the connections' descriptors are closed")
    assert status(pid, "VmHWM") - memory < 200 << 10
    assert status(pid, "VmRSS") - memory < 64 << 10
    said = plugin.log()
    assert "Traceback" not in said
    assert "internal error" not in said
    assert "a connection failed" not in said
    plugin.delete("podnet", "before", **SUBNET)
    plugin.delete("podnet", "meanwhile", **SUBNET)


def connect(plugin: PluginHost) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(str(plugin.node.path(PLUGIN_SOCKET)))
    return connection
