"""Which container has an address that podman has given out: an index of podman's endpoints, by network and address.

RUN_DIR/given/NETWORK+ADDRESS.json has the endpoint's id. An entry is written before the endpoint is made, so each of
podman's endpoints has one. It counts only as long as the endpoint is on record with this address. An endpoint without
addresses has an entry by its id.
"""

from __future__ import annotations

from cni_cnm.cnm.records import load_endpoint
from cni_cnm.errors import DamagedRecord
from cni_cnm.state.record_reader import note
from cni_cnm.state.store import ENDPOINTS, GIVEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.model import EndpointKey, IPAddress
    from cni_cnm.state.store import Store


def holders(store: Store, network: str, addresses: Iterable[IPAddress]) -> Iterator[EndpointRecord]:
    """The endpoints that have one of the addresses. A damaged record is left out, and noted."""
    for address in addresses:
        entry = store.get(GIVEN, _name(network, str(address)))
        try:
            record = load_endpoint(store, entry["endpoint"]) if entry else None
        except DamagedRecord as error:
            note(error)
            continue
        if record is not None and str(address) in record.ipam.get("addresses", ()):
            yield record


def give(store: Store, key: EndpointKey, addresses: Sequence[IPAddress]) -> None:
    for held in map(str, addresses) if addresses else (key.id,):
        store.put(GIVEN, _name(key.network, held), {"endpoint": key.id})


def take_back(store: Store, key: EndpointKey, addresses: Sequence[IPAddress]) -> None:
    """No error if absent. An entry that another endpoint has by now stays."""
    for held in (*map(str, addresses), key.id):
        name = _name(key.network, held)
        entry = store.get(GIVEN, name)
        if entry and entry["endpoint"] == key.id:
            store.delete(GIVEN, name)


def is_used(store: Store, network: str) -> bool:
    """Whether an endpoint of podman's is on the network. Entries of endpoints that are gone are removed on the way."""
    for name in store.names(GIVEN):
        if not name.startswith(_name(network, "")):
            continue
        entry = store.get(GIVEN, name)
        if entry and store.has(ENDPOINTS, entry["endpoint"]):
            return True
        store.delete(GIVEN, name)
    return False


def _name(network: str, held: str) -> str:
    return f"{network}+{held}"
