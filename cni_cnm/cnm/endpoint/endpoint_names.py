"""The names of an endpoint: which it has, and the files by which they are answered (cni_cnm/names)."""

from __future__ import annotations

from cni_cnm.cnm.packet_filter.network_elements import allowed_pairs
from cni_cnm.cnm.records import load_network
from cni_cnm.errors import CheckFailed
from cni_cnm.model import Dns, digest
from cni_cnm.names import hosts_files, labels, server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.model import Address, EndpointSpec, NameService

_NERDCTL = "cni/nerdctl"


def of_spec(names: NameService, spec: EndpointSpec) -> tuple[str, ...]:
    """The names of an endpoint that is requested, without the domain."""
    return _found(names, spec)[0]


def warnings(names: NameService, network: str, spec: EndpointSpec) -> Sequence[str]:
    """What is requested as a name and cannot be answered, and why nothing is, a sentence each."""
    said = [f"{text[:80]!r} is not answered as a name: it is no host name" for text in _found(names, spec)[1]]
    if spec.owner == _NERDCTL:
        from cni_cnm.names import nerdctl

        root = nerdctl.data_root()
        if not nerdctl.names(spec.container_id, root):
            said.append(
                f"the name that nerdctl has given the container is not answered: it is not recorded below {root}"
            )
    if not server.program():
        said.append(f"names of the network {network} are not answered: {server.PROGRAM} is not installed")
    return said


def _found(names: NameService, spec: EndpointSpec) -> tuple[tuple[str, ...], list[str]]:
    aliases = spec.aliases
    if spec.owner == _NERDCTL:
        from cni_cnm.names import nerdctl

        host_name = nerdctl.host_name(spec.environ.get("CNI_ARGS", ""))
        given = nerdctl.names(spec.container_id, nerdctl.data_root())
        aliases = (*given, *((host_name,) if host_name else ()), *aliases)
    return labels.of_endpoint(spec.container_id, spec.pod, aliases, names.domain)


def resolver(names: NameService, addresses: Sequence[Address], configured: Dns) -> Dns:
    """What the container's resolver is told: the gateways, and the network's domain before other domains."""
    gateways = dict.fromkeys(str(address.gateway) for address in addresses if address.gateway is not None)
    search = dict.fromkeys((names.domain, *configured.search))
    return Dns(tuple(gateways) or configured.nameservers, names.domain, tuple(search), configured.options)


def publish(host: Host, record: EndpointRecord) -> None:
    """Answer the endpoint's names, on its network and on those that may reach it."""
    network = load_network(host.store, record.network)
    if network is None or network.names is None:
        return
    content = text_of(record, network.names)
    for one in (network, *reaching(host, network)):
        hosts_files.write(hosts_files.folder_of(host.settings.run_dir, one.name), record.id, content)


def withdraw(host: Host, record: EndpointRecord) -> None:
    """The reverse, on all networks. No error if nothing is answered."""
    run_dir = host.settings.run_dir
    for name in hosts_files.networks(run_dir):
        hosts_files.remove(hosts_files.folder_of(run_dir, name), record.id)


def check(host: Host, record: EndpointRecord) -> None:
    """CheckFailed if its network does not answer its names as recorded. The server is not asked."""
    network = load_network(host.store, record.network)
    if network is None or network.names is None:
        return
    if hosts_files.read(hosts_files.folder_of(host.settings.run_dir, network.name), record.id) != text_of(
        record, network.names
    ):
        raise CheckFailed(
            f"the names of {record.shown} are not those that its network answers", hint="`cni-cnm repair` puts it right"
        )


def text_of(record: EndpointRecord, names: NameService) -> str:
    addresses = (address.interface.ip for address in record.addresses)
    return hosts_files.text(addresses, labels.answered(record.names, record.pod, names.domain))


def reaching(host: Host, network: NetworkRecord) -> Iterator[NetworkRecord]:
    """The networks with names that this one is open to."""
    for pair in allowed_pairs(host):
        for name in pair if network.name in pair else ():
            other = load_network(host.store, name) if name != network.name else None
            if other is not None and other.names is not None:
                yield other


def of_record(record: EndpointRecord, names: NameService) -> tuple[str, ...]:
    """The names of an endpoint that was made before its network answered names. Docker's are not known here."""
    if record.docker_network:
        return ()
    own = record.container_id if record.id == digest(record.network, *record.holder) else record.name
    return labels.of_endpoint(own or record.name, record.pod, record.aliases, names.domain)[0]
