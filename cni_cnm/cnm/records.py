"""The records of networks, endpoints, sandboxes and Docker's pools: their fields, their JSON, loading and listing them.

A record says what exists and what is about to exist. An endpoint's record is written as `pending` before anything is
made, with every name that will be used, so that the next call can finish or undo what a killed process left.
A field's JSON key is the one of 0.1.0, also where the field was renamed. `schema` is raised when an older reader would
go wrong.
"""

from __future__ import annotations

from cni_cnm.cnm.interface import default_routes
from cni_cnm.cnm.record_json import (
    device_from_json,
    device_to_json,
    endpoint_options_to_json,
    lease_from_json,
    lease_to_json,
    options_from_json,
    options_to_json,
    portmap_from_json,
    ports_from_json,
    ports_to_json,
    routes_from_json,
    routes_to_json,
    tuning_from_json,
)
from cni_cnm.drivers import EndpointPlan, drivers
from cni_cnm.errors import DamagedRecord
from cni_cnm.memo import Memo
from cni_cnm.model import Bandwidth, EndpointKey, Lease, NameService, Pod, PortmapOptions, SourceRouting
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state.record_reader import damaged, read, readable
from cni_cnm.state.store import ENDPOINTS, NETWORKS, POOLS, SANDBOXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from cni_cnm.drivers import Options, Role
    from cni_cnm.firewall import Policy
    from cni_cnm.model import Address, Device, Json, PortMapping, Route, Tuning
    from cni_cnm.state.store import Store

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
    owns_data_path: bool = True
    """False: the data path existed before the network, and is not deleted with it."""
    docker_networks: tuple[str, ...] = ()
    """Ids of the Docker networks that use this network."""
    owner: str = ""
    """`docker`: made for a Docker network, and deleted with it."""
    pending: bool = False
    """The network's links are being made, or a plugin is being told of it: it is not known how far that got."""
    published_only: bool = False
    """False for networks that 0.1.0 made. Other hosts reach published ports only, where the policy says so, and a port
    of the bridge has hairpin where nothing is configured."""
    names: NameService | None = None
    """The names of its containers are answered. Not on record of others."""

    @property
    def role(self) -> Role:
        return drivers.get(self.driver).role(self.options)

    @property
    def policy(self) -> Policy:
        policy = drivers.get(self.driver).policy(self.options)
        return policy if self.published_only else policy._replace(published_only=())

    def to_json(self) -> Json:
        options = options_to_json(self.options.to_json())
        raw = {"schema": SCHEMA, **dict(zip(_NETWORK_KEYS, self, strict=True)), **options}
        if self.names is None:
            del raw["names"]
        return raw

    @classmethod
    def from_json(cls, raw: Json) -> NetworkRecord:
        fields = _fields(raw, _NETWORK_FIELDS)
        fields["options"] = drivers.get(raw["driver"]).restore(options_from_json(raw))
        fields["docker_networks"] = tuple(raw.get("guests", ()))
        if "names" in raw:
            domain, servers = raw["names"]
            fields["names"] = NameService(domain, tuple(servers))
        return cls(**fields)


class PoolRecord(NamedTuple):
    """A subnet that Docker has requested, before it says for which network."""

    id: str
    subnet: str
    ip_range: str = ""
    """The part of the subnet that addresses are chosen from."""
    gateway: str = ""
    network: str = ""
    """The network whose leases are used: the one named in the request, else the one made with this pool."""
    shares_network: bool = False
    """True: the request named the network, so its leases are shared with CNI."""
    docker_network: str = ""
    """Docker's id of the network, as soon as it is made."""
    requested: float = 0.0
    """When, in seconds since 1970; 0.1.0 records no time."""

    def to_json(self) -> Json:
        return {"schema": SCHEMA, **dict(zip(_POOL_KEYS, self, strict=True))}

    @classmethod
    def from_json(cls, raw: Json) -> PoolRecord:
        return cls(**_fields(raw, _POOL_FIELDS))


