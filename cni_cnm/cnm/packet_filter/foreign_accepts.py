"""What other programs' firewalls are told to accept for our networks: put in, compared, taken out.

iptables' FORWARD chains and firewalld's zones. An accept is keyed by the network's id, or by the endpoint's where an
endpoint is alone on its link.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cnm.packet_filter import firewall_state
from cni_cnm.firewall import Accepted
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.packet_filter.firewall_state import State
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.firewall import Policy
    from cni_cnm.firewall.foreign_drops import Obstacle
    from cni_cnm.kernel.contract.filter_rules import Edit, FilterTable
    from cni_cnm.model import Address, Json

_TRIES = 3
"""Looks at other firewalls that change all the time."""


class Put(NamedTuple):
    """What putting accepts has found."""

    stamp: Json = ()
    """`ForeignFirewalls.stamp` of the chains in `watched`, when everything was as it should be."""
    watched: tuple[str, ...] = ()
    obstacles: Mapping[str, list[Obstacle]] = {}
    """By key of the accept: what is dropped, or may be dropped, all the same."""


def key_of(record: EndpointRecord, policy: Policy) -> str:
    return record.id if policy.alone else record.network_id


def accept_of(key: str, policy: Policy) -> Accepted:
    """An open or routed network takes connections from outside, as one of several hosts from other hosts.

    Of an internal one only what stays within.
    """
    versions = (4, 6) if policy.ingress == "open" or policy.trusted or policy.outside else policy.routed
    inbound = tuple("ip6" if version == 6 else "ip" for version in versions)
    return Accepted(key, policy.bridge, policy.admin_chain, inbound, policy.internal, policy.zone)


def to_json(accept: Accepted) -> Json:
    return [list(value) if isinstance(value, tuple) else value for value in accept]


def from_json(raw: Json) -> Accepted:
    accept = Accepted(*raw)
    return accept._replace(inbound=tuple(accept.inbound))


def has_others(host: Host) -> bool:
    """True if other programs have a packet filter on this host."""
    return host.foreign_firewalls is not None and bool(host.foreign_firewalls.stamp(()))


def are_current(host: Host, state: State, key: str = "", policy: Policy | None = None) -> bool:
    """True if other firewalls are as recorded and, with `policy`, have the accept of `key`."""
    if host.foreign_firewalls is None:
        return True
    stamp = host.foreign_firewalls.stamp(state.watched)
    if not stamp and not state.foreign_stamp:
        return True
    expected = to_json(accept_of(key, policy)) if policy and policy.bridge else None
    return bool(stamp == state.foreign_stamp) and (expected is None or state.accepted.get(key) == expected)


def put_all(host: Host, accepts: Sequence[Accepted]) -> Put:
    """Put these accepts wherever other firewalls drop, and remove all others of ours."""
    firewalls = host.foreign_firewalls
    if firewalls is None or not has_others(host):
        return Put()
    from cni_cnm.cnm.packet_filter import foreign_obstacles
    from cni_cnm.firewall import foreign_accept

    watched: dict[str, None] = {}
    obstacles: dict[Obstacle, None] = {}
    edited = 0

    left_out = foreign_obstacles.misread(accepts)
    every, accepts = accepts, [one for one in accepts if one.key not in left_out]

    def accept(table: FilterTable) -> Sequence[Edit]:
        nonlocal edited
        obstacles.update(dict.fromkeys(foreign_obstacles.of_table(table)))
        if not table.legacy:
            names = [*foreign_accept.entered(table), *(one.admin_chain for one in accepts if one.admin_chain)]
            watched.update(dict.fromkeys(f"{table.family} filter {name}" for name in names))
        edits = foreign_accept.edits(table, accepts)
        edited += len(edits)
        return edits

    chains = foreign_obstacles.base_chains(firewalls, in_zones=firewalls.firewalld())
    watched.update(dict.fromkeys(chain.place for chain in chains))
    for _ in range(_TRIES):
        # The stamp is of before the look: what another program changes after that is noticed by the next call.
        names, obstacles, edited = tuple(watched), {}, 0
        stamp = firewalls.stamp(names)
        unread = foreign_obstacles.unreadable(firewalls.edit(accept))
        if not edited and names == tuple(watched):
            break
    in_zones = firewalls.firewalld()
    for one in accepts if in_zones else ():
        if not firewalls.trusts(one.bridge, one.zone):
            firewalls.trust(one.bridge, one.zone)
    chains = foreign_obstacles.base_chains(firewalls, in_zones=in_zones)
    by_key = foreign_obstacles.of_chains(firewalls, chains, every)
    found = {one.key: [*unread, *obstacles, *by_key[one.key]] for one in every if not one.internal}
    for key, obstacle in left_out.items():
        found[key] = [obstacle, *found.get(key, ())]
    return Put(stamp, names, {key: some for key, some in found.items() if some})


def missing(host: Host, key: str, policy: Policy) -> str:
    """A sentence about an accept that is missing; "" if none is. Writes nothing."""
    firewalls = host.foreign_firewalls
    if firewalls is None or not policy.bridge or are_current(host, firewall_state.load(host), key, policy):
        return ""
    from cni_cnm.firewall import foreign_accept

    if not validate.accepts(validate.filter_name, policy.bridge):
        return ""
    expected = accept_of(key, policy)
    lacking: list[str] = []

    def look(table: FilterTable) -> Sequence[Edit]:
        if foreign_accept.lacks(table, expected):
            lacking.append("ip6tables" if table.family == "ip6" else "iptables")
        return ()

    firewalls.edit(look)
    if lacking:
        return f"the rules of {policy.bridge} are missing from the chain FORWARD of {lacking[0]}"
    if firewalls.firewalld() and firewalls.trusts(policy.bridge, policy.zone) is False:
        return f"{policy.bridge} is not in the zone {policy.zone or 'trusted'} of firewalld"
    return ""


def obstacles(host: Host, key: str, policy: Policy) -> list[Obstacle]:
    """What stands in the way of a network's packets, as it was when it was last looked for, if that is current."""
    firewalls = host.foreign_firewalls
    if firewalls is None or not policy.bridge:
        return []
    state = firewall_state.load(host)
    if are_current(host, state, key, policy):
        return recorded_obstacles(state, key)
    return look_for_obstacles(host, key, policy)


