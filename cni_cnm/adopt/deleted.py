"""Attachments that a runtime has deleted while a network was half taken over, or half released.

A DEL removes what its own side has made. After a kill both sides have something of an attachment: rules of the plugins
and a record of this program. What the DEL did not know of is removed here, when a run goes on.
"""

from __future__ import annotations

import os

from cni_cnm.adopt import one_attachment
from cni_cnm.cnm.endpoint import take_down_endpoint
from cni_cnm.cnm.endpoint.endpoint_record import pool_of
from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint, locked
from cni_cnm.cnm.packet_filter import endpoint_elements
from cni_cnm.cnm.records import load_endpoint
from cni_cnm.errors import NoSuchEndpoint, raise_gathered
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.reference import cache, discover, host_rules, leases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.adopt.adoption import Adoption
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.reference.cache import Cached
    from cni_cnm.reference.host_rules import HostRules


def is_deleted(host: Host, state: Adoption, record: EndpointRecord) -> bool:
    """Whether the plugins' DEL has deleted an attachment of an adoption or a release that has not ended."""
    known = not state.done and record.id in state.cached
    return known and not _is_cached(state, record.key.id) and host.stack.link(record.host_ifname) is None


def remove_rest(host: Host, state: Adoption) -> None:
    """Of each that was deleted: our record and elements, and the plugins' rules. Errors as of a DEL."""
    gone = [cache.parse(text) for key, text in state.cached.items() if not _is_cached(state, key)]
    if state.done or not gone:
        return
    for one in gone:
        record = load_endpoint(host.store, one.key.id)
        if record is not None and record.epoch == host.epoch and is_deleted(host, state, record):
            try:
                with locked(host, record) as endpoint:
                    if endpoint.record == record:
                        take_down(endpoint)
            except NoSuchEndpoint:
                continue
    seen = host_rules.read()
    for one in gone:
        if load_endpoint(host.store, one.key.id) is None:
            _remove_rules(host, one, seen)


def _is_cached(state: Adoption, key: str) -> bool:
    return os.path.exists(cache.path(cache.parse(state.cached[key]).key, state.cache))


def take_down(endpoint: LockedEndpoint) -> None:
    """Of one that the plugins have deleted. They have released its addresses: another container may have one now."""
    record, host = endpoint.record, endpoint.host
    pool = pool_of(host, record)
    if isinstance(pool, HostLocal):
        with pool.leases:
            hosts = (address.interface.ip for address in record.addresses)
            free = frozenset(ip for ip in hosts if not pool.leases.owner(str(ip)))
            endpoint_elements.withdraw(lambda: host.nft, record, endpoint.policy, free)
    raise_gathered(take_down_endpoint.take_down(endpoint, {}).errors)


def _remove_rules(host: Host, cached: Cached, seen: HostRules) -> None:
    """Those of the plugin firewall are an address's: another container may have it now."""
    found = discover.look(cached, host.namespaces, host.stack, seen)
    bridge = found.configuration.bridge
    if bridge is None:
        return
    held = leases.held(cached.key.network, bridge)
    if set(leases.owners(cached.key)) & set(held.values()):  # it is being made again
        return
    free = tuple(address for address in found.addresses if str(address.interface.ip) not in held)
    found = found._replace(addresses=free)
    one_attachment.remove_rules(found, seen)
