"""A runtime that calls a list of plugins by their names. Kernel and packet filter are in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cni_cnm.cni.plugin import handle
from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.records import EndpointRecord, endpoint_records
from cni_cnm.model import EndpointKey
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft

IPAM = {"type": "host-local", "subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
BRIDGE: dict[str, Any] = {"type": "bridge", "bridge": "br0", "isDefaultGateway": True, "ipMasq": True, "ipam": IPAM}
PORTMAP: dict[str, Any] = {"type": "portmap", "capabilities": {"portMappings": True}}
FIREWALL: dict[str, Any] = {"type": "firewall", "ingressPolicy": "same-bridge"}
BANDWIDTH = {
    "type": "bandwidth", "ingressRate": 10**6, "ingressBurst": 10**5, "egressRate": 10**6, "egressBurst": 10**5,
}  # fmt: skip
TUNING: dict[str, Any] = {"type": "tuning", "mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.arp_ignore": "1"}}
ALL = (BRIDGE, PORTMAP, FIREWALL, BANDWIDTH, TUNING)
PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]


class Runtime:
    def __init__(self, folder: Path, plugins: Sequence[dict[str, Any]] = ALL, network: str = "net") -> None:
        self.folder, self.plugins, self.network = folder, plugins, network
        self.namespaces, self.nft = MemoryNamespaces(), MemoryNft()
        self.host = memory_host(folder, self.namespaces, self.nft)
        self.ports = PORTS
        self.version = "1.1.0"
        self.results: dict[str, Any] = {}

    def call(self, verb: str, index: int, container: str = "c1", previous: Any = None, **keys: Any) -> Any:
        """The answer's object; {} for none. `netns` may be given as a key."""
        plugin = self.plugins[index]
        netns = keys.pop("netns", f"/netns/{container}")
        runtime = {"runtimeConfig": {"portMappings": self.ports}} if "capabilities" in plugin else {}
        conf = {**plugin, "cniVersion": self.version, "name": self.network, **runtime, **keys}
        if previous is not None:
            conf["prevResult"] = previous
        environ = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_NETNS": netns, "CNI_IFNAME": "eth0",
            "CNI_PATH": "/nowhere",
        }  # fmt: skip
        stdin = json.dumps(conf).encode()
        reply = handle(environ, lambda: stdin, self.controller, f"/drop-in/{plugin['type']}", lambda: "test")
        return json.loads(reply.out or b"{}")

    def controller(self) -> Controller:
        """As another process would have it."""
        return Controller(memory_host(self.folder, self.namespaces, self.nft))

    def add(self, container: str = "c1", previous: Any = None) -> Any:
        """The last answer; the list ends with an error."""
        if f"/netns/{container}" not in self.namespaces._spaces:
            self.namespaces.create(f"/netns/{container}")
        for index in range(len(self.plugins)):
            previous = self.call("ADD", index, container, previous)
            if "code" in previous:
                return previous
        self.results[container] = previous
        return previous

    def check(self, container: str = "c1") -> list[Any]:
        """Each plugin's answer."""
        return [self.call("CHECK", i, container, self.results[container]) for i in range(len(self.plugins))]

    def delete(self, container: str = "c1", order: Iterable[int] = (), **keys: Any) -> list[Any]:
        """Each plugin's answer; in reverse if there is no order."""
        indexes = order or reversed(range(len(self.plugins)))
        return [self.call("DEL", i, container, self.results.get(container), **keys) for i in indexes]

    def record(self, container: str = "c1") -> EndpointRecord | None:
        wanted = EndpointKey(self.network, container, "eth0").id
        return next((one for one in endpoint_records(self.host.store) if one.id == wanted), None)

    def isolated(self) -> bool:
        """Whether the network cannot be reached from others."""
        return any(one.set == "networks" for one in self.nft.elements("inet cni_cnm"))

    def left(self) -> list[object]:
        """Of containers: records, links, leases and elements of the packet filter."""
        found: list[object] = [record.id for record in endpoint_records(self.host.store)]
        found += [link.name for link in self.host.stack.links() if link.name not in ("lo", "br0", "wan0")]
        for table in ("inet cni_cnm", "bridge cni_cnm"):
            found += [one for one in self.nft.elements(table) if one.set not in ("networks", "allowed")]
        folder = self.folder / "leases"
        return found + [str(path) for path in folder.rglob("*") if path.is_file() and path.name[0].isdigit()]
