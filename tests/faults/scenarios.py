"""The calls of every frontend, each with what comes before it and what a caller does after a failure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from cni_cnm.cni.plugin import handle
from cni_cnm.docker_server.calls import answer
from cni_cnm.errors import CnmError, NoSuchEndpoint, NoSuchNetwork, NoSuchSandbox
from cni_cnm.frontend.reply import as_cnm_error
from tests.faults.memory_faults import World

CONFIG: dict[str, Any] = {
    "cniVersion": "1.1.0", "name": "net", "type": "cni-cnm", "bridge": "cni0", "isDefaultGateway": True,
    "ipMasq": True, "macspoofchk": True, "owner": "test",
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]]},
    "bandwidth": {"ingressRate": 10**7, "ingressBurst": 10**6, "egressRate": 10**7, "egressBurst": 10**6},
    "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
}  # fmt: skip
CNM: dict[str, Any] = {
    "cniVersion": "1.1.0",
    "name": "net",
    "type": "cni-cnm",
    "owner": "test",
    "ingressPolicy": "isolated",
}
PTP: dict[str, Any] = {
    "cniVersion": "1.1.0", "name": "net", "type": "cni-cnm", "driver": "ptp", "owner": "test", "ipMasq": True,
    "ipam": {"type": "host-local", "subnet": "10.89.0.0/24"},
}  # fmt: skip
DOCKER_NETWORK, DOCKER_ENDPOINT = "a" * 64, "b" * 64
DOCKER_SUBNET, DOCKER_ADDRESS, DOCKER_GATEWAY = "10.90.0.0/24", "10.90.0.2/24", "10.90.0.1/24"


class Answer(NamedTuple):
    """`code` 0: done. `out`: the result, as JSON."""

    code: int
    message: str = ""
    out: Any = None


class Caller:
    """One frontend's view of a world."""

    def __init__(self, world: World, config: Mapping[str, Any] = CONFIG) -> None:
        self.world = world
        self.config = config
        self.result: Any = None
        self.pool = ""

    # CNI ------------------------------------------------------------------------

    def cni(self, verb: str, **more: Any) -> Answer:
        environ = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
            "CNI_PATH": "/nowhere",
        }  # fmt: skip
        document = json.dumps({**self.config, **more}).encode()
        reply = handle(environ, lambda: document, self.world.controller)
        found = json.loads(reply.out) if reply.out else {}
        if reply.code:
            return Answer(int(found["code"]), f"{found['msg']} {found.get('details', '')}")
        return Answer(0, out=found)

    def add(self) -> Answer:
        done = self.cni("ADD")
        if not done.code:
            self.result = done.out
        return done

    def delete(self) -> Answer:
        return self.cni("DEL")

    def check(self) -> Answer:
        return self.cni("CHECK", prevResult=self.result)

    def collect(self) -> Answer:
        return self.cni("GC", **{"cni.dev/valid-attachments": []})

    # library ---------------------------------------------------------------------

    def library(self, step: Callable[[], object]) -> Answer:
        """Anything but an error of the tree fails the test."""
        try:
            step()
        except CnmError as error:
            shown = as_cnm_error(error)
            return Answer(shown.code, f"{shown} {getattr(shown, '__notes__', '')}")
        return Answer(0)

    def create(self) -> Answer:
        return self.library(lambda: self.world.controller().new_network("web", ipam_config={"subnet": "10.91.0.0/24"}))

    def create_anywhere(self) -> Answer:
        return self.library(lambda: self.world.controller().new_network("web"))

    def remove(self, name: str = "web") -> Answer:
        return self.library(lambda: self.world.controller().network(name).delete())

    def endpoint(self) -> Answer:
        return self.library(lambda: self.world.controller().network("web").create_endpoint("e1", ports=["8081:80"]))

    def sandbox(self) -> Answer:
        return self.library(lambda: self.world.controller().new_sandbox("c1", "/run/netns/c1"))

    def join(self) -> Answer:
        def step() -> None:
            controller = self.world.controller()
            controller.network("web").endpoint("e1").join(controller.sandbox("c1"))

        return self.library(step)

    def leave(self) -> Answer:
        return self.library(lambda: self.world.controller().network("web").endpoint("e1").leave())

    def delete_endpoint(self) -> Answer:
        return self.library(lambda: self.world.controller().network("web").endpoint("e1").delete(force=True))

    # Docker ------------------------------------------------------------------------

    def docker(self, call: str, **body: Any) -> Answer:
        reply = answer(self.world.engine, call, json.dumps(body).encode())
        found = json.loads(reply.body)
        if reply.status != 200:
            assert found["Err"] == found["Error"]
            return Answer(reply.status, found["Err"])
        return Answer(0, out=found)

    def request_pool(self) -> Answer:
        done = self.docker("IpamDriver.RequestPool", AddressSpace="cni-cnm", Pool=DOCKER_SUBNET, Options={})
        if not done.code:
            self.pool = done.out["PoolID"]
        return done

    def request_gateway(self) -> Answer:
        kind = {"RequestAddressType": "com.docker.network.gateway"}
        return self.docker("IpamDriver.RequestAddress", PoolID=self.pool, Address="", Options=kind)

    def request_address(self) -> Answer:
        return self.docker("IpamDriver.RequestAddress", PoolID=self.pool, Address=DOCKER_ADDRESS[:-3], Options={})

    def release_address(self, address: str = DOCKER_ADDRESS) -> Answer:
        return self.docker("IpamDriver.ReleaseAddress", PoolID=self.pool, Address=address[:-3])

    def release_pool(self) -> Answer:
        return self.docker("IpamDriver.ReleasePool", PoolID=self.pool)

    def docker_network(self) -> Answer:
        data = [{"AddressSpace": "cni-cnm", "Pool": DOCKER_SUBNET, "Gateway": DOCKER_GATEWAY}]
        return self.docker("NetworkDriver.CreateNetwork", NetworkID=DOCKER_NETWORK, Options={}, IPv4Data=data)

    def docker_endpoint(self) -> Answer:
        interface = {"Address": DOCKER_ADDRESS}
        return self._endpoint("CreateEndpoint", Options={}, Interface=interface)

    def docker_join(self) -> Answer:
        return self._endpoint("Join", SandboxKey="/run/netns/c1", Options=_PORTS)

    def docker_publish(self) -> Answer:
        return self._endpoint("ProgramExternalConnectivity", Options=_PORTS)

    def docker_revoke(self) -> Answer:
        return self._endpoint("RevokeExternalConnectivity")

    def docker_leave(self) -> Answer:
        return self._endpoint("Leave")

    def docker_delete_endpoint(self) -> Answer:
        return self._endpoint("DeleteEndpoint")

    def docker_delete_network(self) -> Answer:
        return self.docker("NetworkDriver.DeleteNetwork", NetworkID=DOCKER_NETWORK)

    def _endpoint(self, call: str, **body: Any) -> Answer:
        return self.docker(f"NetworkDriver.{call}", NetworkID=DOCKER_NETWORK, EndpointID=DOCKER_ENDPOINT, **body)

    # after a failure --------------------------------------------------------------------

    def clear_cni(self) -> None:
        good(self.delete())
        self.forget("net")

    def forget(self, name: str) -> None:
        with suppress(NoSuchNetwork):
            self.world.controller().network(name).delete()

    def clear_library(self) -> None:
        controller = self.world.controller()
        with suppress(NoSuchNetwork, NoSuchEndpoint):
            controller.network("web").endpoint("e1").delete(force=True)
        with suppress(NoSuchSandbox):
            controller.sandbox("c1").delete()
        self.forget("web")

    def clear_docker(self) -> None:
        """What dockerd does when a container and its network are removed, in its order."""
        for step in (
            self.docker_revoke, self.docker_leave, self.docker_delete_endpoint, self.release_address,
            self.docker_delete_network, lambda: self.release_address(DOCKER_GATEWAY), self.release_pool,
        ):  # fmt: skip
            good(step())


