"""Network: made once on this host by its driver, kept over reboots, has endpoints, is deleted when it has none."""

from __future__ import annotations

from cni_cnm import ipam, validate
from cni_cnm.cnm.endpoint import connect_endpoint, endpoint_record, locked_endpoint
from cni_cnm.cnm.network import delete_network, network_description
from cni_cnm.cnm.objects import arguments
from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.records import CREATED, endpoint_records, load_endpoint, load_network
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import OVERLAY
from cni_cnm.errors import Forbidden, InvalidConfig, NoSuchEndpoint, NoSuchNetwork
from cni_cnm.model import EndpointKey, EndpointSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import Bandwidth, IPAddress, IPInterface, IPNetwork, Json, NetworkSpec, PortMapping, Tuning


class Network:
    """A broadcast domain of this host with a pool of addresses, made by a driver.

    `Controller.new_network` makes one, as a frontend's first endpoint does, and `Controller.network` finds one. It is
    kept over reboots until it is deleted. Its properties are as the record was when this object was made.
    """

    def __init__(self, host: Host, record: NetworkRecord) -> None:
        self._host = host
        self.record = record
        """What is stored. Its fields are no part of the API."""

    def __repr__(self) -> str:
        return f"<Network {self.name} {self.driver} {' '.join(map(str, self.subnets)) or 'without subnets'}>"

    @property
    def id(self) -> str:
        """64 hex digits, which follow from the name."""
        return self.record.id

    @property
    def name(self) -> str:
        """Unique on this host."""
        return self.record.name

    @property
    def driver(self) -> str:
        """The driver's name."""
        return self.record.driver

    @property
    def internal(self) -> bool:
        """True if nothing outside the network is reached from it: no default route, no published ports."""
        return self.record.internal

    @property
    def labels(self) -> Mapping[str, str]:
        """The metadata that it was made with."""
        return self.record.labels

    @property
    def subnets(self) -> Sequence[IPNetwork]:
        """Its subnets, also those that were chosen for it. Empty if it has no addresses of its own.

        Of an overlay network those of all hosts together; `blocks` has this host's part.
        """
        return network_description.claimed_subnets(self.record)

    @property
    def blocks(self) -> Sequence[tuple[IPNetwork, ...]]:
        """The blocks of an overlay network that this host gives addresses from. Each has a subnet of each IP version.

        Empty for a network of this host alone.
        """
        from cni_cnm.cnm import overlay_record

        return overlay_record.blocks(self.record) if overlay_record.is_overlay(self.record) else ()

    @property
    def spec(self) -> NetworkSpec:
        """The request that makes the same network, as `Controller.attach` takes it."""
        return network_description.spec_of(self.record)

    def endpoints(self) -> Iterator[Endpoint]:
        """Its endpoints, those of all frontends, in the order of their ids."""
        for record in endpoint_records(self._host.store):
            if record.network_id == self.id:
                yield Endpoint(self._host, record)

    def walk_endpoints(self, visit: Callable[[Endpoint], bool]) -> None:
        """Call `visit` for each endpoint until it returns True, as libnetwork's WalkEndpoints does."""
        for endpoint in self.endpoints():
            if visit(endpoint):
                return

    def endpoint(self, name_or_id: str) -> Endpoint:
        """Find an endpoint.

        Args:
            name_or_id: its name, its id, or the beginning of an id that only one endpoint has.

        Raises:
            NoSuchEndpoint: none or more than one is called so.
        """
        validate.require(str, name_or_id, "an endpoint's name")
        found = [e for e in self.endpoints() if name_or_id in (e.name, e.id)]
        found = found or [e for e in self.endpoints() if name_or_id and e.id.startswith(name_or_id)]
        if len(found) != 1:
            kind = "no" if not found else "more than one"
            raise NoSuchEndpoint(f"{kind} endpoint of the network {self.name} is called {name_or_id[:80]!r}")
        return found[0]

    def create_endpoint(
        self,
        name: str,
        *,
        mac: str = "",
        addresses: Collection[str | IPAddress | IPInterface] = (),
        ports: Collection[str | Mapping[str, Json] | PortMapping] = (),
        aliases: Collection[str] = (),
        bandwidth: Mapping[str, int] | Bandwidth | None = None,
        tuning: Mapping[str, Json] | Tuning | None = None,
        owner: str = "library",
    ) -> Endpoint:
        """Make an endpoint and reserve its addresses. It joins a sandbox later.

        Args:
            name: unique in this network among the library's; printable, at most 255 characters, no '/'.
            mac: six octets in any usual spelling; by default one that follows from the endpoint's id.
            addresses: requested ones, such as '10.1.2.3'; by default a free one of each subnet. A prefix length
                counts for the IPAM `static` only.
            ports: published while the endpoint is joined. Text is '[ADDRESS:]HOST[-LAST]:CONTAINER[-LAST][/PROTOCOL]',
                such as '8080:80' or '127.0.0.1:53:53/udp'; a dict has the keys of CNI's `portMappings`.
            aliases: further names, which are answered beside `name` on a network that answers names (docs/names.md).
            bandwidth: limits while it is joined. A dict has the keys of CNI's `bandwidth`: `ingressRate` and
                `egressRate` in bits a second, `ingressBurst` and `egressBurst` in bits.
            tuning: sysctls and link attributes while it is joined. A dict has the keys of CNI's plugin tuning:
                `sysctl`, `mtu` (bytes), `mac`, `promisc`, `allmulti`, `txQLen` (packets).
            owner: recorded, and shown by `cni-cnm endpoint ls`.

        Raises:
            InvalidConfig: an argument is wrong, or the network's driver cannot give it.
            Forbidden: the network has an endpoint of that name.
            NoSuchNetwork: the network was deleted.
            AddressesExhausted: a subnet has no free address.
            Conflict: a requested address is taken.
        """
        arguments.require_printable(name, "an endpoint's name", barred="/")
        host, network = self._host, self.spec
        key = EndpointKey(self.name, name, "cnm")
        spec = EndpointSpec(
            name,
            "cnm",
            "",
            validate.require(validate.owner, owner, "owner"),
            arguments.mac(mac),
            arguments.addresses(addresses),
            aliases=arguments.aliases(aliases),
            ports=arguments.ports(ports),
            bandwidth=arguments.bandwidth(bandwidth),
            tuning=arguments.tuning(tuning),
        )
        endpoint_record.refuse_unsupported(network, self.record.role, spec)
        if self.driver != OVERLAY:
            return self._reserve(key, spec, self.record)
        from cni_cnm.cnm.network import grow_overlay

        return grow_overlay.with_room(host, self.name, lambda: self._reserve(key, spec, self._present()))

    def _present(self) -> NetworkRecord:
        record = load_network(self._host.store, self.name)
        if record is None:
            raise NoSuchNetwork(f"the network {self.name} was deleted")
        return record

    def _reserve(self, key: EndpointKey, spec: EndpointSpec, network: NetworkRecord) -> Endpoint:
        host, name = self._host, key.container_id
        pool = ipam.configure(self.name, network_description.spec_of(network).ipam, spec, host)
        pool.validate(spec)
        with locked_endpoint.lock(host, key.id), Rollback() as undo:
            if load_endpoint(host.store, key.id) is not None:
                raise Forbidden(f"the network {self.name} has an endpoint {name} already")
            record = endpoint_record.new_record(host.epoch, network, key, spec)
            endpoint = locked_endpoint.LockedEndpoint(host, record)
            with host.store.lock(f"network/{self.name}", shared=True):
                if load_network(host.store, self.name) is None:
                    raise NoSuchNetwork(f"the network {self.name} was deleted")
                undo.push_record_removal(endpoint.delete_record)
                endpoint.write(name=name, ipam=pool.record())
            connect_endpoint.reserve(endpoint, pool, spec, None, undo, network.names)
            endpoint.write(state=CREATED)
        return Endpoint(host, endpoint.record)

    def edit(self, spec: NetworkSpec) -> Sequence[str]:
        """Change the network to a specification, such as `attach` takes. This object has the new record then.

        Subnets may change while they still hold every endpoint's address, and exceptions of masquerade at any time.
        Without endpoints everything may change but the name.

        Args:
            spec: the network as it is to be, under its own name.

        Returns:
            Sequence[str]: what overlaps the new subnets although it is allowed, one sentence each.

        Raises:
            InvalidConfig: the specification is wrong, or endpoints do not allow the change.
            Conflict: a new subnet has another owner.
            Forbidden: Docker or a plugin was told of the network, or other hosts have it, too.
            NoSuchNetwork: it was deleted.
        """
        from cni_cnm.cnm.network import requested_edit

        if spec.name != self.name:
            raise InvalidConfig(f"the network {self.name} cannot get the name {spec.name}")
        self.record, warnings = requested_edit.edit(self._host, spec)
        return warnings

    def delete(self, *, force: bool = False) -> Sequence[str]:
        """Delete the network.

        Args:
            force: delete the record even if a Docker plugin that has a part in the network does not answer, or if
                Docker has lost the networks of its own that use this one.

        Returns:
            Sequence[str]: what plugins refused, one sentence each.

        Raises:
            ActiveEndpoints: it has endpoints, of any frontend, or Docker uses it; the message names them.
            NoSuchNetwork: it was deleted already.
        """
        if force and self.record.docker_networks:
            from cni_cnm.cnm.docker import docker_networks

            docker_networks.forget(self._host, self.name)
            if load_network(self._host.store, self.name) is None:
                return ()
        return delete_network.delete_network(self._host, self.name, force=force)
