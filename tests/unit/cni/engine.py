"""A stand-in for the engine behind the CNI frontend: remembers what it was asked, answers what it was given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_interface
from typing import Any, NamedTuple

from cni_cnm.cni.plugin import handle
from cni_cnm.errors import NamespaceGone
from cni_cnm.frontend.reply import Reply
from cni_cnm.kernel import Link
from cni_cnm.model import (
    Address,
    Attachment,
    Dns,
    EndpointKey,
    EndpointSpec,
    Interface,
    IpamSpec,
    IPInterface,
    Lease,
    NetworkSpec,
    Part,
    Route,
)

ENV = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/c1",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}
CONF: dict[str, Any] = {"cniVersion": "1.0.0", "name": "podnet", "type": "cni-cnm"}

ATTACHMENT = Attachment(
    interfaces=(
        Interface("cni0", "02:00:00:00:00:01"),
        Interface("eth0", "02:00:00:00:00:02", 1400, "/run/netns/c1"),
    ),
    addresses=(Address(ip_interface("10.1.0.2/24"), ip_address("10.1.0.1")),),
    routes=(Route(ip_interface("0.0.0.0/0").network),),
    dns=Dns(),
    container_index=1,
)


class FakeStack:
    """A namespace with nothing but `lo`."""

    def __init__(self, path: str, inode: int, addresses: Sequence[IPInterface] = (), *, up: bool = False) -> None:
        self.path = path
        self.up = up
        self.open = 0
        self._inode = inode
        self._addresses = list(addresses)

    def __enter__(self) -> FakeStack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.open -= 1

    def inode(self) -> int:
        return self._inode

    def link(self, name: str) -> Link | None:
        return Link(1, "lo", up=self.up) if name == "lo" else None

    def set_link(self, index: int, *, up: bool) -> None:
        assert index == 1
        self.up = up
        if up and not self._addresses:  # as the kernel does
            self._addresses = [ip_interface("127.0.0.1/8"), ip_interface("::1/128")]

    def addresses(self, index: int) -> Sequence[IPInterface]:
        assert index == 1
        return self._addresses


class FakeNamespaces:
    def __init__(self, stacks: Mapping[str, FakeStack]) -> None:
        self.stacks = stacks

    def host(self) -> Any:
        return self.open("")

    def open(self, path: str) -> Any:
        found = self.stacks.get(path)
        if found is None:
            raise NamespaceGone(f"there is no network namespace at {path}")
        found.open += 1
        return found

    def is_host(self, path: str) -> bool:
        with self.open(path) as target, self.host() as host:
            return bool(target.inode() == host.inode())

    def has_process(self, inode: int) -> bool:
        return False

    def holders(self, inode: int) -> None:
        return None


class Recorded(NamedTuple):
    """What the records say of every endpoint."""

    driver: str = ""
    parts: tuple[str, ...] = ()


class FakeEngine:
    def __init__(self, answer: Attachment = ATTACHMENT, families: tuple[int, ...] | None = (4,)) -> None:
        self.answer = answer
        self.known_families = families
        self.failure: Exception | None = None
        self.said: Sequence[str] = ()
        self.calls: list[tuple[Any, ...]] = []
        self.recorded = Recorded()
        self.namespaces = FakeNamespaces({"": FakeStack("", 1), "/run/netns/c1": FakeStack("/run/netns/c1", 2)})

    def families(self, network: NetworkSpec, endpoint: EndpointSpec) -> tuple[int, ...] | None:
        return self.known_families

    def attach(self, network: NetworkSpec, endpoint: EndpointSpec) -> Attachment:
        self._called("attach", network, endpoint)
        return self.answer

    def detach(self, key: EndpointKey, endpoint: EndpointSpec | None, ipam: IpamSpec | None) -> Sequence[str]:
        self._called("detach", key, endpoint, ipam)
        return self.said

    def check(self, network: NetworkSpec, endpoint: EndpointSpec, previous: Attachment | None) -> Sequence[str]:
        self._called("check", network, endpoint, previous)
        return self.said

    def collect(
        self, network: NetworkSpec, owner: str, valid: Sequence[EndpointKey], environ: Mapping[str, str]
    ) -> Sequence[str]:
        self._called("collect", network, owner, valid)
        return self.said

    def status(self, network: NetworkSpec, *, exhausted_is_error: bool) -> Sequence[str]:
        self._called("status", network, exhausted_is_error)
        return self.said

    @property
    def lists(self) -> FakeEngine:
        return self

    def driver_of(self, key: EndpointKey) -> str:
        return self.recorded.driver

    def parts_of(self, key: EndpointKey) -> Sequence[str]:
        return self.recorded.parts

    def extend(self, network: NetworkSpec, endpoint: EndpointSpec, part: Part) -> Attachment:
        self._called("extend", network, endpoint, part)
        return self.answer

    def withdraw(self, key: EndpointKey, plugin: str) -> bool:
        self._called("withdraw", key, plugin)
        return bool(self.recorded.driver)

    def check_part(self, key: EndpointKey, endpoint: EndpointSpec, part: Part) -> Sequence[str]:
        self._called("check_part", key, endpoint, part)
        return self.said

    def collect_parts(self, network: str, owner: str, valid: Sequence[EndpointKey], plugin: str) -> None:
        self._called("collect_parts", network, owner, valid, plugin)

    def lease(self, network: str, ipam: IpamSpec, endpoint: EndpointSpec) -> Lease:
        self._called("lease", network, ipam, endpoint)
        return Lease(self.answer.addresses, self.answer.routes, self.answer.dns)

    def check_lease(self, network: str, ipam: IpamSpec, endpoint: EndpointSpec, addresses: Sequence[Address]) -> None:
        self._called("check_lease", network, ipam, endpoint, addresses)

    def release(self, key: EndpointKey, ipam: IpamSpec, environ: Mapping[str, str]) -> None:
        self._called("release", key, ipam)

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if self.failure:
            raise self.failure


class Answer(NamedTuple):
    reply: Reply
    engine: FakeEngine

    @property
    def json(self) -> Any:
        return json.loads(self.reply.out)

    @property
    def code(self) -> int:
        """Of the error object; 0 for success."""
        return int(self.json["code"]) if self.reply.code else 0


def ask(
    verb: str = "ADD",
    conf: Mapping[str, Any] | bytes | None = None,
    env: Mapping[str, str | None] | None = None,
    engine: FakeEngine | None = None,
    name: str = "cni-cnm",
    owner: Callable[[], str] = lambda: "containerd",
) -> Answer:
    """One call: `conf` are changes of CONF (None removes a key) or stdin itself, `env` changes of ENV."""
    asked = engine or FakeEngine()
    merged = {key: value for key, value in {**ENV, "CNI_COMMAND": verb, **(env or {})}.items() if value is not None}
    stdin = conf if isinstance(conf, bytes) else json.dumps(settings(**(conf or {}))).encode()
    return Answer(handle(merged, lambda: stdin, lambda: asked, name, owner), asked)


def settings(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**CONF, **changes}.items() if value is not None}
