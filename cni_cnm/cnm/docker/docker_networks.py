"""Another engine's networks (Docker's) on networks of ours, each under its own id there: the guest's id.

A guest has a network to itself (`owner` docker), which goes with it, or shares one that it names; that stays. Subnets
are requested before it is known for which network, so pools have records of their own.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

from cni_cnm import ipam
from cni_cnm.cnm.objects import network as networks
from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.objects.network import Network
from cni_cnm.cnm.records import EndpointRecord, NetworkRecord, PoolRecord
from cni_cnm.cnm.rollback import ErrorList, Rollback
from cni_cnm.drivers import drivers
from cni_cnm.errors import Conflict, Forbidden, InvalidConfig, NoSuchNetwork, NotFound, raise_gathered
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.ipam.leases import DOCKER
from cni_cnm.ipam.single import Single
from cni_cnm.model import IpamSpec
from cni_cnm.state.files import ENDPOINTS, NETWORKS, POOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.model import IPAddress, IPInterface, IPNetwork, Json, NetworkSpec, Subnet


# networks -------------------------------------------------------------------------------------------------------------


def find(controller: Controller, guest: str) -> Network:
    """The network that is the guest's. NoSuchNetwork if there is none."""
    for network in controller.networks():
        if guest in network.record.guests:
            return network
    raise NoSuchNetwork(
        f"there is no network of Docker's id {guest[:12]}",
        hint="was the state directory emptied? remove the network from Docker and create it again",
    )


def settle(controller: Controller, spec: NetworkSpec, guest: str, pools: Sequence[PoolRecord]) -> Network:
    """The guest's own network, from its specification and the pools it has requested for it."""
    with controller.store.lock(f"network/{spec.name}"):
        raw = controller.store.get(NETWORKS, spec.name)
        if raw is not None:
            found = Network(controller, NetworkRecord.from_json(raw))
            if guest in found.record.guests:
                return found
            raise networks.duplicate(spec.name)
        parsed = drivers.get(spec.driver).options(spec)
        with controller.store.lock("pools"):
            ids = {pool.id for pool in pools}
            for subnet in _subnets(spec.ipam.config):
                refuse_overlap(controller, subnet, ids)
            with Rollback() as undo:
                made = controller.realize(spec._replace(guests=(guest,), owner=DOCKER), parsed)
                undo.push(made.erase)
                for pool in pools:
                    _bind(controller, pool, spec.name, guest)
    return made


def join(controller: Controller, spec: NetworkSpec, guest: str, pools: Sequence[PoolRecord]) -> Network:
    """A network to share, made now if nobody has made it yet. Refused if the specification differs from what it is."""
    with controller.store.lock(f"network/{spec.name}"):
        raw = controller.store.get(NETWORKS, spec.name)
        if raw is None:
            with controller.store.lock("pools"):
                made = controller.realize(spec._replace(guests=(guest,)), drivers.get(spec.driver).options(spec))
        else:
            record = NetworkRecord.from_json(raw)
            _refuse_differences(record, spec)
            made = Network(controller, record._replace(guests=(*(g for g in record.guests if g != guest), guest)))
            drivers.get(record.driver).create_network(record.options, _addresses(controller, record), controller.host)
            controller.store.put(NETWORKS, spec.name, made.record.to_json())
        with controller.store.lock("pools"):
            for pool in pools:
                _bind(controller, pool, spec.name, guest)
    return made


def dismiss(controller: Controller, guest: str) -> None:
    """The guest's network is gone there: its endpoints go, and a network of its own. Others' stay, and unknown is done.

    Whoever asks does not hear of a failure, so whatever can be removed is.
    """
    try:
        network = find(controller, guest)
    except NoSuchNetwork:
        return
    gathered = ErrorList()
    for endpoint in [e for e in network.endpoints() if e.record.guest == guest]:
        gathered.attempt(lambda one=endpoint: one.delete(force=True))  # type: ignore[misc]
    with controller.store.lock(f"network/{network.name}"):
        raw = controller.store.get(NETWORKS, network.name)
        if raw is not None:
            record = NetworkRecord.from_json(raw)
            record = record._replace(guests=tuple(other for other in record.guests if other != guest))
            left = Network(controller, record)
            if record.owner == DOCKER and not record.guests and not any(True for _ in left.endpoints()):
                gathered.attempt(left.erase)
            else:
                controller.store.put(NETWORKS, record.name, record.to_json())
                if not record.guests:
                    gathered.attempt(lambda: _give_back(controller, record))
    for pool in [pool for pool in pools(controller) if pool.guest == guest]:
        controller.store.delete(POOLS, pool.id)
    raise_gathered(gathered.errors)


def _give_back(controller: Controller, record: NetworkRecord) -> None:
    """The last guest has gone, so nobody will give back what was requested and, since something died, never used."""
    if record.ipam_type == "host-local":
        for subnet in networks.subnets(record):
            _single(controller, record, subnet, None).release_all()