def look_for_obstacles(host: Host, key: str, policy: Policy) -> list[Obstacle]:
    """The same as it is now. Writes nothing."""
    if host.foreign_firewalls is None or not policy.bridge or not has_others(host):
        return []
    from cni_cnm.cnm.packet_filter import foreign_obstacles

    return foreign_obstacles.of_network(host.foreign_firewalls, accept_of(key, policy))


def recorded_obstacles(state: State, key: str) -> list[Obstacle]:
    known = state.obstacles.get(key)
    if not known:
        return []
    from cni_cnm.firewall.foreign_drops import Obstacle

    return [Obstacle(*one) for one in known]


def of_addresses(obstacles: Iterable[Obstacle], addresses: Sequence[Address]) -> list[Obstacle]:
    """Those that concern a family of the addresses."""
    families = {"ip6" if address.interface.version == 6 else "ip" for address in addresses}
    return [one for one in obstacles if not one.family or not families or one.family in families]


def withdraw_network(host: Host, network: NetworkRecord, policy: Policy, *, bridge_stays: bool) -> None:
    """Take out the accept of a network that is removed. The caller holds the lock `firewall`."""
    if policy.bridge:
        _withdraw(host, network.id, policy, forget=not bridge_stays)


def withdraw_endpoint(host: Host, record: EndpointRecord, policy: Policy) -> None:
    """Take out the accept of an endpoint that is alone on its link."""
    if policy.bridge and policy.alone:
        with firewall_state.lock(host):
            _withdraw(host, record.id, policy, forget=True)


def _withdraw(host: Host, key: str, policy: Policy, *, forget: bool) -> None:
    firewalls = host.foreign_firewalls
    if firewalls is None:
        return
    state = firewall_state.load(host)
    stamp = firewalls.stamp(state.watched)
    if stamp:
        from cni_cnm.firewall import foreign_accept

        firewalls.edit(lambda table: foreign_accept.withdraw(table, key))
        if forget and firewalls.firewalld():
            firewalls.forget(policy.bridge, policy.zone)
    if key in state.accepted:
        accepted = {known: value for known, value in state.accepted.items() if known != key}
        obstacles = {known: value for known, value in state.obstacles.items() if known != key}
        if stamp == state.foreign_stamp:  # nothing but what was removed here has changed
            stamp = firewalls.stamp(state.watched)
            state = state._replace(foreign_stamp=stamp)
        state = state._replace(accepted=accepted, obstacles=obstacles)
        firewall_state.store(host, state, state.chains, state.declared)
