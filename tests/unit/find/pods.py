"""A host in memory with pods of a runtime, made as a runtime's ADD makes them."""

from __future__ import annotations

from pathlib import Path

from cni_cnm.cnm.controller import Controller
from cni_cnm.model import EndpointKey, EndpointSpec, IpamSpec, NetworkSpec, Pod, PortMapping
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft

RANGES = [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd01::/64"}]]
NETWORK = NetworkSpec("podnet", options={"profile": "cnm"}, ipam=IpamSpec("host-local", {"ranges": RANGES}))


class Pods:
    """`add` makes a pod; `host` is what the engine is handed."""

    def __init__(self, folder: Path) -> None:
        self.namespaces = MemoryNamespaces()
        self.namespaces.name_host("/proc/self/ns/net")
        self.host = memory_host(folder, self.namespaces, MemoryNft())
        self.controller = Controller(self.host)

    def add(
        self,
        container: str,
        pod: str = "",
        *,
        ifname: str = "eth0",
        network: NetworkSpec = NETWORK,
        ports: tuple[PortMapping, ...] = (),
        mac: str = "",
    ) -> str:
        """Attach the container, in its own namespace. Returns the endpoint's id."""
        path = f"/run/netns/{container}"
        if path not in self.namespaces._spaces:
            self.namespaces.running.add(self.namespaces.create(path).inode())
        namespace, _, name = pod.rpartition("/")
        spec = EndpointSpec(
            container, ifname, path, "cni/test", mac, ports=ports, pod=Pod(name, namespace, "uid" if name else "")
        )
        self.controller.attach(network, spec)
        return EndpointKey(network.name, container, ifname).id
