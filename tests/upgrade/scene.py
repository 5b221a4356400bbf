"""A host with live endpoints of all frontends, whose program can be exchanged for another version while they run.

scene = Scene(folder, version)      its service runs, with the Docker plugin
scene.use(other)                    the service ends, and that of the other version starts
for frontend in scene.frontends:    pods of CNI, endpoints of Docker, sandboxes of the library
    frontend.make(1)                endpoints of the group 1; groups are made on the same networks by any version
    frontend.check(1)               they work, and the version at hand says so
    frontend.remove(1)              endpoints, then networks without endpoints
scene.left()                        what of ours is there
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from tests.side import Answer
from tests.system.docker_host import PluginHost
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.upgrade.versions import Version

IPAM = "/run/ipam"
FIXED = """#!/bin/sh
# An IPAM executable: the address is the container's number.
cat >/dev/null
[ "$CNI_COMMAND" = ADD ] || exit 0
number=$(printf %s "$CNI_CONTAINERID" | tr -dc 0-9)
printf '{"cniVersion":"1.0.0","ips":[{"address":"10.74.0.%d/24","gateway":"10.74.0.254"}]}' "$number"
"""
LIMITS = {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 4_000_000, "egressBurst": 400_000}
TUNING = {"sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400}
WEB = ("busybox", "httpd", "-f", "-p", "80")


class Frontend(Protocol):
    def make(self, group: int) -> None: ...

    def works(self, group: int) -> None: ...

    def check(self, group: int) -> None: ...

    def remove(self, group: int) -> None: ...

    def forget(self) -> None:
        """Networks that outlive their endpoints."""


class Scene(PluginHost):
    def __init__(self, folder: Path, version: Version) -> None:
        super().__init__(folder, executable=version.program)
        self.version = version
        self.pods = Cni(self)
        self.docker = Docker(self)
        self.library = Library(self)
        self.frontends: Sequence[Frontend] = (self.pods, self.docker, self.library)
        self.write(f"{IPAM}/fixed", FIXED, executable=True)
        self.node.add_netns("router")
        self.do("ip link add lan0 up type veth peer name eth0 netns router")
        self.do("ip link set eth0 up", "ip address add 10.76.0.254/24 dev eth0", netns="router")

    def use(self, version: Version) -> None:
        self.stop_service()
        self.version, self.program = version, version.program
        self.serve()

    def do(self, *commands: str, netns: str = "") -> None:
        for command in commands:
            self.node.run(*command.split(), netns=f"/run/netns/{netns}" if netns else "").ok()

    def write(self, path: str, text: str, *, executable: bool = False) -> None:
        self.node.write(path, text)
        self.node.path(path).chmod(0o755 if executable else 0o644)

    def serve_web(self, container: str) -> None:
        """A web server on port 80 of the container; it ends with the node."""
        command = self.node.command(*WEB, netns=f"/run/netns/{container}")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        process.returncode = 0

    def published(self, port: int) -> bool:
        done = self.node.run("busybox", "wget", "-O-", f"http://127.0.0.1:{port}/")
        return done.code == 0 or "404" in done.err

    def endpoints(self) -> set[tuple[str, str]]:
        """Network and container of all on record."""
        paths = self.node.files("/run/cni-cnm/endpoints")
        records = [json.loads(self.node.path(path).read_text(encoding="utf-8")) for path in paths]
        return {(record["network"], record["container_id"]) for record in records}

    def left(self) -> dict[str, Any]:
        """Records, leases, elements and links of ours."""
        files = self.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni-cnm")
        files -= {"/var/lib/cni-cnm/allowed/pairs.json"} if self.library.pairs() == [] else set()
        leases = {path for path in self.node.files("/var/lib/cni/networks") if not path.endswith("/lock")}
        links = self.node.links() - {"lo", "lan0"}
        return {
            "files": sorted(files),
            "leases": sorted(path for path in leases if "last_reserved" not in path),
            "links": sorted(links),
            "elements": self.elements(),
        }


class Pod(NamedTuple):
    container: str
    conf: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.conf["name"])


class Cni:
    """Pods of each driver and of every feature; a group has one of each kind."""

    KINDS: ClassVar = ("plain", "full", "chained", "macvlan", "fixed")

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.results: dict[str, Any] = {}

    def group(self, group: int) -> list[Pod]:
        return [Pod(f"{kind}{group}", getattr(self, f"_{kind}")(group)) for kind in self.KINDS]

    def call(self, verb: str, pod: Pod, **keys: Any) -> Answer:
        environ = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": pod.container, "CNI_NETNS": f"/run/netns/{pod.container}",
            "CNI_IFNAME": "eth0", "CNI_PATH": IPAM, "CNI_ARGS": f"K8S_POD_NAME={pod.container}",
        }  # fmt: skip
        if verb in ("STATUS", "GC"):
            environ = {"CNI_COMMAND": verb, "CNI_PATH": IPAM}
        done = self.scene.node.run(str(self.scene.program), stdin=json.dumps({**pod.conf, **keys}), env=environ)
        return Answer(done.code, json.loads(done.out) if done.out.strip() else None, done.err)

    def make(self, group: int) -> None:
        for pod in self.group(group):
            self.scene.node.add_netns(pod.container)
            if pod.name == "chained":
                self._front(pod, group)
            self.results[pod.container] = self.call("ADD", pod).ok().json
        self.scene.serve_web(f"full{group}")
        self.scene.serve_web(f"chained{group}")

    def works(self, group: int) -> None:
        for pod in self.group(group):
            assert self.scene.node.ping(self.gateway(pod), netns=f"/run/netns/{pod.container}"), pod.container
        for port in (8000 + group, 8100 + group):
            until(partial(self.scene.published, port), f"port {port}")

    def check(self, group: int) -> None:
        for pod in self.group(group):
            self.call("CHECK", pod, prevResult=self.results[pod.container]).ok()
            again = self.call("ADD", pod)
            assert (again.code, again.json["code"]) == (1, 104), again
            self.call("STATUS", pod).ok()

    def collect(self, group: int) -> None:
        """GC: the runtime names no pod of the group, and all others."""
        kept = [{"containerID": f"{kind}{other}", "ifname": "eth0"} for kind in self.KINDS for other in (1, 2)]
        for pod in self.group(group):
            valid = [one for one in kept if one["containerID"] != pod.container]
            self.call("GC", pod, **{"cni.dev/valid-attachments": valid}).ok()

    def remove(self, group: int) -> None:
        for pod in self.group(group):
            previous = {"prevResult": self.results[pod.container]} if pod.name == "chained" else {}
            for _ in range(2):
                self.call("DEL", pod, **previous).ok()
            if pod.name == "chained":
                self.scene.do(f"ip link del front{group}")
            self.scene.do(f"ip netns del {pod.container}")

    def forget(self) -> None:
        for kind in self.KINDS:
            self.scene.node.run(str(self.scene.program), "network", "rm", kind).ok()

    def gateway(self, pod: Pod) -> str:
        if pod.name == "macvlan":
            return "10.76.0.254"
        return next(str(ip["gateway"]) for ip in self.results[pod.container]["ips"])

    def _plain(self, _: int) -> dict[str, Any]:
        """The model's defaults: a chosen subnet, masquerade, isolation."""
        return self._conf("plain")

    def _full(self, group: int) -> dict[str, Any]:
        """A reference bridge of both families, with all that is chained behind one."""
        ranges = [[{"subnet": "10.72.0.0/24"}], [{"subnet": "fd00:72::/64"}]]
        ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
        bridge = {"bridge": "full0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": ipam}
        bridge["masqueradeExcept"] = ["10.244.0.0/16"]  # which 0.1.0 does not know
        return self._conf("full", **bridge, **self._features(8000 + group))

    def _chained(self, group: int) -> dict[str, Any]:
        """Behind an interface that another plugin has made."""
        previous = {
            "cniVersion": "1.1.0",
            "interfaces": [{"name": f"front{group}"}, {"name": "eth0", "sandbox": f"/run/netns/chained{group}"}],
            "ips": [{"interface": 1, "address": f"10.73.{group}.2/24", "gateway": f"10.73.{group}.1"}],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        return self._conf("chained", prevResult=previous, **self._features(8100 + group))

    def _macvlan(self, _: int) -> dict[str, Any]:
        ipam = {"subnet": "10.76.0.0/24", "rangeEnd": "10.76.0.99", "gateway": "10.76.0.254"}
        return self._conf("macvlan", driver="macvlan", options={"parent": "lan0"}, ipam=ipam)

    def _fixed(self, _: int) -> dict[str, Any]:
        """Addresses of an IPAM executable."""
        return self._conf("fixed", bridge="fixed0", isGateway=True, ipam={"type": "fixed"})

    @staticmethod
    def _conf(name: str, **keys: Any) -> dict[str, Any]:
        return {"cniVersion": "1.1.0", "name": name, "type": "cni-cnm", "owner": "upgrade", **keys}

    @staticmethod
    def _features(port: int) -> dict[str, Any]:
        runtime = {"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}], "bandwidth": LIMITS}
        blocks = {"portmap": {}, "bandwidth": {}, "firewall": {"ingressPolicy": "same-bridge"}, "tuning": TUNING}
        return {**blocks, "runtimeConfig": runtime}

    def _front(self, pod: Pod, group: int) -> None:
        address = f"10.73.{group}"
        self.scene.do(
            f"ip link add front{group} up type veth peer name eth0 netns {pod.container}",
            f"ip address add {address}.1/24 dev front{group}",
        )
        self.scene.do(
            "ip link set eth0 up", f"ip address add {address}.2/24 dev eth0", f"ip route add default via {address}.1",
            netns=pod.container,
        )  # fmt: skip


class Docker:
    """What dockerd asks of the plugin, message by message, and what it does with the links itself.

    Of each group: a network of Docker's own with a published port, one shared with a pod, and one with addresses of
    Docker's own, whose endpoint is created and not joined.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.sources: dict[str, str] = {}
        """What dockerd remembers: a link's name on the host, by the network's id."""
        self.pools: dict[str, str] = {}

    def make(self, group: int) -> None:
        own, shared, foreign = self._networks(group)
        self._network(own, f"10.75.{group}.0/24", {})
        self._endpoint(own, f"10.75.{group}.5/24")
        self._join(own, f"10.75.{group}.5/24", f"10.75.{group}.1")
        port = {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8200 + group, "HostPortEnd": 8200 + group}
        self._call("ProgramExternalConnectivity", own, Options={"com.docker.network.portmap": [port]})
        self.scene.serve_web(self._container(own))
        self.scene.node.add_netns(f"sharer{group}")
        self._pod("ADD", group).ok()
        self._network(shared, f"10.78.{group}.0/24", {"cni-cnm.network": f"shared{group}"})
        self._endpoint(shared, f"10.78.{group}.77/24")
        self._join(shared, f"10.78.{group}.77/24", f"10.78.{group}.1")
        self._network(foreign, f"10.79.{group}.0/24", None)
        self._endpoint(foreign, f"10.79.{group}.5/24")

    def check(self, group: int) -> None:
        own, *_ = self._networks(group)
        info = self._call("EndpointOperInfo", own)["Value"]
        assert info["com.docker.network.portmap"][0]["HostPort"] == 8200 + group

    def works(self, group: int) -> None:
        own, shared, _ = self._networks(group)
        for network, address in ((own, f"10.75.{group}.1"), (shared, self._addresses(f"sharer{group}")[0])):
            assert self.scene.node.ping(address, netns=f"/run/netns/{self._container(network)}"), network
        until(lambda: self.scene.published(8200 + group), "the published port")

    def remove(self, group: int) -> None:
        own, shared, foreign = self._networks(group)
        self._join(foreign, f"10.79.{group}.5/24", f"10.79.{group}.1")
        self._call("RevokeExternalConnectivity", own)
        for network, address in (
            (own, f"10.75.{group}.5"),
            (shared, f"10.78.{group}.77"),
            (foreign, ""),
        ):
            self._leave(network)
            self._call("DeleteEndpoint", network)
            self._release(network, address)
            self._release(network, f"{address.rpartition('.')[0]}.1")
            self.scene.call("NetworkDriver.DeleteNetwork", {"NetworkID": network})
            if network in self.pools:
                self.scene.call("IpamDriver.ReleasePool", {"PoolID": self.pools[network]})
            self.scene.do(f"ip netns del {self._container(network)}")
        self._pod("DEL", group).ok()
        self.scene.do(f"ip netns del sharer{group}")
        self.scene.node.run(str(self.scene.program), "network", "rm", f"shared{group}").ok()

    def forget(self) -> None:
        """Docker's networks were removed with their endpoints."""

    @staticmethod
    def _networks(group: int) -> tuple[str, str, str]:
        own, shared, foreign = (f"{kind}{group}" * 32 for kind in "abc")
        return own, shared, foreign

    @staticmethod
    def _at(network: str) -> dict[str, str]:
        return {"NetworkID": network, "EndpointID": network[::-1]}

    @staticmethod
    def _container(network: str) -> str:
        return f"docker-{network[:2]}"

    def _call(self, name: str, network: str, **keys: Any) -> Any:
        return self.scene.call(f"NetworkDriver.{name}", {**self._at(network), **keys})

    def _network(self, network: str, subnet: str, options: dict[str, str] | None) -> None:
        """`options` None: with addresses of Docker's own IPAM."""
        gateway = f"{subnet.rpartition('.')[0]}.1"
        if options is not None:
            asked = {"AddressSpace": "cni-cnm", "Pool": subnet, "SubPool": "", "Options": options, "V6": False}
            pool = self.pools[network] = str(self.scene.call("IpamDriver.RequestPool", asked)["PoolID"])
            kind = {"RequestAddressType": "com.docker.network.gateway"}
            self.scene.call("IpamDriver.RequestAddress", {"PoolID": pool, "Address": gateway, "Options": kind})
        space = "LocalDefault" if options is None else "cni-cnm"
        data = [{"AddressSpace": space, "Pool": subnet, "Gateway": f"{gateway}/24", "AuxAddresses": {}}]
        generic = {"com.docker.network.generic": options or {}}
        body = {"NetworkID": network, "Options": generic, "IPv4Data": data, "IPv6Data": []}
        self.scene.call("NetworkDriver.CreateNetwork", body)

    def _endpoint(self, network: str, address: str) -> None:
        self.scene.node.add_netns(self._container(network))
        if network in self.pools:
            body = {"PoolID": self.pools[network], "Address": address.partition("/")[0], "Options": {}}
            self.scene.call("IpamDriver.RequestAddress", body)
        interface = {"Address": address, "AddressIPv6": "", "MacAddress": ""}
        self._call("CreateEndpoint", network, Interface=interface, Options={})

    def _join(self, network: str, address: str, gateway: str) -> None:
        """dockerd moves the link, and gives it address and route."""
        container = self._container(network)
        joined = self._call("Join", network, SandboxKey=f"/run/netns/{container}", Options={})
        source = self.sources[network] = str(joined["InterfaceName"]["SrcName"])
        assert joined["Gateway"] == gateway
        self.scene.do(f"ip link set {source} netns {container} name eth0")
        self.scene.do(
            f"ip address add {address} dev eth0", "ip link set eth0 up", f"ip route add default via {gateway}",
            netns=container,
        )  # fmt: skip

    def _leave(self, network: str) -> None:
        self._call("Leave", network)
        container = self._container(network)
        if "eth0" in self.scene.node.links(f"/run/netns/{container}"):
            self.scene.do("ip link set eth0 down", netns=container)
            self.scene.do(f"ip link set eth0 netns 1 name {self.sources[network]}", netns=container)

    def _release(self, network: str, address: str) -> None:
        if network in self.pools:
            self.scene.call("IpamDriver.ReleaseAddress", {"PoolID": self.pools[network], "Address": address})

    def _addresses(self, container: str) -> list[str]:
        found = self.scene.node.addresses("eth0", netns=f"/run/netns/{container}")
        return sorted(address.partition("/")[0] for address in found)

    def _pod(self, verb: str, group: int) -> Answer:
        conf = self.scene.pods._conf(f"shared{group}", ipam={"type": "host-local", "subnet": f"10.78.{group}.0/24"})
        return self.scene.pods.call(verb, Pod(f"sharer{group}", conf))


class Library:
    """A program's sandbox in two networks with all an endpoint can have, and an endpoint that joined nothing."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def make(self, group: int) -> None:
        self.scene.node.add_netns(f"red{group}")
        self._run(group, MAKE)
        self.scene.serve_web(f"red{group}")

    def check(self, group: int) -> None:
        self._run(group, CHECK)

    def works(self, group: int) -> None:
        for gateway in (f"10.80.{group}.1", f"10.81.{group}.1"):
            assert self.scene.node.ping(gateway, netns=f"/run/netns/red{group}")
        until(lambda: self.scene.published(8300 + group), "the published port")

    def remove(self, group: int) -> None:
        self._run(group, REMOVE)
        self.scene.do(f"ip netns del red{group}")

    def forget(self) -> None:
        """Its networks were removed with their endpoints."""

    def pairs(self) -> Any:
        """Networks opened to each other: ids, from the record, which stays when it names none."""
        return json.loads(self.scene.node.path("/var/lib/cni-cnm/allowed/pairs.json").read_text(encoding="utf-8"))

    def _run(self, group: int, script: str) -> None:
        head = f"import sys; sys.path.insert(0, {str(self.scene.version.root)!r})\ngroup = {group}\n{HEAD}"
        self.scene.node.run(sys.executable, "-I", "-c", head + script).ok()


HEAD = """
from cni_cnm import open_controller
from cni_cnm.model import Bandwidth, PortMapping, Tuning

controller = open_controller()
main, side, name = f"main{group}", f"side{group}", f"red{group}"
"""
MAKE = """
first = controller.new_network(main, ipam_config={"subnet": f"10.80.{group}.0/24"}, labels={"of": "upgrade"})
second = controller.new_network(side, ipam_config={"subnet": f"10.81.{group}.0/24"})
controller.allow(main, side)
sandbox = controller.new_sandbox(name, f"/run/netns/{name}")
first.create_endpoint(
    "red", ports=(PortMapping("tcp", 8300 + group, 80),), bandwidth=Bandwidth(8_000_000, 800_000, 4_000_000, 400_000),
    tuning=Tuning(sysctls=(("net/core/somaxconn", "500"),), mtu=1400),
).join(sandbox)
second.create_endpoint("red").join(sandbox)
first.create_endpoint("idle", mac="02:00:00:00:00:07")
"""
CHECK = """
for network in (main, side):
    endpoint = controller.network(network).endpoint("red")
    assert str(endpoint.addresses[0].interface).startswith("10.8")
    assert endpoint.id in {one.id for one in controller.network(network).endpoints()}
assert controller.sandbox(name).id
"""
REMOVE = """
sandbox = controller.sandbox(name)
idle = controller.network(main).endpoint("idle")
idle.join(sandbox)
idle.leave()
idle.delete()
for network in (main, side):
    controller.network(network).endpoint("red").leave()
    controller.network(network).endpoint("red").delete()
sandbox.delete()
controller.revoke(main, side)
for network in (main, side):
    controller.network(network).delete()
"""
