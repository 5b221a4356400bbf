"""Network: made once on this host by its driver, kept over reboots, holds endpoints, deleted when it has none."""

from __future__ import annotations

from time import time

from cni_cnm import ipam
from cni_cnm.cnm.objects import shared_parent
from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.packet_filter import endpoint_elements, firewall_reconcile
from cni_cnm.cnm.records import CREATED, PENDING, EndpointRecord, NetworkRecord
from cni_cnm.cnm.rollback import ErrorList, Rollback
from cni_cnm.drivers import drivers
from cni_cnm.errors import (
    ActiveEndpoints,
    Conflict,
    Forbidden,
    InvalidConfig,
    NoSuchEndpoint,
    NoSuchNetwork,
    raise_gathered,
)
from cni_cnm.ipam.leases import DOCKER
from cni_cnm.ipam.pools import host_id
from cni_cnm.model import (
    Address,
    EndpointKey,
    EndpointSpec,
    IpamSpec,
    Lease,
    NetworkSpec,
    PortmapOptions,
    digest,
    stable_mac,
)
from cni_cnm.state.files import ENDPOINTS, NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.docker.docker_endpoint import DockerEndpoint
    from cni_cnm.drivers import Options, Role
    from cni_cnm.model import Bandwidth, IPAddress, IPInterface, IPNetwork, Json, PortMapping, Tuning


ENDPOINT_ID_MAX = 64
"""Characters; it names a file."""
PUBLISHED_AS_USUAL = PortmapOptions()


