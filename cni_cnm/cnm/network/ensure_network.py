"""The network of an attach: made at the first endpoint, changed when its configuration was edited."""

from __future__ import annotations

from cni_cnm.cnm.network import delete_network, network_description
from cni_cnm.cnm.network.create_network import create_network
from cni_cnm.cnm.records import load_network
from cni_cnm.drivers import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.cnm.rollback import Rollback
    from cni_cnm.drivers import Options
    from cni_cnm.model import NetworkSpec


def ensure_network(host: Host, spec: NetworkSpec, options: Options, undo: Rollback) -> tuple[str, ...]:
    """Make the network, or change it as its configuration says now. InvalidConfig if its endpoints do not allow that.

    A network of a Docker plugin is only removed here if it has to change: the next call makes it again. `undo` gets
    what takes the change back if the attach fails later. Returns what its subnets overlap, a sentence each.
    """
    with host.store.lock(f"network/{spec.name}"):
        old = load_network(host.store, spec.name)
        if old is None:
            undo.push(lambda: delete_network.delete_if_unused(host, spec.name))
            return create_network(host, spec, options).warnings
        if network_description.is_current(old, spec, options):
            return ()
        new = network_description.describe_again(spec, options, old)
        endpoints = list(delete_network.endpoints_of(host, old))
        merged = network_description.update(old, new, in_use=bool(endpoints))
        if not endpoints and (network_description.is_of_plugin(old) or network_description.is_of_plugin(new)):
            delete_network.remove_network(host, old)
            return ()
        from cni_cnm.cnm.network.edit_network import edit_network

        warnings = edit_network(host, old, merged, spec, endpoints)
        undo.push(lambda: _change_back(host, old, spec))
        return warnings


def _change_back(host: Host, old: NetworkRecord, spec: NetworkSpec) -> None:
    """Undo an edit, unless another request has changed the network again, or has an address of a new subnet."""
    from cni_cnm.cnm.network.edit_network import edit_network

    with host.store.lock(f"network/{old.name}"):
        current = load_network(host.store, old.name)
        if current is None or not network_description.is_current(current, spec, drivers.get(spec.driver).options(spec)):
            return
        subnets = network_description.subnets_of(old)
        endpoints = list(delete_network.endpoints_of(host, current))
        addresses = [address.interface.ip for endpoint in endpoints for address in endpoint.addresses]
        if all(any(address in subnet for subnet in subnets) for address in addresses):
            edit_network(host, current, old, spec._replace(allow_overlap=True), endpoints)
