"""The network of an attach: made at the first endpoint, changed when its configuration was edited."""

from __future__ import annotations

from cni_cnm.cnm.network import delete_network, network_description, shared_parent
from cni_cnm.cnm.network.create_network import create_network
from cni_cnm.cnm.packet_filter import network_elements
from cni_cnm.cnm.records import load_network
from cni_cnm.state.store import NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.rollback import Rollback
    from cni_cnm.drivers import Options
    from cni_cnm.model import NetworkSpec


def ensure_network(host: Host, spec: NetworkSpec, options: Options, undo: Rollback) -> None:
    """Make the network, or change it as its configuration says now. InvalidConfig if its endpoints do not allow that.

    A network of a Docker plugin is only removed here if it has to change: the next call makes it again.
    """
    with host.store.lock(f"network/{spec.name}"):
        old = load_network(host.store, spec.name)
        if old is None:
            undo.push(lambda: delete_network.delete_if_unused(host, spec.name))
            create_network(host, spec, options)
            return
        if network_description.is_current(old, spec, options):
            return
        new = network_description.describe_again(spec, options, old)
        in_use = any(True for _ in delete_network.endpoints_of(host, old))
        merged = network_description.update(old, new, in_use=in_use)
        if not in_use:
            if network_description.is_of_plugin(old) or network_description.is_of_plugin(new):
                delete_network.remove_network(host, old)
                return
            network_elements.remove_isolation(host, old)
            shared_parent.replace(host, old, merged)
        host.store.put(NETWORKS, spec.name, merged.to_json())
