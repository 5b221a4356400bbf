"""The network of an attach: made at the first endpoint, changed when its configuration was edited."""

from __future__ import annotations

from cni_cnm.cnm.network import delete_network, network_description
from cni_cnm.cnm.network.create_network import create_network
from cni_cnm.cnm.records import load_network
from cni_cnm.drivers import OVERLAY
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.cnm.network.join_overlay import Agreed
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.cnm.rollback import Rollback


class Ensured(NamedTuple):
    warnings: tuple[str, ...] = ()
    """What its subnets overlap, a sentence each."""
    made: bool = False


def ensure_network(
    host: Host,
    network: ConfiguredNetwork,
    undo: Rollback,
    *,
    store_timeout_s: float | None = None,
    agreed: Agreed | None = None,
) -> Ensured:
    """Make the network, or change it as its configuration says now. InvalidConfig if its endpoints do not allow that.

    A network that others have a part in is only removed here if it has to change: the next call makes it again. `undo`
    gets what takes the change back if the attach fails later. `store_timeout_s`, `agreed`: as for
    `create_network`.
    """
    with host.store.lock(f"network/{network.name}"):
        old = load_network(host.store, network.name)
        if old is not None and old.pending:  # the call that made it was killed
            delete_network.remove_network(host, old)
            old = None
        if old is None:
            undo.push(lambda: delete_network.delete_if_unused(host, network.name))
            created = create_network(host, network, store_timeout_s=store_timeout_s, agreed=agreed)
            return Ensured(created.warnings, made=True)
        if network_description.is_current(old, network):
            return Ensured()
        new = network_description.describe_again(network, old)
        endpoints = list(delete_network.endpoints_of(host, old))
        merged = network_description.update(old, new, in_use=bool(endpoints))
        if not endpoints and (_is_made_elsewhere(old, new) or _is_made_elsewhere(new, old)):
            delete_network.remove_network(host, old)
            return Ensured()
        from cni_cnm.cnm.network.edit_network import edit_network

        warnings = edit_network(host, old, merged, network.spec, endpoints)
        undo.push(lambda: _change_back(host, old, network))
        return Ensured(warnings)


def _is_made_elsewhere(record: NetworkRecord, other: NetworkRecord) -> bool:
    """Whether it is a network of a Docker plugin, or one of several hosts while `other` is not."""
    of_hosts = record.driver == OVERLAY != other.driver
    return of_hosts or network_description.is_of_plugin(record)


def _change_back(host: Host, old: NetworkRecord, network: ConfiguredNetwork) -> None:
    """Undo an edit, unless another request has changed the network again, or has an address of a new subnet."""
    from cni_cnm.cnm.network.edit_network import edit_network

    with host.store.lock(f"network/{old.name}"):
        current = load_network(host.store, old.name)
        if current is None or not network_description.is_current(current, network):
            return
        subnets = network_description.subnets_of(old)
        endpoints = list(delete_network.endpoints_of(host, current))
        addresses = [address.interface.ip for endpoint in endpoints for address in endpoint.addresses]
        if all(any(address in subnet for subnet in subnets) for address in addresses):
            edit_network(host, current, old, network.spec._replace(allow_overlap=True), endpoints)
