"""Ports as Docker's messages write them, under the labels `…portmap` and `…endpoint.exposedports`."""

from __future__ import annotations

from typing import NamedTuple

from cni_cnm.model import PortMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.docker_protocol.fields import Fields
    from cni_cnm.model import IPAddress, Json

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
"""IP protocol numbers, which the messages carry."""
_NAMES = {number: name for name, number in PROTOCOLS.items()}


class ExposedPort(NamedTuple):
    protocol: str
    """`tcp`, `udp` or `sctp`."""
    port: int

    def to_json(self) -> Json:
        return {"Proto": PROTOCOLS[self.protocol], "Port": self.port}

    @classmethod
    def read(cls, fields: Fields) -> ExposedPort:
        return cls(_protocol(fields), fields.number("Port"))


class PortBinding(NamedTuple):
    """One published port. In a request `host_port` 0 leaves the choice to the driver, which reports it in OperInfo."""

    protocol: str
    port: int
    host_port: int = 0
    host_port_end: int = 0
    """Last of the host's ports that may be chosen from; 0 as `host_port`."""
    host_ip: IPAddress | None = None
    """None: every address of the host."""
    ip: IPAddress | None = None
    """The container's address, where it is known."""

    def to_json(self) -> Json:
        return {
            "Proto": PROTOCOLS[self.protocol],
            "IP": str(self.ip or ""),
            "Port": self.port,
            "HostIP": str(self.host_ip or ""),
            "HostPort": self.host_port,
            "HostPortEnd": self.host_port_end,
        }

    @classmethod
    def read(cls, fields: Fields) -> PortBinding:
        return cls(
            protocol=_protocol(fields),
            port=fields.number("Port"),
            host_port=fields.number("HostPort"),
            host_port_end=fields.number("HostPortEnd"),
            host_ip=fields.address("HostIP"),
            ip=fields.address("IP"),
        )


def bindings(ports: Sequence[PortMapping]) -> tuple[PortBinding, ...]:
    """A mapping of several ports is several bindings: Docker's range is of ports to choose one from."""
    return tuple(
        PortBinding(m.protocol, m.container_port + n, m.host_port + n, m.host_port + n, m.host_ip)
        for m in ports
        for n in range(m.size)
    )


def exposed(ports: Sequence[PortMapping]) -> tuple[ExposedPort, ...]:
    """Ports of the container that are published, each once."""
    return tuple(dict.fromkeys(ExposedPort(b.protocol, b.port) for b in bindings(ports)))


def mapping(binding: PortBinding) -> PortMapping:
    """A binding whose port of the host is chosen."""
    return PortMapping(binding.protocol, binding.host_port, binding.port, binding.host_ip)


def _protocol(fields: Fields) -> str:
    number = fields.number("Proto", 0, 255)
    if number not in _NAMES:
        raise fields.wrong("Proto", number, "6 (tcp), 17 (udp) or 132 (sctp)")
    return _NAMES[number]
