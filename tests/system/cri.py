"""As much of the CRI (runtime.v1) as starting, looking at and removing pods takes.

Protobuf by hand: a message is built from {field: value} and read back as {field: [values]}; field numbers are
those of k8s.io/cri-api/pkg/apis/runtime/v1/api.proto. gRPC itself is grpcio's.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple, TypeAlias

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # its fork handlers talk to stderr for every subprocess

import grpc  # type: ignore[import-untyped]

Message: TypeAlias = dict[int, Any]
"""{field: value}; a value is a str, int, bytes, message, {str: str} map, or a list of one of them."""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes_field(field: int, raw: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def encode(message: Message) -> bytes:
    """Wire form. A dict with integer keys is a message, one with string keys a map<string, string>."""
    out = b""
    for field, value in message.items():
        if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
            values: list[Any] = [{1: key, 2: text} for key, text in value.items()]
        else:
            values = value if isinstance(value, list) else [value]
        for item in values:
            if isinstance(item, int):
                out += _varint(field << 3) + _varint(item)
            elif isinstance(item, dict):
                out += _bytes_field(field, encode(item))
            else:
                out += _bytes_field(field, item.encode() if isinstance(item, str) else item)
    return out


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = raw[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def decode(raw: bytes) -> dict[int, list[Any]]:
    """{field: [values]}: ints for varints, bytes for all that is length-delimited (strings, messages)."""
    out: dict[int, list[Any]] = {}
    at = 0
    while at < len(raw):
        tag, at = _read_varint(raw, at)
        if tag & 7 == 0:
            value: Any
            value, at = _read_varint(raw, at)
        elif tag & 7 == 2:
            size, at = _read_varint(raw, at)
            value, at = raw[at : at + size], at + size
        else:
            raise ValueError(f"wire type {tag & 7} of field {tag >> 3} is not used by the messages read here")
        out.setdefault(tag >> 3, []).append(value)
    return out


class Pod(NamedTuple):
    """A running pod sandbox: its CRI id, addresses in the runtime's order, and the path of its namespace."""

    id: str
    name: str
    addresses: tuple[str, ...]
    netns: str


class CriError(Exception):
    """What the runtime answered instead."""


class Cri:
    """A client of one CRI socket."""

    def __init__(self, socket: str) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=[("grpc.default_authority", "localhost")])

    def close(self) -> None:
        self._channel.close()

    def call(
        self, method: str, message: Message, *, service: str = "Runtime", timeout: float = 60
    ) -> dict[int, list[Any]]:
        call = self._channel.unary_unary(f"/runtime.v1.{service}Service/{method}")
        try:
            return decode(call(encode(message), timeout=timeout, wait_for_ready=True))
        except grpc.RpcError as error:
            raise CriError(f"{method}: {error.details()}") from None

    @staticmethod
    def _pod_config(name: str, ports: list[Message] | None) -> Message:
        metadata: Message = {1: name, 2: f"uid-{name}", 3: "default"}
        # no cgroup parent, no log directory: pods of a test are found by name only
        return {1: metadata, 2: name, 5: ports or [], 7: {"cni-cnm/test": name}, 8: {2: {}}}

    def run_pod(self, name: str, *, ports: list[Message] | None = None, timeout: float = 60) -> Pod:
        """RunPodSandbox. `ports` are PortMapping messages: {1: protocol, 2: container port, 3: host port}."""
        answer = self.call("RunPodSandbox", {1: self._pod_config(name, ports)}, timeout=timeout)
        return self.pod(answer[1][0].decode())

    def pod(self, pod_id: str) -> Pod:
        answer = self.call("PodSandboxStatus", {1: pod_id, 2: 1})
        status = decode(answer[1][0])
        info = {k.decode(): v for k, v in ((decode(e)[1][0], decode(e)[2][0]) for e in answer.get(2, ()))}
        spec = json.loads(info["info"])["runtimeSpec"]
        netns = next((n.get("path", "") for n in spec["linux"]["namespaces"] if n["type"] == "network"), "")
        network = decode(status[5][0]) if 5 in status else {}
        first = [raw.decode() for raw in network.get(1, ()) if raw]
        more = [decode(raw)[1][0].decode() for raw in network.get(2, ())]
        name = decode(status[2][0])[1][0].decode()
        return Pod(pod_id, name, (*first, *more), netns)

    def pods(self) -> list[str]:
        return [decode(item)[1][0].decode() for item in self.call("ListPodSandbox", {}).get(1, ())]

    def run_container(self, pod: Pod, image: str, command: list[str]) -> str:
        """CreateContainer and StartContainer; the container's id."""
        config: Message = {1: {1: "main"}, 2: {1: image}, 3: command, 15: {2: {}}}
        request: Message = {1: pod.id, 2: config, 3: self._pod_config(pod.name, None)}
        container = str(self.call("CreateContainer", request)[1][0].decode())
        self.call("StartContainer", {1: container})
        return container

    def execute(self, container: str, command: list[str], *, timeout: int = 20) -> tuple[int, str]:
        """ExecSync: exit status, and stdout and stderr together."""
        answer = self.call("ExecSync", {1: container, 2: command, 3: timeout}, timeout=timeout + 10)
        text = b"".join(answer.get(1, []) + answer.get(2, [])).decode(errors="replace")
        return (answer.get(3) or [0])[0], text

    def stop(self, pod_id: str, *, timeout: float = 60) -> None:
        self.call("StopPodSandbox", {1: pod_id}, timeout=timeout)

    def remove(self, pod_id: str, *, timeout: float = 60) -> None:
        self.call("RemovePodSandbox", {1: pod_id}, timeout=timeout)

    def network_ready(self) -> tuple[bool, str]:
        """The runtime's NetworkReady condition and its message."""
        for raw in decode(self.call("Status", {})[1][0])[1]:
            condition = decode(raw)
            if condition[1][0] == b"NetworkReady":
                message = (condition.get(4) or condition.get(3) or [b""])[0]
                return bool((condition.get(2) or [0])[0]), message.decode()
        raise CriError("Status: the runtime reports no NetworkReady condition")

    def images(self) -> set[str]:
        answer = self.call("ListImages", {}, service="Image")
        return {tag.decode() for item in answer.get(1, ()) for tag in decode(item).get(2, ())}
