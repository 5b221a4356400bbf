"""Removing a network: what its plugins have, its data path, its part of the packet filter, its record."""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm import records
from cni_cnm.cnm.network import shared_parent
from cni_cnm.cnm.network.network_description import spec_of
from cni_cnm.cnm.packet_filter import (
    allow_networks,
    firewall_state,
    foreign_accepts,
    foreign_bridges,
    network_elements,
)
from cni_cnm.cnm.records import load_network
from cni_cnm.cnm.rollback import ErrorList
from cni_cnm.drivers import OVERLAY
from cni_cnm.errors import ActiveEndpoints, NoSuchNetwork, raise_gathered
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.state.store import NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord


def delete_network(host: Host, name: str, *, force: bool = False) -> Sequence[str]:
    """Delete a network without endpoints; ActiveEndpoints if it has any, NoSuchNetwork if it is not known.

    With `force` the record goes even if a plugin does not answer. Returns what plugins refused, one sentence each.
    """
    with host.store.lock(f"network/{name}"):
        record = load_network(host.store, name)
        if record is None:
            raise NoSuchNetwork(f"the network {name} does not exist any more")
        if record.docker_networks:
            shown = ", ".join(one[:12] for one in record.docker_networks)
            raise ActiveEndpoints(
                f"the network {name} is used by Docker's network {shown}",
                hint=f"docker network rm {record.docker_networks[0][:12]}; if `docker network ls` does not show that "
                f"id: cni-cnm network rm --force {name}",
            )
        labels = [endpoint.shown for endpoint in endpoints_of(host, record)]
        if labels:
            shown = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
            raise ActiveEndpoints(
                f"the network {name} has {len(labels)} endpoint{'s' * (len(labels) > 1)}: {shown}",
                hint=f"remove their containers first; `cni-cnm endpoint ls --network {name}` lists them",
            )
        return remove_network(host, record, force=force)


def delete_if_unused(host: Host, name: str) -> None:
    """Undo the making of a network. No error if another request has attached an endpoint to it."""
    try:
        delete_network(host, name)
    except (ActiveEndpoints, NoSuchNetwork):
        pass


def endpoints_of(host: Host, network: NetworkRecord) -> Iterator[EndpointRecord]:
    """DamagedRecord for a record that may be one of them: the network is neither changed nor removed beside it."""
    return records.endpoints_of(host.store, network.id)


def remove_network(host: Host, record: NetworkRecord, *, force: bool = False) -> Sequence[str]:
    """Remove the data path and the record. The caller holds `network/NAME` and has seen that no endpoint is left.

    As in libnetwork a plugin's refusal does not stop the removal, and addresses are released first.
    """
    gathered = ErrorList()
    spec = spec_of(record)
    if ipam.allocates(spec.ipam):
        gathered.attempt(lambda: ipam.free(record.name, spec.ipam, host, force=force))
    of_plugin = record.role.interface == "moved"
    if of_plugin:  # it may take its time, and has nothing in our packet filter
        gathered.attempt(lambda: shared_parent.delete_data_path(host, record))
    with firewall_state.lock(host):
        shared = network_elements.shares_side(host, record)
        foreign_accepts.withdraw_network(host, record, record.policy, bridge_stays=shared)
        allow_networks.revoke_all(host, record)
        network_elements.remove_isolation(host, record)
        network_elements.change_overlay(host, record, None)
        network_elements.change_exceptions(host, record, None)
        network_elements.change_names(host, record, None)
        with shared_parent.lock(host, record):
            if record.owns_data_path and not of_plugin and not shared:
                gathered.attempt(lambda: shared_parent.delete_data_path(host, record))
        if not (force and gathered.unanswered):
            raise_gathered(gathered.errors)
        host.store.delete(NETWORKS, record.name)
        gathered.attempt(lambda: _remove_lease_folder(host, record))
        foreign_bridges.forget(host)
    if record.names is not None:
        from cni_cnm.cnm.network import name_service

        gathered.attempt(lambda: name_service.end(host, record))
    if record.driver == OVERLAY:
        from cni_cnm.cnm.network import leave_overlay

        gathered.notes += filter(None, (leave_overlay.leave(host, record),))
    return [*gathered.notes, *(str(error) for error in gathered.errors)]


def _remove_lease_folder(host: Host, record: NetworkRecord) -> None:
    """Where the addresses of a network are recorded. It stays if there are leases: another program wrote them."""
    pool = ipam.configure(record.name, spec_of(record).ipam, None, host) if record.ipam_type == "host-local" else None
    if isinstance(pool, HostLocal):
        pool.leases.remove_folder()
