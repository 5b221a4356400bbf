"""Validates what a program requests for an endpoint, by the rules for a configuration, before anything is touched."""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cnm.interface import shaping
from cni_cnm.cnm.interface import tuning as tunings
from cni_cnm.firewall.portmap_options import parse_mappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import Bandwidth, EndpointSpec, PortMapping, Tuning


def checked(spec: EndpointSpec) -> EndpointSpec:
    """The same specification with normalised MAC, ports, limits and tuning. InvalidConfig names what is wrong."""
    return spec._replace(
        mac=validate.require(validate.mac, spec.mac, "mac") if spec.mac else "",
        ports=parse_mappings([_mapping(port) for port in spec.ports]),
        bandwidth=_bandwidth(spec.bandwidth) if spec.bandwidth is not None else None,
        tuning=_tuning(spec.tuning) if spec.tuning is not None else None,
    )


def _mapping(port: PortMapping) -> dict[str, object]:
    return {
        "protocol": port.protocol,
        "hostport": port.host_port,
        "containerport": port.container_port,
        "hostip": str(port.host_ip) if port.host_ip is not None else "",
        "range": port.size,
    }


def _bandwidth(limits: Bandwidth) -> Bandwidth | None:
    return shaping.parse({key.replace("_", ""): value for key, value in limits._asdict().items()}, None)


def _tuning(requested: Tuning) -> Tuning | None:
    given = {key: value for key, value in requested._asdict().items() if key != "sysctls"}
    return tunings.parse({**given, "sysctl": dict(requested.sysctls)}, None, "IFNAME")
