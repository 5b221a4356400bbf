"""Elements of our tables whose owner is not recorded: saved rules that were loaded again after the records were gone.

A published port of such an element leads to no pod, and no connection reaches the host's own program on it.
"""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import firewall_state
from cni_cnm.cnm.records import load_endpoint
from cni_cnm.errors import DamagedRecord
from cni_cnm.firewall import TABLES
from cni_cnm.model import digest
from cni_cnm.state.store import ENDPOINTS, NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host

_OWNER_DIGITS = 12


def remove(host: Host) -> Sequence[str]:
    """Remove them. Returns their comments."""
    with firewall_state.lock(host):
        return remove_locked(host)


def remove_locked(host: Host) -> Sequence[str]:
    """The same; the caller holds the lock `firewall`, so no endpoint is being removed."""
    gone = find(host)
    return host.nft.remove_owned(TABLES, gone) if gone else ()


def find(host: Host) -> set[str]:
    """Owners of elements, by the first 12 digits of their ids, that are not recorded. Writes nothing.

    A record is written before the first element, and elements are listed before the records: an owner that is not
    recorded here is gone. Names of records are enough: also a record that is damaged keeps its elements. A network
    whose record was removed keeps those that close it to others, as long as an endpoint of it is recorded.
    """
    owners = {owner for owner in host.nft.owners(TABLES) if _is_id(owner)}
    recorded = {name[:_OWNER_DIGITS] for name in host.store.names(ENDPOINTS)} if owners else set()
    recorded |= {digest(name)[:_OWNER_DIGITS] for name in host.store.names(NETWORKS)} if owners - recorded else set()
    return _without_networks_of_endpoints(host, owners - recorded) if owners - recorded else set()


def _without_networks_of_endpoints(host: Host, owners: set[str]) -> set[str]:
    """Nothing if the network of an endpoint is not known: any of them may be that network."""
    for name in host.store.names(ENDPOINTS):
        try:
            record = load_endpoint(host.store, name)
        except DamagedRecord:
            return set()
        if record is not None:
            owners -= {record.network_id[:_OWNER_DIGITS]}
    return owners


def _is_id(owner: str) -> bool:
    """The digits of an id, and no word that another program has as its comment."""
    return len(owner) == _OWNER_DIGITS and all(digit in "0123456789abcdef" for digit in owner)