class Network:
    def __init__(self, controller: Controller, record: NetworkRecord) -> None:
        self._controller = controller
        self.record = record

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def driver(self) -> str:
        return self.record.driver

    @property
    def spec(self) -> NetworkSpec:
        record = self.record
        return NetworkSpec(
            record.name,
            record.driver,
            record.options.to_json(),
            IpamSpec(record.ipam_type, record.ipam),
            record.internal,
        )

    def endpoints(self) -> Iterator[Endpoint]:
        for record in endpoint_records(self._controller):
            if record.network_id == self.id:
                yield Endpoint(self._controller, record)

    def walk_endpoints(self, visit: Callable[[Endpoint], bool]) -> None:
        """Call `visit` for each endpoint until it returns True."""
        for endpoint in self.endpoints():
            if visit(endpoint):
                return

    def endpoint(self, name_or_id: str) -> Endpoint:
        """By name, id, or an id prefix that only one endpoint has."""
        found = [e for e in self.endpoints() if e.name == name_or_id or e.id == name_or_id]
        found = found or [e for e in self.endpoints() if name_or_id and e.id.startswith(name_or_id)]
        if len(found) != 1:
            kind = "no" if not found else "more than one"
            raise NoSuchEndpoint(f"{kind} endpoint of the network {self.name} is called {name_or_id!r}")
        return found[0]

    def lodger(self, endpoint_id: str) -> DockerEndpoint:
        """The endpoint of exactly that id, without looking at any other."""
        from cni_cnm.cnm.docker.docker_endpoint import DockerEndpoint

        plain = endpoint_id.isascii() and endpoint_id.isalnum() and len(endpoint_id) <= ENDPOINT_ID_MAX
        raw = self._controller.store.get(ENDPOINTS, endpoint_id) if plain else None
        if raw is None or raw["network_id"] != self.id:
            raise NoSuchEndpoint(f"the network {self.name} has no endpoint {endpoint_id[:12]!r}")
        return DockerEndpoint(self._controller, EndpointRecord.from_json(raw))

    def create_endpoint(
        self,
        name: str,
        *,
        mac: str = "",
        addresses: tuple[IPAddress | IPInterface, ...] = (),
        ports: tuple[PortMapping, ...] = (),
        bandwidth: Bandwidth | None = None,
        tuning: Tuning | None = None,
        owner: str = "library",
    ) -> Endpoint:
        """An endpoint with its addresses reserved, not yet joined. Forbidden if the network has one of that name.

        Ports are published, limits and tuning applied while it is joined.
        """
        if not name or "/" in name or "\0" in name:
            raise InvalidConfig(f"{name!r} is no endpoint name", hint="any text without '/' and NUL")
        from cni_cnm.cnm.objects import validate_spec

        key = EndpointKey(self.name, name, "cnm")
        spec = EndpointSpec(name, "cnm", "", owner, mac, addresses, ports=ports, bandwidth=bandwidth, tuning=tuning)
        spec = validate_spec.checked(spec)
        refuse_wishes(self.spec, drivers.get(self.driver).role(self.record.options), spec)
        controller = self._controller
        pool = ipam.configure(self.name, self.spec.ipam, spec, controller.settings)
        pool.validate(spec)
        with controller.store.lock(f"endpoint/{key.id}"), Rollback() as undo:
            if controller.store.get(ENDPOINTS, key.id):
                raise Forbidden(f"the network {self.name} has an endpoint {name} already")
            endpoint = Endpoint(controller, new_record(controller, self.record, key, spec)._replace(name=name))
            with controller.store.lock(f"network/{self.name}", shared=True):
                if controller.store.get(NETWORKS, self.name) is None:
                    raise NoSuchNetwork(f"the network {self.name} was deleted")
                undo.push_forgetting(lambda: controller.store.delete(ENDPOINTS, endpoint.id))
                endpoint.write(state=PENDING, ipam=pool.record())
            endpoint.reserve(pool, spec, None, undo)
            endpoint.write(state=CREATED)
        return endpoint

    def lodge_endpoint(
        self, endpoint_id: str, *, addresses: Sequence[IPInterface], mac: str = "", guest: str = ""
    ) -> Endpoint:
        """An endpoint under another engine's id, at addresses that engine has already. Asked again, the same one.

        Conflict if the id is another endpoint's, or an address of a shared store is not the engine's.
        """
        from cni_cnm.ipam.host_local import HostLocal
        from cni_cnm.ipam.single import Single

        controller, record = self._controller, self.record
        holder = (DOCKER, endpoint_id)
        with controller.store.lock(f"endpoint/{endpoint_id}"), Rollback() as undo:
            raw = controller.store.get(ENDPOINTS, endpoint_id)
            if raw is not None:
                found = Endpoint(controller, EndpointRecord.from_json(raw))
                if found.record.network_id == self.id and [a.interface for a in found.addresses] == list(addresses):
                    return found
                raise Conflict(
                    f"there is an endpoint {endpoint_id[:12]} already, on the network {found.record.network}"
                )
            pool = ipam.configure(self.name, self.spec.ipam, None, controller.settings)
            key = EndpointKey(self.name, *holder)
            spec = EndpointSpec(*holder, "", DOCKER, mac or stable_mac(f"{self.id} {addresses[0].ip}"))
            endpoint = Endpoint(controller, new_record(controller, record, key, spec))
            with controller.store.lock(f"network/{self.name}", shared=True):
                if controller.store.get(NETWORKS, self.name) is None:
                    raise NoSuchNetwork(f"the network {self.name} was deleted")
                undo.push_forgetting(lambda: controller.store.delete(ENDPOINTS, endpoint_id))
                endpoint.write(
                    id=endpoint_id,
                    name=endpoint_id[:12],
                    host_ifname=f"veth{endpoint_id[:11]}",
                    ipam_type="given",
                    ipam={"addresses": [str(address.ip) for address in addresses]},
                    lease=_lodging(addresses, pool.gateways()),
                    guest=guest,
                )
            if isinstance(pool, HostLocal):
                for address in addresses:
                    Single(self.name, pool, address.network).assign(address.ip, endpoint_id)
            endpoint.write(state=CREATED)
        return endpoint

    def delete(self, *, force: bool = False) -> Sequence[str]:
        """ActiveEndpoints while it has any, whoever made them. Sentences about what a plugin complained of.

        `force`: forgotten also if its plugins cannot be told.
        """
        controller = self._controller
        with controller.store.lock(f"network/{self.name}"):
            if controller.store.get(NETWORKS, self.name) is None:
                raise NoSuchNetwork(f"the network {self.name} does not exist any more")
            guests = NetworkRecord.from_json(controller.store.get(NETWORKS, self.name)).guests
            if guests:
                raise ActiveEndpoints(
                    f"the network {self.name} is Docker's network {', '.join(guest[:12] for guest in guests)}, too",
                    hint=f"docker network rm {guests[0][:12]}",
                )
            labels = [endpoint.record.label for endpoint in self.endpoints()]
            if labels:
                shown = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
                raise ActiveEndpoints(
                    f"the network {self.name} has {len(labels)} endpoints: {shown}",
                    hint="remove their containers first",
                )
            return self.erase(force=force)

    def erase(self, *, force: bool = False) -> Sequence[str]:
        """The data path and the record. The caller holds the network's lock and has looked for endpoints.

        As in libnetwork a plugin's refusal stops nothing, and addresses are given back first.
        """
        controller, record, gathered = self._controller, self.record, ErrorList()
        if ipam.allocates(self.spec.ipam):
            gathered.attempt(lambda: ipam.free(self.name, self.spec.ipam, controller.settings, force=force))
        of_plugin = drivers.get(record.driver).role(record.options).interface == "moved"
        if of_plugin:  # it may take its time, and has nothing in our packet filter
            gathered.attempt(lambda: shared_parent.dismantle(controller, record))
        with firewall_reconcile.lock(controller):
            firewall_reconcile.withdraw(controller, record, firewall_reconcile.policy_of(record))
            firewall_reconcile.close_to_all(controller, record)
            self.unisolate()
            with shared_parent.lock(controller, record):
                if record.made and not of_plugin:
                    gathered.attempt(lambda: shared_parent.dismantle(controller, record))
            if not (force and gathered.unanswered):
                raise_gathered(gathered.errors)
            controller.store.delete(NETWORKS, self.name)
        return [*gathered.notes, *(str(error) for error in gathered.errors)]

    def unisolate(self) -> None:
        """Take the network's isolation out of the packet filter, unless another network has the same bridge."""
        controller, record = self._controller, self.record
        policy = firewall_reconcile.policy_of(record)
        if policy.isolates and not firewall_reconcile.shared(controller, record, policy):
            endpoint_elements.forget(lambda: controller.nft, policy)


