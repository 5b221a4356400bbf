"""Our tables, rules and elements, and the accepts in other programs' firewalls."""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import (
    endpoint_elements,
    firewall_reconcile,
    firewall_state,
    foreign_accepts,
    network_elements,
    ownerless_elements,
    restore_elements,
)
from cni_cnm.cnm.reconcile import packet_filter as part
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import REPAIR, Finding
from cni_cnm.firewall import TABLES
from cni_cnm.kernel import merge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.packet_filter.restore_elements import Missing
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.doctor.picture import Picture

_NOT_SERVED = "Masquerade, isolation or published ports of these containers do not work."


def look(picture: Picture) -> Iterator[Finding]:
    host = picture.host
    state = firewall_state.load(host)
    if state.epoch == host.epoch and not firewall_state.is_intact(host, state):
        yield _repaired("tables or rules of the packet filter are missing, or were added to", part.TABLES)
    yield from _dormant(picture)
    missing = _missing(picture, picture.endpoints)
    if missing.sentence:  # of some that have ended since, perhaps
        lasting = [one for one in picture.endpoints if one.id[:12] not in missing.owners or picture.still(one)]
        missing = _missing(picture, lasting)
    if missing.sentence:
        yield _repaired(f"the packet filter: {missing.sentence}", part.MISSING)
    if (owners := ownerless_elements.find(host)) and (owners := owners & ownerless_elements.find(picture.now)):
        names = ", ".join(sorted(owners)[:5])
        yield _repaired(
            f"the packet filter has elements of {len(owners)} owners that do not exist: {names}",
            part.OWNERLESS,
            why="A published port of such an element leads to no container, and hides the host's own program.",
        )
    for network in picture.used_networks:
        if network.id in state.accepted and (sentence := foreign_accepts.missing(host, network.id, network.policy)):
            yield _repaired(sentence, part.ACCEPTS, why="The other firewall drops what these containers send and get.")


def _missing(picture: Picture, endpoints: Sequence[EndpointRecord]) -> Missing:
    """Of these endpoints and their networks. A network's elements are written with its first endpoint."""
    used = {one.network_id for one in endpoints}
    wanted = merge(
        *(network_elements.elements_of(picture.host, one) for one in picture.networks if one.id in used),
        *(part for one in endpoints for part in endpoint_elements.parts_of(one, picture.policy(one))),
    )
    return restore_elements.find_missing(picture.host.nft, wanted)


def fix(host: Host, finding: Finding) -> str:
    done = part.repair(host, Difference("", finding.what, finding.key))
    if finding.key in (part.TABLES, part.ACCEPTS):
        firewall_reconcile.put_back_missing(host)
    return done


def _repaired(what: str, key: str, *, why: str = _NOT_SERVED) -> Finding:
    return Finding(what, why, (REPAIR,), about="packet filter", safe=True, key=key)


def _dormant(picture: Picture) -> Iterator[Finding]:
    """A table with the flag `dormant` is listed, and does nothing."""
    awake = picture.host.nft.tables()
    for table, handle in zip(TABLES, picture.host.nft.handles(TABLES), strict=True):
        if handle is not None and table not in awake:
            yield Finding(
                f"the nftables table {table} is dormant",
                _NOT_SERVED,
                (command("nft", "add", "table", *table.split()),),
                about=table,
            )
