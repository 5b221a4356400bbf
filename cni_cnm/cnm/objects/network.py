"""Network: made once on this host by its driver, kept over reboots, has endpoints, is deleted when it has none."""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.endpoint import connect_endpoint, endpoint_record, locked_endpoint
from cni_cnm.cnm.network import delete_network, network_description
from cni_cnm.cnm.objects import validate_spec
from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.records import CREATED, load_endpoint, load_network
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.errors import Forbidden, InvalidConfig, NoSuchEndpoint, NoSuchNetwork
from cni_cnm.model import EndpointKey, EndpointSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import Bandwidth, IPAddress, IPInterface, NetworkSpec, PortMapping, Tuning


class Network:
    """Made by `Controller.new_network` or by a frontend's first endpoint; `Controller.network` finds it."""

    def __init__(self, host: Host, record: NetworkRecord) -> None:
        self._host = host
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
        return network_description.spec_of(self.record)

    def endpoints(self) -> Iterator[Endpoint]:
        for record in delete_network.endpoints_of(self._host, self.record):
            yield Endpoint(self._host, record)

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
        host, network = self._host, self.spec
        key = EndpointKey(self.name, name, "cnm")
        spec = validate_spec.checked(
            EndpointSpec(name, "cnm", "", owner, mac, addresses, ports=ports, bandwidth=bandwidth, tuning=tuning)
        )
        endpoint_record.refuse_unsupported(network, self.record.role, spec)
        pool = ipam.configure(self.name, network.ipam, spec, host)
        pool.validate(spec)
        with locked_endpoint.lock(host, key.id), Rollback() as undo:
            if load_endpoint(host.store, key.id) is not None:
                raise Forbidden(f"the network {self.name} has an endpoint {name} already")
            record = endpoint_record.new_record(host.epoch, self.record, key, spec)
            endpoint = locked_endpoint.LockedEndpoint(host, record)
            with host.store.lock(f"network/{self.name}", shared=True):
                if load_network(host.store, self.name) is None:
                    raise NoSuchNetwork(f"the network {self.name} was deleted")
                undo.push_record_removal(endpoint.delete_record)
                endpoint.write(name=name, ipam=pool.record())
            connect_endpoint.reserve(endpoint, pool, spec, None, undo)
            endpoint.write(state=CREATED)
        return Endpoint(host, endpoint.record)

    def delete(self, *, force: bool = False) -> Sequence[str]:
        """Delete the network; ActiveEndpoints while it has endpoints of any owner.

        With `force` the record goes even if a plugin does not answer. Returns what plugins refused.
        """
        return delete_network.delete_network(self._host, self.name, force=force)