def _lodging(addresses: Sequence[IPInterface], gateways: Sequence[IPInterface]) -> Lease:
    by_subnet = {gateway.network: gateway.ip for gateway in gateways}
    return Lease(tuple(Address(address, by_subnet.get(address.network)) for address in addresses))


def endpoint_records(controller: Controller) -> Iterator[EndpointRecord]:
    for name in controller.store.names(ENDPOINTS):
        raw = controller.store.get(ENDPOINTS, name)
        if raw:
            yield EndpointRecord.from_json(raw)


def new_record(
    controller: Controller,
    network: NetworkRecord,
    key: EndpointKey,
    spec: EndpointSpec,
    *,
    priority: int = 0,
    portmap: PortmapOptions = PUBLISHED_AS_USUAL,
) -> EndpointRecord:
    """The record of an endpoint about to be made, with every name it is going to use."""
    return EndpointRecord(
        id=key.id,
        network=network.name,
        network_id=network.id,
        name=spec.ifname,
        driver=network.driver,
        options=network.options,
        owner=spec.owner,
        state=PENDING,
        epoch=controller.epoch,
        holder=(key.container_id, key.ifname),
        request_id=spec.request_id,
        host_ifname=f"veth{key.id[:8]}",
        mac=spec.mac or _mac(network, key.id),
        ipam_type=network.ipam_type,
        priority=priority,
        aliases=spec.aliases,
        ports=spec.ports,
        portmap=portmap,
        bandwidth=spec.bandwidth,
        tuning=spec.tuning,
    )


def refuse_wishes(network: NetworkSpec, role: Role, spec: EndpointSpec) -> None:
    """InvalidConfig for what an endpoint of this network cannot have, whoever asks for it."""
    if spec.ports and (network.internal or role.outside not in ("host", "plugin")):
        why = "is internal" if network.internal else f"has the driver {network.driver}"
        raise InvalidConfig(
            f"the network {network.name} {why}, so {spec.ports[0]} cannot be published on it",
            hint="publish on a network that has a way in by the host, as one of the driver bridge",
        )
    if role.interface == "none" and (spec.mac or spec.addresses or spec.bandwidth or spec.tuning):
        raise InvalidConfig(
            f"the network {network.name} has the driver {network.driver}, which gives no interface: "
            f"it cannot have a MAC, addresses, bandwidth or tuning"
        )
    if spec.mac and role.mac == "inherited":
        raise InvalidConfig(
            f"the MAC {spec.mac} cannot be given on the network {network.name}: its interfaces have their parent's",
            hint="leave out the MAC",
        )
    if spec.bandwidth and role.outside != "host":
        raise InvalidConfig(
            f"bandwidth cannot be limited on the network {network.name}: its interfaces have no end on the host",
            hint="leave out bandwidth, or use a network of the driver bridge",
        )


