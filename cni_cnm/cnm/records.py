"""The records of networks, endpoints and sandboxes, and their JSON.

A record says what exists and what is about to: an endpoint's is written as `pending`, with every name it is going to
make, before anything is made, so that whoever comes next can finish or undo what a killed process left.
`schema` is raised when a reader of the older form would go wrong.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import NamedTuple

from cni_cnm.cnm.interface import default_routes
from cni_cnm.drivers import EndpointPlan, drivers
from cni_cnm.model import (
    Address,
    Bandwidth,
    Device,
    Dns,
    EndpointKey,
    Interface,
    Lease,
    PortmapOptions,
    PortMapping,
    Route,
    Tuning,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.drivers import Options
    from cni_cnm.model import Json

SCHEMA = 1

PENDING = "pending"
CREATED = "created"
READY = "ready"


class NetworkRecord(NamedTuple):
    id: str
    name: str
    driver: str
    options: Options
    """The driver's own value. Only the record's JSON has it as JSON."""
    ipam_type: str
    ipam: Mapping[str, Json]
    """The ipam object the network was made with, with the subnet that was chosen where it named none."""
    internal: bool = False
    labels: Mapping[str, str] = {}
    created: float = 0.0
    made: bool = True
    """False: the data path was there before the network, and stays when it goes."""
    guests: Sequence[str] = ()
    """Ids of networks of another engine (Docker) that are this one there."""
    owner: str = ""
    """`docker`: made for its guest, and goes with it."""
    pending: bool = False
    """A plugin is being told of it, and it is not known how far that got."""

    def to_json(self) -> Json:
        return {"schema": SCHEMA, **self._asdict(), "options": self.options.to_json()}

    @classmethod
    def from_json(cls, raw: Json) -> NetworkRecord:
        known = {field: raw[field] for field in cls._fields if field in raw}
        options = drivers.get(raw["driver"]).restore(raw["options"])
        return cls(**{**known, "options": options, "guests": tuple(raw.get("guests", ()))})


class PoolRecord(NamedTuple):
    """A subnet that another engine (Docker) has requested, before it says for which network."""

    id: str
    subnet: str
    part: str = ""
    """The part of it that addresses are chosen from."""
    gateway: str = ""
    network: str = ""
    """The network whose addresses these are: one it named, or from when it is made."""
    named: bool = False
    """The network was named with the request: its leases are shared with all that are on it."""
    guest: str = ""
    """Its id of the network, from when that is made."""

    def to_json(self) -> Json:
        return {"schema": SCHEMA, **self._asdict()}

    @classmethod
    def from_json(cls, raw: Json) -> PoolRecord:
        return cls(**{field: raw[field] for field in cls._fields if field in raw})


class SandboxRecord(NamedTuple):
    id: str
    container_id: str
    netns: str
    epoch: str
    endpoints: tuple[str, ...] = ()
    """Endpoint ids in the order they joined."""
    gateways: Mapping[str, str] = {}
    """IP version ("4", "6") to the endpoint elected as the sandbox's way out."""

    def to_json(self) -> Json:
        return {"schema": SCHEMA, **self._asdict()}

    @classmethod
    def from_json(cls, raw: Json) -> SandboxRecord:
        return cls(raw["id"], raw["container_id"], raw["netns"], raw["epoch"], tuple(raw["endpoints"]), raw["gateways"])