def _refuse_differences(record: NetworkRecord, spec: NetworkSpec) -> None:
    if drivers.get(record.driver).role(record.options).interface == "moved":
        raise InvalidConfig(
            f"the network {record.name} is of the Docker plugin {record.driver}, which Docker can use by itself",
            hint=f"docker network create -d {record.driver}",
        )
    if record.internal != spec.internal:
        raise InvalidConfig(
            f"the network {record.name} is {'' if record.internal else 'not '}internal",
            hint=f"{'add' if record.internal else 'leave out'} --internal",
        )
    if spec.options.get("labels"):
        raise InvalidConfig(
            f"the network {record.name} exists, so {', '.join(spec.options['labels'])} cannot be chosen any more",
            hint="leave out those options: they are the network's own",
        )
    if record.ipam_type != "host-local":
        raise InvalidConfig(
            f"the network {record.name} has its addresses from {record.ipam_type or 'nowhere'}, which cannot be shared",
            hint="share a network whose ipam is host-local",
        )
    wanted, there = set(_subnets(spec.ipam.config)), set(networks.subnets(record))
    if not wanted <= there:
        raise InvalidConfig(
            f"the network {record.name} has the subnets {', '.join(map(str, there))}, not {', '.join(map(str, wanted))}"
        )


def _addresses(controller: Controller, record: NetworkRecord) -> Sequence[Subnet]:
    spec = IpamSpec(record.ipam_type, record.ipam)
    return ipam.subnets(ipam.configure(record.name, spec, None, controller.settings))


def _subnets(config: Mapping[str, Json]) -> list[IPNetwork]:
    return [ip_network(one["subnet"]) for members in config.get("ranges") or () for one in members]


# pools ----------------------------------------------------------------------------------------------------------------


def pools(controller: Controller) -> Iterator[PoolRecord]:
    for name in controller.store.names(POOLS):
        raw = controller.store.get(POOLS, name)
        if raw:
            yield PoolRecord.from_json(raw)


def pool(controller: Controller, pool_id: str) -> PoolRecord:
    raw = controller.store.get(POOLS, pool_id) if _plain(pool_id) else None
    if raw is None:
        raise NotFound(f"there is no address pool {pool_id[:80]!r}")
    return PoolRecord.from_json(raw)


def request_pool(
    controller: Controller, subnet: IPNetwork | None, part: IPNetwork | None, family: int, name: str = ""
) -> PoolRecord:
    """A subnet for a network to come, another one each time where none is given; with `name` that network's.

    Forbidden if it overlaps what another network or pool has.
    """
    if subnet is not None and part is not None and not _inside(part, subnet):
        raise InvalidConfig(f"the range {part} is not in the subnet {subnet}")
    raw = controller.store.get(NETWORKS, name) if name else None
    with controller.store.lock("pools"):
        if raw is not None:
            record = NetworkRecord.from_json(raw)
            subnet = _of_network(record, subnet, family)
            _single(controller, record, subnet, part)  # refuses what it cannot give
        elif subnet is None:
            subnet = controller.choose_subnet(family)
        else:
            refuse_overlap(controller, subnet, set())
        found = PoolRecord(_pool_id(controller, subnet, name), str(subnet), str(part or ""), "", name, bool(name))
        if raw is None:
            _open(controller, found)  # refuses a subnet too small, and a range outside
        controller.store.put(POOLS, found.id, found.to_json())
    return found


def release_pool(controller: Controller, pool_id: str) -> None:
    """Unknown is done. What others hold of it stays theirs."""
    with controller.store.lock("pools"):
        try:
            found = pool(controller, pool_id)
        except NotFound:
            return
        controller.store.delete(POOLS, found.id)
        if not found.network:
            _remove_folder(_open(controller, found).leases.folder)


def gateway(controller: Controller, pool_id: str, address: IPAddress | None) -> IPInterface:
    """The subnet's gateway, the same answer as often as it is asked for. Conflict if a network has another one."""
    with controller.store.lock("pools"):
        found = pool(controller, pool_id)
        single = _open(controller, found)
        fixed = found.gateway or _network(controller, found) is not None
        if address is not None and address != single.gateway:
            if fixed:
                raise Conflict(
                    f"the gateway of {found.subnet} is {single.gateway}, not {address}",
                    hint=f"--gateway {single.gateway}, or leave it out",
                )
            if address.version != single.gateway.version or address not in ip_network(found.subnet):
                raise InvalidConfig(f"the gateway {address} is not in the subnet {found.subnet}")
        chosen = address or single.gateway
        if not fixed:
            controller.store.put(POOLS, found.id, found._replace(gateway=str(chosen)).to_json())
    return ip_interface(f"{chosen}/{ip_network(found.subnet).prefixlen}")


def request_address(controller: Controller, pool_id: str, address: IPAddress | None, *, named: bool) -> IPInterface:
    """An address for an endpoint. One that is asked for before the network exists is reserved, unless for a `named`
    endpoint."""
    found = pool(controller, pool_id)
    single = _open(controller, found)
    if address is not None and not found.guest and not named:
        single.reserve(address)
        chosen = address
    else:
        chosen = single.request(address)
    return ip_interface(f"{chosen}/{ip_network(found.subnet).prefixlen}")