class SandboxRecord(NamedTuple):
    id: str
    container_id: str
    netns: str
    epoch: str
    endpoints: tuple[str, ...] = ()
    """Endpoint ids in the order they joined."""
    gateways: Mapping[str, str] = {}
    """IP version ("4", "6") to the endpoint elected as the sandbox's default gateway."""

    def to_json(self) -> Json:
        return {"schema": SCHEMA, **self._asdict()}

    @classmethod
    def from_json(cls, raw: Json) -> SandboxRecord:
        return cls(
            raw["id"],
            raw["container_id"],
            raw["netns"],
            raw["epoch"],
            tuple(raw["endpoints"]),
            _gateways(raw["gateways"]),
        )


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
    netns_cookie: int = 0
    """What tells a namespace from a later one at its path (cnm/sandbox/namespace_identity.py). 0: not known."""
    request_id: str = ""
    host_ifname: str = ""
    mac: str = ""
    ipam_type: str = ""
    ipam: Mapping[str, Json] = {}
    """What releasing the addresses needs (`Ipam.record`)."""
    lease: Lease | None = None
    """None while it is not known whether addresses were reserved."""
    device: Device | None = None
    default_routes: tuple[Route, ...] = ()
    """The default routes it offers its sandbox; election decides which are used. Several of a version are next hops."""
    priority: int = 0
    aliases: tuple[str, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    portmap: PortmapOptions = PortmapOptions()
    bandwidth: Bandwidth | None = None
    tuning: Tuning | None = None
    tuning_before: Tuning | None = None
    """The values that `tuning` replaced."""
    docker_network: str = ""
    """Docker's id of its network; empty for an endpoint of another frontend."""
    requested_ports: tuple[PortMapping, ...] = ()
    """Ports to publish once the endpoint is its sandbox's default gateway.

    One host port is chosen from the `size` ports that begin at `host_port`; 0 stands for any.
    """
    published_only: bool = False
    """As the network's record has it."""
    pod: Pod = Pod()
    """As the runtime names it; not known for others' containers, and not on record by 0.1.0."""
    docker_since: float = 0.0
    """Docker's last CreateEndpoint, Join or Leave, in seconds since the boot. 0.1.0 records none."""
    requested_ifname: str = ""
    """The name of the interface in Docker's container, where the user has chosen one. 0.1.0 records none."""
    source_routing: SourceRouting | None = None
    """With the tables that were chosen. 0.1.0 records none."""
    parts: tuple[str, ...] = ()
    """The other plugins of its list that have added to it (cnm/requests/extend.py). 0.1.0 records none."""
    names: tuple[str, ...] = ()
    """What is answered for it, without the network's domain, on a network that answers names."""

    @property
    def role(self) -> Role:
        return drivers.get(self.driver).role(self.options)

    @property
    def policy(self) -> Policy:
        policy = drivers.get(self.driver).policy(self.options).of_endpoint(self.host_ifname)
        return policy if self.published_only else policy._replace(published_only=())

    @property
    def key(self) -> EndpointKey:
        return EndpointKey(self.network, *self.holder)

    @property
    def addresses(self) -> tuple[Address, ...]:
        return self.full_lease.addresses

    @property
    def full_lease(self) -> Lease:
        """The IPAM's lease with what the driver gave in addition."""
        lease = self.lease or Lease()
        return default_routes.combine(lease, self.device.lease) if self.device and self.device.lease else lease

    @property
    def plan(self) -> EndpointPlan:
        return EndpointPlan(
            self.id,
            self.host_ifname,
            self.mac,
            self.addresses,
            self.ports,
            bool(self.ports or self.requested_ports),
            self.lease.dns.nameservers if self.lease else (),
        )

    @property
    def of_runtime(self) -> bool:
        """Whether a container runtime made it, by CNI or netavark, which says when it goes."""
        return self.owner.startswith("cni/") or self.owner == "netavark"

    @property
    def label(self) -> str:
        """Network, container and interface in one word, as comments in the packet filter have it."""
        return f"{self.network}/{self.container_id[:12] or self.name}/{self.ifname or '-'}"

    @property
    def shown(self) -> str:
        """The label, and the pod if the runtime has named it: for messages."""
        return f"{self.label} ({self.pod.label})" if self.pod.name else self.label

    def to_json(self) -> Json:
        """Without fields that have their default. Readers of every release take the default for what is not there."""
        fields = zip(_ENDPOINT_KEYS, self, _ENDPOINT_DEFAULTS, strict=True)
        raw: dict[str, Json] = {key: value for key, value, default in fields if value is not default}
        raw["schema"] = SCHEMA
        for key, (convert, _) in _CONVERTED.items():
            if key in raw:
                raw[key] = convert(raw[key])
        raw.update(endpoint_options_to_json(self.options))
        return raw

    @classmethod
    def from_json(cls, raw: Json) -> EndpointRecord:
        fields = _fields(raw, _ENDPOINT_FIELDS)
        fields["options"] = _restored(raw["driver"], options_from_json(raw))
        for key, (_, convert) in _CONVERTED.items():
            if key in raw:
                fields[_FIELD.get(key, key)] = convert(raw[key])
        _check_allocated(raw.get("ipam", {}))
        return cls(**fields)


_options: dict[str, tuple[str, Options]] = {}
"""By driver: the options of the record that was read last, as text, and the value that they are."""


def _restored(driver: str, raw: Mapping[str, Json]) -> Options:
    """Records that are read one after the other are mostly of one network, and have one value then."""
    text, known = repr(raw), _options.get(driver)
    if known is not None and known[0] == text:
        return known[1]
    value: Options = drivers.get(driver).restore(raw)
    _options[driver] = text, value
    return value


def _check_allocated(allocated: Json) -> None:
    """TypeError for wrong types in what an IPAM has recorded: others look for the leases, too."""
    addresses, folder = allocated.get("addresses") or (), allocated.get("folder") or ""
    if not isinstance(addresses, list | tuple) or {*map(type, addresses)} - {str} or not isinstance(folder, str):
        raise TypeError(f"ipam is {allocated!r:.80}")


def _holder(container_id: str, ifname: str) -> tuple[str, str]:
    return container_id, ifname


def _gateways(raw: Json) -> dict[str, str]:
    return {version: raw[version] for version in ("4", "6") if version in raw}


_KEY = {
    "owns_data_path": "made",
    "docker_networks": "guests",
    "docker_network": "guest",
    "ip_range": "part",
    "shares_network": "named",
    "tuning_before": "before",
    "requested_ports": "wanted",
}
"""Fields whose JSON key has another name: the key is the one that 0.1.0 writes and reads."""
_FIELD = {key: field for field, key in _KEY.items()}
_NETWORK_KEYS = tuple(_KEY.get(field, field) for field in NetworkRecord._fields)
_POOL_KEYS = tuple(_KEY.get(field, field) for field in PoolRecord._fields)
_ENDPOINT_KEYS = tuple(_KEY.get(field, field) for field in EndpointRecord._fields)
_NETWORK_FIELDS = dict(zip(_NETWORK_KEYS, NetworkRecord._fields, strict=True))
_POOL_FIELDS = dict(zip(_POOL_KEYS, PoolRecord._fields, strict=True))
_ENDPOINT_FIELDS = dict(zip(_ENDPOINT_KEYS, EndpointRecord._fields, strict=True))
_ENDPOINT_DEFAULTS = tuple(EndpointRecord._field_defaults.get(field, _KEY) for field in EndpointRecord._fields)
"""A field without a default has what no field is equal to."""
_CONVERTED: Mapping[str, tuple[Callable[[Any], Json], Callable[[Json], Any]]] = {
    "lease": (lease_to_json, lease_from_json),
    "device": (device_to_json, device_from_json),
    "default_routes": (routes_to_json, routes_from_json),
    "holder": (tuple, lambda raw: _holder(*raw)),
    "aliases": (tuple, tuple),
    "parts": (tuple, tuple),
    "names": (tuple, tuple),
    "ports": (ports_to_json, ports_from_json),
    "wanted": (ports_to_json, ports_from_json),
    "portmap": (tuple, lambda raw: portmap_from_json(*raw)),
    "bandwidth": (tuple, lambda raw: Bandwidth(*raw) if raw else None),
    "pod": (tuple, lambda raw: Pod(*raw)),
    "tuning": (tuple, tuning_from_json),
    "source_routing": (tuple, lambda raw: SourceRouting(raw[0], tuple(raw[1])) if raw else None),
    "before": (tuple, tuning_from_json),
}
"""Of an endpoint's record, by JSON key: values that JSON does not have as they are, to JSON and back."""


def _fields(raw: Json, known: Mapping[str, str]) -> dict[str, Json]:
    """The fields that a record's JSON has, by `known` from its keys; keys of later versions are left out."""
    return {known[key]: value for key, value in raw.items() if key in known}


# loading and listing; an empty record counts as none, and lists are without damaged ones -----------------------------


_networks: Memo[NetworkRecord] = Memo()


def load_network(store: Store, name: str) -> NetworkRecord | None:
    return read(store, NETWORKS, name, NetworkRecord.from_json, _networks)


def network_records(store: Store) -> Iterator[NetworkRecord]:
    """By name."""
    return readable(store, NETWORKS, lambda name: load_network(store, name))


def damaged_networks(store: Store) -> list[str]:
    """The names of networks whose record cannot be read: what may be theirs is kept."""
    return damaged(store, NETWORKS, lambda name: load_network(store, name))


def load_endpoint(store: Store, endpoint_id: str) -> EndpointRecord | None:
    return read(store, ENDPOINTS, endpoint_id, EndpointRecord.from_json)


def endpoint_records(store: Store) -> Iterator[EndpointRecord]:
    """By id."""
    return readable(store, ENDPOINTS, lambda name: load_endpoint(store, name))


def endpoints_of(store: Store, network_id: str) -> Iterator[EndpointRecord]:
    """All of a network, by id. DamagedRecord for a record that may be one of them."""
    for name in store.names(ENDPOINTS):
        try:
            record = load_endpoint(store, name)
        except DamagedRecord:
            raw = store.get(ENDPOINTS, name)
            if not isinstance(raw, dict) or raw.get("network_id") in (network_id, None):
                raise
            continue
        if record is not None and record.network_id == network_id:
            yield record


def load_owner(store: Store, owner: str) -> EndpointRecord | None:
    """The endpoint that an element of the packet filter names (`Element.owner`). None for "", and if it is gone."""
    name = next((name for name in store.names(ENDPOINTS) if name.startswith(owner)), "") if owner else ""
    return load_endpoint(store, name) if name else None


def publishing_endpoints(store: Store, netns: str) -> Iterator[EndpointRecord]:
    """Endpoints in the sandbox at a path that have published ports. Other records are not parsed."""

    def parse(raw: Json) -> EndpointRecord | None:
        return EndpointRecord.from_json(raw) if raw.get("ports") and raw.get("netns") == netns else None

    return readable(store, ENDPOINTS, lambda name: read(store, ENDPOINTS, name, parse))


def load_sandbox(store: Store, sandbox_id: str, epoch: str) -> SandboxRecord | None:
    """None also for a record of another epoch."""
    found = read(store, SANDBOXES, sandbox_id, SandboxRecord.from_json)
    return found if found and found.epoch == epoch else None


def sandbox_records(store: Store, epoch: str) -> Iterator[SandboxRecord]:
    return readable(store, SANDBOXES, lambda name: load_sandbox(store, name, epoch))


def load_pool(store: Store, pool_id: str) -> PoolRecord | None:
    return read(store, POOLS, pool_id, PoolRecord.from_json)


def pool_records(store: Store) -> Iterator[PoolRecord]:
    return readable(store, POOLS, lambda name: load_pool(store, name))
