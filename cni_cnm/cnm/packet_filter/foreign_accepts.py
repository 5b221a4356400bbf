"""What other programs' firewalls are told to accept for our networks: put in, compared, taken out.

iptables' FORWARD chains and firewalld's zones. An accept is keyed by the network's id, or by the endpoint's where an
endpoint is alone on its link.
"""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import firewall_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.packet_filter.firewall_state import State
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.firewall import Policy
    from cni_cnm.firewall.foreign_accept import Accepted


def key_of(record: EndpointRecord, policy: Policy) -> str:
    return record.id if policy.alone else record.network_id


def accept_of(key: str, policy: Policy) -> Accepted:
    """An open network takes connections from outside; of an internal one only what stays within is accepted."""
    from cni_cnm.firewall.foreign_accept import Accepted

    inbound = policy.ingress == "open"
    return Accepted(key, policy.bridge, policy.admin_chain, inbound, policy.internal, policy.zone)


def are_current(host: Host, state: State, key: str = "", policy: Policy | None = None) -> bool:
    """True if other firewalls are as recorded and, with `policy`, have the accept of `key`."""
    if host.foreign_firewalls is None:
        return True
    stamp = host.foreign_firewalls.stamp(state.watched)
    if not stamp and not state.foreign_stamp:
        return True
    expected = list(accept_of(key, policy)) if policy and policy.bridge else None
    return bool(stamp == state.foreign_stamp) and (expected is None or state.accepted.get(key) == expected)


def put_all(host: Host, accepts: Sequence[Accepted]) -> tuple[str, ...]:
    """Put accepts wherever other firewalls drop. Returns the chains to watch from now on."""
    firewalls = host.foreign_firewalls
    if firewalls is None or not firewalls.stamp(()):
        return ()
    from cni_cnm.firewall import foreign_accept

    watched: dict[str, None] = {}

    def accept(family: str, saved: str) -> str:
        script = foreign_accept.accept_all(saved, accepts)
        if family:
            names = [*foreign_accept.entered(saved), *(one.admin_chain for one in accepts if one.admin_chain)]
            watched.update(dict.fromkeys(f"{family} {name}" for name in names))
        return script

    firewalls.rewrite(accept)
    if firewalls.firewalld():
        for one in accepts:
            if not firewalls.trusts(one.bridge, one.zone):
                firewalls.trust(one.bridge, one.zone)
    return tuple(watched)


def missing(host: Host, key: str, policy: Policy) -> str:
    """A sentence about an accept that is missing; "" if none is. Writes nothing."""
    firewalls = host.foreign_firewalls
    if firewalls is None or not policy.bridge or are_current(host, firewall_state.load(host), key, policy):
        return ""
    from cni_cnm.firewall import foreign_accept

    expected = accept_of(key, policy)
    dropping: list[str] = []

    def look(family: str, saved: str) -> str:
        if foreign_accept.accept(saved, *expected[:2], **expected.options()):
            dropping.append(family)
        return ""

    firewalls.rewrite(look)
    if dropping:
        return f"iptables drops what {policy.bridge} forwards: the accept of it is missing from FORWARD"
    if firewalls.firewalld() and firewalls.trusts(policy.bridge, policy.zone) is False:
        return f"{policy.bridge} is not in the zone {policy.zone or 'trusted'} of firewalld"
    return ""


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
    if firewalls.stamp(state.watched):
        from cni_cnm.firewall import foreign_accept

        firewalls.rewrite(lambda _, saved: foreign_accept.withdraw(saved, key))
        if forget and firewalls.firewalld():
            firewalls.forget(policy.bridge, policy.zone)
    if key in state.accepted:
        accepted = {known: value for known, value in state.accepted.items() if known != key}
        firewall_state.store(host, state._replace(accepted=accepted), state.chains, state.declared)
