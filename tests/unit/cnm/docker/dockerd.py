"""What dockerd does, spoken to the plugin's calls: kernel and packet filter are in memory.

docker = Dockerd(tmp_path)
docker.network("red", "10.1.0.0/24", "fd01::/64")
one = docker.endpoint("red", "one", "10.1.0.2/24")     addresses, CreateEndpoint
docker.join(one, "box")                                Join, and the link is moved into the sandbox
docker.program(one, port(8080))                        ProgramExternalConnectivity
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

from cni_cnm.cnm.controller import Controller
from cni_cnm.docker_server import calls
from cni_cnm.errors import NamespaceGone
from cni_cnm.model import PortMapping
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft

INET = "inet cni_cnm"


def docker_id(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def port(first: int, last: int = 0, *, address: str = "", container: int = 80) -> dict[str, Any]:
    """A port binding of the label `portmap`: one host port of `first` to `last`."""
    return {
        "Proto": 6, "IP": "", "Port": container, "HostIP": address, "HostPort": first, "HostPortEnd": last or first,
    }  # fmt: skip


class Held:
    """Ports that are held, by endpoint. Those of `listening` are a process's of the host."""

    def __init__(self, *listening: int) -> None:
        self.listening = listening
        self.ports: dict[str, set[int]] = {}

    def hold(self, owner: str, port: PortMapping) -> bool:
        if port.host_port in self.listening:
            return False
        self.ports.setdefault(owner, set()).add(port.host_port)
        return True

    def keep(self, owner: str, ports: Collection[PortMapping]) -> None:
        kept = self.ports.pop(owner, set()) & {port.host_port for port in ports}
        self.ports.update({owner: kept} if kept else {})


class Dockerd:
    """`epoch`: the run of the host. A second object in the same folder with another one is the host after a reboot."""

    def __init__(self, folder: Path, epoch: str = "epoch") -> None:
        self.folder = folder
        self.epoch = epoch
        self.namespaces = MemoryNamespaces()
        self.nft = MemoryNft()
        self.host = memory_host(folder, self.namespaces, self.nft, epoch=epoch)
        self.pools: dict[str, str] = {}
        """Subnet to the pool's id."""
        self.held: Held | None = None

    # calls ----------------------------------------------------------------------

    def call(self, name: str, **body: Any) -> dict[str, Any]:
        answer = self.answer(name, **body)
        assert "Err" not in answer, answer
        return answer

    def refused(self, name: str, **body: Any) -> str:
        """The error that the call is answered with."""
        return str(self.answer(name, **body)["Err"])

    def answer(self, name: str, **body: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.reply(name, **body).body)
        return found

    def reply(self, name: str, **body: Any) -> calls.Reply:
        @contextmanager
        def engine() -> Iterator[Controller]:
            host = memory_host(self.folder, self.namespaces, self.nft, epoch=self.epoch)
            host.held_ports = self.held
            yield Controller(host)

        return calls.answer(engine, name, json.dumps(body).encode())

    # networks and endpoints -------------------------------------------------------

    def pool(self, subnet: str = "", *, ipv6: bool = False) -> str:
        """RequestPool: the subnet."""
        body = {"AddressSpace": "cni-cnm", "Pool": subnet, "SubPool": "", "Options": {}, "V6": ipv6 or ":" in subnet}
        found = self.call("IpamDriver.RequestPool", **body)
        self.pools[found["Pool"]] = found["PoolID"]
        return str(found["Pool"])

    def network_message(self, name: str, *subnets: str, **generic: str) -> dict[str, Any]:
        data: dict[int, list[dict[str, str]]] = {4: [], 6: []}
        for subnet in map(self.pool, subnets):
            of = ip_network(subnet)
            gateway = f"{of[1]}/{of.prefixlen}"
            data[of.version].append({"AddressSpace": "cni-cnm", "Pool": subnet, "Gateway": gateway})
        options = {"com.docker.network.generic": {f"com.docker.network.{key}": value for key, value in generic.items()}}
        return {"NetworkID": docker_id(name), "Options": options, "IPv4Data": data[4], "IPv6Data": data[6]}

    def network(self, name: str, *subnets: str, **generic: str) -> None:
        self.call("NetworkDriver.CreateNetwork", **self.network_message(name, *subnets, **generic))

    def request(self, address: str) -> dict[str, Any]:
        """RequestAddress for an endpoint."""
        options = {"com.docker.network.endpoint.name": "c"}
        return self.answer("IpamDriver.RequestAddress", **self._of_pool(address), Options=options)

    def release(self, address: str) -> None:
        self.call("IpamDriver.ReleaseAddress", **self._of_pool(address))

    def endpoint(self, network: str, name: str, *addresses: str) -> dict[str, str]:
        """The message's ids, for the other calls."""
        for address in addresses:
            assert "Err" not in self.request(address)
        of = {ip_interface(address).version: address for address in addresses}
        ids = {"NetworkID": docker_id(network), "EndpointID": docker_id(name)}
        interface = {"Address": of.get(4, ""), "AddressIPv6": of.get(6, ""), "MacAddress": ""}
        self.call("NetworkDriver.CreateEndpoint", **ids, Interface=interface, Options={})
        return ids

    def join(self, ids: dict[str, str], sandbox: str, *addresses: str) -> None:
        """Join; the link is moved into the sandbox, with these addresses."""
        answer = self.call("NetworkDriver.Join", **ids, SandboxKey=f"/run/docker/netns/{sandbox}", Options={})
        try:
            inside = self.namespaces.open(f"/run/docker/netns/{sandbox}")
        except NamespaceGone:
            inside = self.namespaces.create(f"/run/docker/netns/{sandbox}")
        link = self.host.stack.link(answer["InterfaceName"]["SrcName"])
        assert link is not None
        self.host.stack.move_link(link.ifindex, inside, name=f"eth{len(inside.links())}")
        moved = inside.links()[-1]
        inside.set_link(moved.ifindex, up=True)
        for address in addresses:
            inside.add_address(moved.ifindex, ip_interface(address))

    def program(self, ids: dict[str, str], *ports: dict[str, Any], ipv6_elsewhere: bool = False) -> dict[str, Any]:
        options: dict[str, Any] = {"com.docker.network.portmap": list(ports)}
        if ipv6_elsewhere:
            options["com.docker.network.driver.private.no_proxy_6to4"] = True
        return self.answer("NetworkDriver.ProgramExternalConnectivity", **ids, Options=options)

    def leave(self, ids: dict[str, str]) -> None:
        """As a container ends: Revoke, Leave, DeleteEndpoint. The addresses are released by `release`."""
        for call in ("RevokeExternalConnectivity", "Leave", "DeleteEndpoint"):
            self.call(f"NetworkDriver.{call}", **ids)

    def end_sandbox(self, sandbox: str) -> None:
        """The sandbox is deleted, with the links in it. The plugin is not told."""
        self.namespaces.remove(f"/run/docker/netns/{sandbox}")

    # what is there ------------------------------------------------------------------

    def published(self, version: int = 4) -> dict[str, str]:
        """Key to target of the ports published by an IP version."""
        return {
            element.key: element.value
            for element in self.nft.elements(INET)
            if element.set in (f"ports{version}", f"ports{version}_at")
        }

    def _of_pool(self, address: str) -> dict[str, str]:
        host = ip_interface(address).ip
        found = next(pool for subnet, pool in self.pools.items() if host in ip_network(subnet))
        return {"PoolID": found, "Address": str(host)}
