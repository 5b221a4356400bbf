"""Published and exposed ports, as the labels `…portmap` and `…endpoint.exposedports` have them."""

from __future__ import annotations

from cni_cnm.model import PortMapping
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.fields import Fields
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
        return cls(_protocol(fields), _port(fields, "Port"))


class PortBinding(NamedTuple):
    """One published port. In a request `host_port` 0: the driver chooses one, and reports it in EndpointOperInfo."""

    protocol: str
    port: int
    host_port: int = 0
    host_port_end: int = 0
    """The driver chooses one of the ports from `host_port` to this one; 0: only `host_port`."""
    host_ip: IPAddress | None = None
    """None: every address of the host."""
    ip: IPAddress | None = None
    """The container's address, if known."""

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
            port=_port(fields, "Port"),
            host_port=_port(fields, "HostPort"),
            host_port_end=_port(fields, "HostPortEnd"),
            host_ip=fields.address("HostIP"),
            ip=fields.address("IP"),
        )


def bindings(ports: Sequence[PortMapping]) -> tuple[PortBinding, ...]:
    """One binding for each port of a mapping: a range in Docker's messages means one port out of it."""
    return tuple(
        PortBinding(m.protocol, m.container_port + n, m.host_port + n, m.host_port + n, m.host_ip)
        for m in ports
        for n in range(m.size)
    )


def exposed(ports: Sequence[PortMapping]) -> tuple[ExposedPort, ...]:
    """The container's ports that are published, each once."""
    return tuple(dict.fromkeys(ExposedPort(b.protocol, b.port) for b in bindings(ports)))


def mapping(binding: PortBinding) -> PortMapping:
    """The mapping of a binding whose host port has been chosen."""
    return PortMapping(binding.protocol, binding.host_port, binding.port, binding.host_ip)


def _port(fields: Fields, key: str) -> int:
    return fields.whole(key, 0, 0, 65535)


def _protocol(fields: Fields) -> str:
    number = fields.whole("Proto", 0, 0, 255)
    if number not in _NAMES:
        raise fields.wrong("Proto", "6 (tcp), 17 (udp) or 132 (sctp)")
    return _NAMES[number]