_PORTS = {
    "com.docker.network.portmap": [
        {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8082, "HostPortEnd": 8082}
    ]
}


def good(done: Answer) -> Answer:
    assert not done.code, done
    return done


class Scenario(NamedTuple):
    """`before`: the calls that come first. `call`: the one with the fault. `clear`: makes the host empty again."""

    call: str
    before: tuple[str, ...]
    clear: str
    config: Mapping[str, Any] = CONFIG
    kept: tuple[str, ...] = ()
    """The calls of `before` that are not undone if `call` fails: what exists is then as before."""


def _docker(call: str, *before: str) -> Scenario:
    return Scenario(call, before, "clear_docker")


_POOL = ("request_pool", "request_gateway")
_NETWORK = (*_POOL, "docker_network")
_ENDPOINT = (*_NETWORK, "request_address", "docker_endpoint")
_JOINED = (*_ENDPOINT, "docker_join")
_PUBLISHED = (*_JOINED, "docker_publish")
_WEB = ("create", "endpoint", "sandbox")

SCENARIOS: Mapping[str, Scenario] = {
    "ADD, first of its network": Scenario("add", (), "clear_cni"),
    "ADD": Scenario("add", ("add", "delete"), "clear_cni"),
    "ADD, subnet chosen": Scenario("add", (), "clear_cni", CNM),
    "ADD, ptp": Scenario("add", (), "clear_cni", PTP),
    "DEL": Scenario("delete", ("add",), "clear_cni"),
    "DEL, subnet chosen": Scenario("delete", ("add",), "clear_cni", CNM),
    "DEL, ptp": Scenario("delete", ("add",), "clear_cni", PTP),
    "DEL, nothing there": Scenario("delete", ("add", "delete"), "clear_cni"),
    "CHECK": Scenario("check", ("add",), "clear_cni"),
    "GC": Scenario("collect", ("add",), "clear_cni"),
    "network create": Scenario("create", (), "clear_library"),
    "network create, subnet chosen": Scenario("create_anywhere", (), "clear_library"),
    "network rm": Scenario("remove", ("create",), "clear_library"),
    "create_endpoint": Scenario("endpoint", ("create",), "clear_library"),
    "new_sandbox": Scenario("sandbox", ("create", "endpoint"), "clear_library"),
    "join": Scenario("join", _WEB, "clear_library"),
    "leave": Scenario("leave", (*_WEB, "join"), "clear_library"),
    "delete_endpoint": Scenario("delete_endpoint", (*_WEB, "join"), "clear_library"),
    "RequestPool": _docker("request_pool"),
    "RequestAddress of a gateway": _docker("request_gateway", "request_pool"),
    "CreateNetwork": _docker("docker_network", *_POOL),
    "RequestAddress": _docker("request_address", *_NETWORK),
    "CreateEndpoint": _docker("docker_endpoint", *_NETWORK, "request_address"),
    "Join": _docker("docker_join", *_ENDPOINT),
    "ProgramExternalConnectivity": _docker("docker_publish", *_JOINED),
    "RevokeExternalConnectivity": _docker("docker_revoke", *_PUBLISHED),
    "Leave": _docker("docker_leave", *_PUBLISHED),
    "DeleteEndpoint": _docker("docker_delete_endpoint", *_PUBLISHED, "docker_leave"),
    "ReleaseAddress": _docker("release_address", *_PUBLISHED, "docker_leave", "docker_delete_endpoint"),
    "DeleteNetwork": _docker("docker_delete_network", *_NETWORK),
    "ReleasePool": _docker("release_pool", *_POOL),
}
