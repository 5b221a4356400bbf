"""detach: the endpoint is taken down from its record alone. Without a record, see delete_without_record.py."""

from __future__ import annotations

from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.endpoint.endpoint_record import pool_of
from cni_cnm.cnm.endpoint.take_down_endpoint import take_down
from cni_cnm.cnm.records import load_endpoint
from cni_cnm.cnm.requests import delete_without_record
from cni_cnm.errors import DamagedRecord, raise_gathered
from cni_cnm.firewall import TABLES
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import EndpointKey, EndpointSpec, IpamSpec


def detach(host: Host, key: EndpointKey, spec: EndpointSpec | None, ipam_spec: IpamSpec | None) -> Sequence[str]:
    """No error if there is nothing to remove. Returns what plugins refused and what is left, one sentence each."""
    with locked_endpoint.lock(host, key.id):
        damage: list[str] = []
        try:
            record = load_endpoint(host.store, key.id)
            if record is not None:
                pool_of(host, record)
        except DamagedRecord as error:
            record, damage = None, [error.msg]
        if record is not None:
            gathered = take_down(locked_endpoint.LockedEndpoint(host, record), spec.environ if spec else {})
            raise_gathered(gathered.errors)
            return gathered.notes
        notes = delete_without_record.delete(host, key, spec, ipam_spec)
        if damage:
            host.nft.remove_owned(TABLES, (key.id[:12],))
        host.store.delete(ENDPOINTS, key.id)
        return [*damage, *notes]