class EndpointRecord(NamedTuple):
    id: str
    network: str
    network_id: str
    name: str
    driver: str
    options: Options
    owner: str
    state: str
    epoch: str
    holder: tuple[str, str] = ("", "")
    """Who the addresses are leased to, as host-local writes it: container id and interface, or an endpoint's name."""
    container_id: str = ""
    """Of the sandbox joined."""
    ifname: str = ""
    netns: str = ""
    netns_inode: int = 0
    request_id: str = ""
    host_ifname: str = ""
    mac: str = ""
    ipam_type: str = ""
    ipam: Mapping[str, Json] = {}
    """What giving the addresses back needs (`Ipam.record`)."""
    lease: Lease | None = None
    """None while it is not known whether addresses were reserved."""
    device: Device | None = None
    default_routes: tuple[Route, ...] = ()
    """Those of the lease's routes it offers its sandbox as the way out, at most one a family; election decides."""
    priority: int = 0
    aliases: tuple[str, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    portmap: PortmapOptions = PortmapOptions()
    bandwidth: Bandwidth | None = None
    tuning: Tuning | None = None
    before: Tuning | None = None
    """What was there in place of `tuning`."""
    guest: str = ""
    """Docker's id of its network."""
    wanted: tuple[PortMapping, ...] = ()
    """Ports to publish once the endpoint is its sandbox's way out: of `size` ports from `host_port` on one, 0: any."""

    @property
    def key(self) -> EndpointKey:
        return EndpointKey(self.network, *self.holder)

    @property
    def addresses(self) -> tuple[Address, ...]:
        return self.whole.addresses

    @property
    def whole(self) -> Lease:
        """IPAM's lease and what the driver gave beside it."""
        lease = self.lease or Lease()
        return default_routes.whole(lease, self.device.lease) if self.device and self.device.lease else lease

    @property
    def plan(self) -> EndpointPlan:
        return EndpointPlan(
            self.id,
            self.host_ifname,
            self.mac,
            self.addresses,
            self.ports,
            bool(self.ports or self.wanted),
            self.lease.dns.nameservers if self.lease else (),
        )

    @property
    def label(self) -> str:
        """For people: network, container and interface in one word."""
        return f"{self.network}/{self.container_id[:12] or self.name}/{self.ifname or '-'}"

    def to_json(self) -> Json:
        return {
            "schema": SCHEMA,
            **self._asdict(),
            "options": self.options.to_json(),
            "lease": _lease_to_json(self.lease),
            "device": _device_to_json(self.device),
            "ports": [_port_to_json(port) for port in self.ports],
            "wanted": [_port_to_json(port) for port in self.wanted],
            "default_routes": [_route_to_json(route) for route in self.default_routes],
        }

    @classmethod
    def from_json(cls, raw: Json) -> EndpointRecord:
        known = {field: raw[field] for field in cls._fields if field in raw}
        return cls(
            **{
                **known,
                "options": drivers.get(raw["driver"]).restore(raw["options"]),
                "lease": _lease_from_json(raw.get("lease")),
                "device": _device_from_json(raw.get("device")),
                "default_routes": tuple(_route_from_json(route) for route in raw.get("default_routes", ())),
                "holder": tuple(raw["holder"]),
                "aliases": tuple(raw.get("aliases", ())),
                "ports": tuple(_port_from_json(*port) for port in raw.get("ports", ())),
                "wanted": tuple(_port_from_json(*port) for port in raw.get("wanted", ())),
                "portmap": _portmap_from_json(*raw.get("portmap", ())),
                "bandwidth": Bandwidth(*raw["bandwidth"]) if raw.get("bandwidth") else None,
                "tuning": _tuning_from_json(raw.get("tuning")),
                "before": _tuning_from_json(raw.get("before")),
            }
        )


def _lease_to_json(lease: Lease | None) -> Json:
    if lease is None:
        return None
    return {
        "addresses": [[str(a.interface), str(a.gateway) if a.gateway else None] for a in lease.addresses],
        "routes": [_route_to_json(route) for route in lease.routes],
        "dns": lease.dns,
    }


def _lease_from_json(raw: Json) -> Lease | None:
    if raw is None:
        return None
    nameservers, domain, search, options = raw["dns"]
    return Lease(
        tuple(Address(ip_interface(text), ip_address(gw) if gw else None) for text, gw in raw["addresses"]),
        tuple(_route_from_json(route) for route in raw["routes"]),
        Dns(tuple(nameservers), domain, tuple(search), tuple(options)),
    )


def _route_to_json(route: Route) -> Json:
    return {**route._asdict(), "dst": str(route.dst), "gw": str(route.gw) if route.gw else None}


def _route_from_json(raw: Json) -> Route:
    return Route(**{**raw, "dst": ip_network(raw["dst"]), "gw": ip_address(raw["gw"]) if raw["gw"] else None})


def _port_to_json(port: PortMapping) -> Json:
    return (*port[:3], str(port.host_ip) if port.host_ip else None, port.size)


def _port_from_json(protocol: str, host_port: int, container_port: int, host_ip: str | None, size: int) -> PortMapping:
    return PortMapping(protocol, host_port, container_port, ip_address(host_ip) if host_ip else None, size)


def _portmap_from_json(
    snat: bool = True, masq_all: bool = False, conditions4: Sequence[str] = (), conditions6: Sequence[str] = ()
) -> PortmapOptions:
    return PortmapOptions(snat, masq_all, tuple(conditions4), tuple(conditions6))


def _tuning_from_json(raw: Json) -> Tuning | None:
    return Tuning(tuple((key, value) for key, value in raw[0]), *raw[1:]) if raw else None


def _device_to_json(device: Device | None) -> Json:
    """Where it came from (`source`) is the record's own field."""
    if device is None or device.lease is None:
        return device and device[:4]
    return (*device[:4], _lease_to_json(device.lease))


def _device_from_json(raw: Json) -> Device | None:
    if raw is None:
        return None
    container, host, extra, *rest = raw
    of_host, of_extra = (tuple(Interface(*link) for link in some) for some in (host, extra))
    ifindex, lease = (*rest, None) if len(rest) == 1 else (*rest, 0, None)[:2]
    return Device(Interface(*container), of_host, of_extra, ifindex, lease=_lease_from_json(lease))