def release_address(controller: Controller, pool_id: str, address: IPAddress) -> None:
    """Frees what Docker has requested and nothing else. An endpoint that still stands there is taken down first."""
    try:
        found = pool(controller, pool_id)
    except NotFound:
        return
    single = _open(controller, found)
    container_id, endpoint_id = single.holder(address)
    raw = controller.store.get(ENDPOINTS, endpoint_id) if container_id == DOCKER else None
    if raw is not None:
        Endpoint(controller, EndpointRecord.from_json(raw)).delete(force=True)
    single.release(address)


def refuse_overlap(controller: Controller, subnet: IPNetwork, but: set[str]) -> None:
    """Forbidden if a network or a pool (other than `but`) has some of the subnet."""
    for network in controller.networks():
        for other in networks.subnets(network.record):
            if other.overlaps(subnet):
                shared = f"--ipam-opt cni-cnm.network={network.name} -o cni-cnm.network={network.name}"
                raise Forbidden(
                    f"the subnet {subnet} overlaps with {other} of the network {network.name}",
                    hint=f"choose another one, or join that network: {shared}",
                )
    for other_pool in pools(controller):
        if other_pool.id not in but and ip_network(other_pool.subnet).overlaps(subnet):
            raise Forbidden(
                f"the subnet {subnet} overlaps with {other_pool.subnet}, which Docker has requested already",
                hint="docker network ls; a pool that no network has is removed with "
                f"{controller.settings.state_dir}/{POOLS}/{other_pool.id}.json",
            )


def _of_network(record: NetworkRecord, subnet: IPNetwork | None, family: int) -> IPNetwork:
    there = [one for one in networks.subnets(record) if one.version == family]
    if not there:
        raise InvalidConfig(f"the network {record.name} has no IPv{family} subnet")
    if subnet is None:
        # Docker asks again and again for another one as long as the answer is on a link of the host.
        raise InvalidConfig(
            f"the network {record.name} has the subnet {there[0]}, which Docker must be told",
            hint=f"add --subnet {there[0]}",
        )
    if subnet not in there:
        raise InvalidConfig(f"the network {record.name} has the subnet {there[0]}, not {subnet}")
    return subnet


def _open(controller: Controller, record: PoolRecord) -> Single:
    subnet, part = ip_network(record.subnet), ip_network(record.part) if record.part else None
    network = _network(controller, record)
    if network is not None:
        return _single(controller, network, subnet, part)
    config = {"ranges": [[{"subnet": record.subnet, "gateway": record.gateway}]]}
    folder = record.network or record.id
    found = ipam.configure(folder, IpamSpec("host-local", config), None, controller.settings)
    assert isinstance(found, HostLocal)
    return Single(folder, found, subnet, part)


def _single(controller: Controller, record: NetworkRecord, subnet: IPNetwork, part: IPNetwork | None) -> Single:
    found = ipam.configure(record.name, IpamSpec(record.ipam_type, record.ipam), None, controller.settings)
    if not isinstance(found, HostLocal):
        raise InvalidConfig(
            f"the network {record.name} has its addresses from {record.ipam_type or 'nowhere'}, which cannot be shared",
            hint="share a network whose ipam is host-local",
        )
    return Single(record.name, found, subnet, part)


def _network(controller: Controller, record: PoolRecord) -> NetworkRecord | None:
    raw = controller.store.get(NETWORKS, record.network) if record.network else None
    return NetworkRecord.from_json(raw) if raw else None


def _bind(controller: Controller, record: PoolRecord, name: str, guest: str) -> None:
    """From now on the pool's leases are the network's: what was reserved beforehand moves there."""
    bound = record._replace(network=name, guest=guest)
    if not record.network:
        old, new = _open(controller, record), _open(controller, bound)
        for text in list(old.leases.names()):
            new.reserve(ip_address(text))
        _remove_folder(old.leases.folder)
    controller.store.put(POOLS, record.id, bound.to_json())


def _remove_folder(folder: str) -> None:
    from shutil import rmtree

    rmtree(folder, ignore_errors=True)


def _pool_id(controller: Controller, subnet: IPNetwork, name: str) -> str:
    """Plain text, since it names a file and, until there is a network, a folder of leases."""
    base = f"docker-{name or subnet.network_address}-{subnet.prefixlen}".replace(":", "_")
    taken = set(controller.store.names(POOLS))
    return next(one for n in range(len(taken) + 1) if (one := f"{base}.{n}" if n else base) not in taken)


def _plain(text: str) -> bool:
    return bool(text) and len(text) < 200 and all(c.isalnum() or c in "_.-" for c in text) and text.isascii()


def _inside(part: IPNetwork, subnet: IPNetwork) -> bool:
    return part.version == subnet.version and part.subnet_of(subnet)  # type: ignore[arg-type]
