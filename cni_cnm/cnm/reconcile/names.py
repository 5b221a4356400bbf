"""The files of names: each endpoint of a network that answers names has one, there and on networks that are open to it.

The kernel reports nothing of files. So this is compared when everything is, and when a network begins to answer names.
"""

from __future__ import annotations

from cni_cnm.cnm.endpoint import endpoint_names, locked_endpoint
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.cnm.records import READY, endpoint_records, load_endpoint, load_network, network_records
from cni_cnm.names import hosts_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.reconcile.changed import Changed
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord

_LOCK_S = 10.0


def compare(host: Host, changed: Changed) -> Iterator[Difference]:
    """Folders are read before records: a file of an endpoint that is being made is not left over."""
    run_dir = host.settings.run_dir
    if not changed.everything:
        return
    networks = {one.name: one for one in network_records(host.store) if one.names is not None}
    folders = hosts_files.networks(run_dir)
    if not networks and not folders:
        return
    written = {name: hosts_files.read_all(hosts_files.folder_of(run_dir, name)) for name in {*networks, *folders}}
    expected = _expected(host, networks)
    for name in sorted(written):
        if name not in networks:
            yield Difference(f"the network {name}", "names are left over from when it answered them", f"folder {name}")
            continue
        there, wanted = written[name], expected.get(name, {})
        wrong = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key) and _is_ours(key))
        if wrong:
            what = f"names of {len(wrong)} endpoint{'s' * (len(wrong) > 1)} are not as recorded"
            yield Difference(f"the network {name}", what, " ".join(wrong))


def repair(host: Host, difference: Difference) -> str:
    run_dir = host.settings.run_dir
    if difference.key.startswith("folder "):
        name = difference.key.partition(" ")[2]
        network = load_network(host.store, name)
        if network is not None and network.names is not None:
            return ""
        hosts_files.remove_folder(hosts_files.folder_of(run_dir, name))
        return "removed"
    done = 0
    for key in difference.key.split():
        with locked_endpoint.lock(host, key, timeout_s=_LOCK_S):
            done += _put_right(host, key)
    return f"{done} put right" if done else ""


def _put_right(host: Host, key: str) -> bool:
    """Under the endpoint's lock. True if a file was written or removed."""
    run_dir = host.settings.run_dir
    record = load_endpoint(host.store, key)
    wanted: dict[str, str] = {}
    if record is not None and record.state == READY and record.epoch == host.epoch:
        network = load_network(host.store, record.network)
        if network is not None and network.names is not None:
            record = _named(host, record, network)
            wanted = _files(host, record, network) if record.names else {}
    changed = False
    for name in {*wanted, *hosts_files.networks(run_dir)}:
        folder = hosts_files.folder_of(run_dir, name)
        there = hosts_files.read(folder, key)
        if name in wanted and there != wanted[name]:
            hosts_files.write(folder, key, wanted[name])
            changed = True
        elif name not in wanted and there is not None:
            hosts_files.remove(folder, key)
            changed = True
    return changed


def _named(host: Host, record: EndpointRecord, network: NetworkRecord) -> EndpointRecord:
    """The record with its names: an endpoint that is older than its network's name service has none."""
    if record.names or network.names is None:
        return record
    if names := endpoint_names.of_record(record, network.names):
        endpoint = locked_endpoint.LockedEndpoint(host, record)
        endpoint.write(names=names)
        return endpoint.record
    return record


def _expected(host: Host, networks: dict[str, NetworkRecord]) -> dict[str, dict[str, str]]:
    """By network and endpoint."""
    found: dict[str, dict[str, str]] = {}
    reaching = {name: list(endpoint_names.reaching(host, one)) for name, one in networks.items()}
    for record in endpoint_records(host.store) if networks else ():
        network = networks.get(record.network)
        if network is None or network.names is None or record.state != READY or record.epoch != host.epoch:
            continue
        names = record.names or endpoint_names.of_record(record, network.names)
        content = endpoint_names.text_of(record._replace(names=names), network.names)
        for one in (network, *reaching[network.name]) if content else ():
            found.setdefault(one.name, {})[record.id] = content
    return found


def _files(host: Host, record: EndpointRecord, network: NetworkRecord) -> dict[str, str]:
    if network.names is None:
        return {}
    content = endpoint_names.text_of(record, network.names)
    return {one.name: content for one in (network, *endpoint_names.reaching(host, network))} if content else {}


def _is_ours(key: str) -> bool:
    """A file of an endpoint: those of other hosts have other names."""
    return "." not in key
