"""What a network that answers names has beside its data path: a folder for the names, and elements for its gateways.

The service starts the server (service/name_servers.py). It ends with the network, also where no service runs.
"""

from __future__ import annotations

from cni_cnm.cnm.network import network_description
from cni_cnm.cnm.packet_filter import enforce, firewall_state, name_elements
from cni_cnm.cnm.records import network_records
from cni_cnm.errors import Conflict, InvalidConfig, NoSuchDriver
from cni_cnm.model import ip_address
from cni_cnm.names import hosts_files, server
from cni_cnm.names.labels import domain_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPInterface, Subnet


def refuse(host: Host, record: NetworkRecord, subnets: Sequence[Subnet]) -> None:
    """Refuse a network whose server could not answer at its gateways.

    Raises:
        InvalidConfig: other questions would go to a gateway of its own, which is to ask itself, or of another network
            that answers names: that one answers its own containers alone.
        Conflict: another network that answers names has the same gateway. One address has one server.
    """
    gateways = {subnet.gateway.ip for subnet in subnets if subnet.gateway is not None}
    servers = {ip_address(address) for address in record.names.servers} if record.names is not None else set()
    for address in servers:
        if address in gateways:
            raise InvalidConfig(
                f"the name server {address} is a gateway of the network {record.name}, where its own server answers",
                hint="give one that other questions go to, or none",
            )
    for other in network_records(host.store):
        if other.names is None or other.id == record.id:
            continue
        for gateway in _gateways(host, other):
            if gateway.ip in servers:
                raise InvalidConfig(
                    f"the name server {gateway.ip} is a gateway of the network {other.name}, and answers only there",
                    hint="leave it out; networks that are open to each other answer the names of both",
                )
            if gateway.ip in gateways:
                raise Conflict(
                    f"the network {other.name} answers names at {gateway.ip} already, so {record.name} cannot",
                    hint="give one of the two another gateway, or leave out its dnsEnabled",
                )


def begin(host: Host, record: NetworkRecord) -> None:
    """Make the folder, and put the elements in."""
    hosts_files.make_folder(hosts_files.folder_of(host.settings.run_dir, record.name))
    enforce.ensure(host)
    with firewall_state.lock(host):
        transaction = name_elements.of_network(host, record)
        host.nft.commit(transaction, declare=True)
    firewall_state.remember(host, transaction.declare)


def end(host: Host, record: NetworkRecord) -> None:
    """End the server, and remove the folder. No error if there is none."""
    run_dir = host.settings.run_dir
    for pid in server.find(run_dir, record.name):
        server.end(pid)
    hosts_files.remove_folder(hosts_files.folder_of(run_dir, record.name))


def without_gateways(host: Host, records: Sequence[NetworkRecord]) -> frozenset[str]:
    """The names of those networks of which a gateway is not an address of the host."""
    if not records:
        return frozenset()
    there = {address for _, address in host.stack.local_addresses((4, 6))}
    return frozenset(record.name for record in records if not {one.ip for one in _gateways(host, record)} <= there)


def _gateways(host: Host, record: NetworkRecord) -> Sequence[IPInterface]:
    """None if an executable of CNI_PATH alone knows them."""
    try:
        return name_elements.gateways_of(host, record)
    except NoSuchDriver:
        return ()


def obstacles(host: Host, record: NetworkRecord) -> list[str]:
    """Why names of the network are not answered now, one sentence; empty if its server runs. Cheap: STATUS asks."""
    told = served(record)
    if told is None:
        return []
    if not server.program():
        return [f"names of the network {record.name} are not answered: {server.PROGRAM} is not installed"]
    pid, words = server.running(host.settings.run_dir, record.name)
    if not pid:
        said = server.last_words(host.settings.run_dir, record.name)
        reason = f"has ended: {said}" if said else "does not run"
        return [f"names of the network {record.name} are not answered: its name server {reason}"]
    if server.is_stopped(pid):
        return [f"names of the network {record.name} are not answered: its name server {pid} is stopped by a signal"]
    if words != server.arguments(told, host.settings.run_dir):
        return [f"the name server of the network {record.name} has other settings than the network"]
    return []


def served(record: NetworkRecord) -> server.Served | None:
    """What the server of a network is told. None if it answers no names."""
    if record.names is None:
        return None
    return server.Served(
        record.name,
        record.names.domain,
        record.policy.bridge,
        tuple(network_description.claimed_subnets(record)),
        record.names.servers,
        record.internal,
        record.names.domain == domain_of(record.name),
    )