def _mac(network: NetworkRecord, endpoint_id: str) -> str:
    """ "" where the device brings its own. On a physical network the same name on two hosts must not be one MAC."""
    role = drivers.get(network.driver).role(network.options)
    if role.mac != "derived":
        return ""
    return stable_mac(endpoint_id if role.outside == "host" else digest(host_id(), endpoint_id))


def describe(spec: NetworkSpec, options: Options, ipam_config: Mapping[str, Json]) -> NetworkRecord:
    """The record of a network as asked for."""
    return NetworkRecord(
        id=digest(spec.name),
        name=spec.name,
        driver=spec.driver,
        options=options,
        ipam_type=spec.ipam.type,
        ipam=ipam_config,
        internal=spec.internal,
        labels=spec.labels,
        created=time(),
        guests=spec.guests,
        owner=spec.owner,
    )


def names_no_subnet(spec: NetworkSpec) -> bool:
    """True where the default address pools have to provide one; in the reference profile they never do."""
    config = spec.ipam.config
    ours = spec.ipam.type == "host-local" and spec.options.get("profile") != "reference"
    return ours and not config.get("subnet") and not config.get("ranges")


def allocated_once(spec: NetworkSpec) -> bool:
    """True where the network's record, and not the configuration alone, says which addresses it has."""
    return names_no_subnet(spec) or ipam.allocates(spec.ipam)


def plugged(record: NetworkRecord) -> bool:
    """A plugin was told of it: what that was told cannot be changed, only taken back."""
    return drivers.get(record.driver).role(record.options).interface == "moved" or bool(ipam.allocated(record.ipam))


def subnets(record: NetworkRecord) -> list[IPNetwork]:
    """The subnets a network's record names; what cannot be read counts for nothing."""
    from ipaddress import ip_network

    if ipam.allocated(record.ipam):
        pool = ipam.configure(record.name, IpamSpec(record.ipam_type, record.ipam), None)
        return [subnet.pool for subnet in ipam.subnets(pool) if subnet.pool.prefixlen]
    texts: list[Json] = [record.ipam.get("subnet")]
    for range_set in record.ipam.get("ranges") or ():
        texts += [item.get("subnet") for item in range_set if isinstance(item, dict)]
    found: list[IPNetwork] = []
    for text in texts:
        try:
            found.append(ip_network(text, strict=False))
        except (TypeError, ValueError):
            continue
    return found


def update(old: NetworkRecord, new: NetworkRecord, *, in_use: bool) -> NetworkRecord:
    """The record after its configuration was edited: the new one wins unless endpoints stand on the old one."""
    told = in_use and (plugged(old) or plugged(new))
    was, now = drivers.get(old.driver).fixed(old.options), drivers.get(new.driver).fixed(new.options)
    whole = (("options", old.options.to_json(), new.options.to_json()), ("ipam", _told(old), _told(new)))
    for what, before, after in (
        ("driver", old.driver, new.driver),
        *(whole if told else ()),
        *((key, was.get(key, now.get(key)), now.get(key)) for key in {**was, **now}),
        ("internal", old.internal, new.internal),
        *([("subnets", _shown(old), _shown(new)), ("ipam", old.ipam_type, new.ipam_type)] if old.guests else ()),
    ):
        if before != after and (in_use or old.guests):
            raise InvalidConfig(
                f"the network {old.name} was made with {what} {before!r}, the configuration now says {after!r}",
                hint="give the edited configuration another network name, or remove the network's containers first",
            )
    made = old.made if new.driver == old.driver else drivers.get(new.driver).shares_links
    labels = new.labels or old.labels
    return new._replace(created=old.created, labels=labels, made=made, guests=old.guests, owner=old.owner)


def _told(record: NetworkRecord) -> Json:
    """What of an ipam object its plugin knows."""
    return {key: value for key, value in record.ipam.items() if key not in ("routes", "dns")}


def _shown(record: NetworkRecord) -> str:
    return ", ".join(str(subnet) for subnet in subnets(record)) or "none"


def same(old: NetworkRecord, new: NetworkRecord) -> bool:
    return _configured(old) == _configured(new)


def _configured(record: NetworkRecord) -> NetworkRecord:
    """What of a record follows from the configuration."""
    return record._replace(created=0.0, labels={}, made=True, guests=(), owner="", pending=False)


def duplicate(name: str) -> Conflict:
    return Conflict(f"there is a network {name} already", hint="network names are unique on a host")
