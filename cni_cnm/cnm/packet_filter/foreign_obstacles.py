"""What other programs' firewalls drop, or may drop, of our networks though all is accepted that can be. Only looks."""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.firewall import foreign_accept, foreign_drops
from cni_cnm.firewall.foreign_drops import Obstacle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni_cnm.firewall import Accepted
    from cni_cnm.kernel import ForeignFirewalls
    from cni_cnm.kernel.contract.filter_rules import BaseChain, Edit, FilterRule, FilterTable

_FIREWALLD = "firewalld"


def of_network(firewalls: ForeignFirewalls, accept: Accepted) -> list[Obstacle]:
    """As they are now."""
    found: dict[Obstacle, None] = {}

    def look(table: FilterTable) -> Sequence[Edit]:
        found.update(dict.fromkeys(of_table(table)))
        return ()

    left_out = list(misread([accept]).values())
    if accept.internal:
        return left_out
    unread = unreadable(firewalls.edit(look))
    in_zones = firewalls.firewalld() and firewalls.trusts(accept.bridge, accept.zone) is not None
    chains = base_chains(firewalls, in_zones=in_zones)
    return [*left_out, *unread, *found, *of_chains(firewalls, chains, [accept])[accept.key]]


def misread(accepts: Sequence[Accepted]) -> dict[str, Obstacle]:
    """By key of the accept: names for which iptables and firewalld would accept other links, or none.

    No new network gets one. One on record goes on without the accept.
    """
    return {
        accept.key: Obstacle(
            "",
            False,
            f"the bridge {accept.bridge!r} has a name that iptables and firewalld take for a pattern: nothing is "
            "accepted there for it, so they may drop its packets; use a bridge of another name",
        )
        for accept in accepts
        if not validate.accepts(validate.filter_name, accept.bridge)
    }


def unreadable(sentences: Iterable[str]) -> list[Obstacle]:
    return [Obstacle("", False, sentence) for sentence in sentences]


def of_table(table: FilterTable) -> list[Obstacle]:
    """Of iptables' table `filter`: what stands before our accepts and may drop, and where no accept can stand."""
    return [_unsure(table, chain, rule) for chain, rule in foreign_accept.unsure(table)]


def of_chains(
    firewalls: ForeignFirewalls, chains: Sequence[BaseChain], accepts: Sequence[Accepted]
) -> dict[str, list[Obstacle]]:
    """By key of the accept: what other base chains drop by default. Each chain is read once."""
    read = foreign_drops.reader(firewalls)
    return {
        accept.key: [] if accept.internal else foreign_drops.obstacles(accept.bridge, chains, read)
        for accept in accepts
    }


def base_chains(firewalls: ForeignFirewalls, *, in_zones: bool) -> list[BaseChain]:
    """Without those in which our networks are accepted: iptables' FORWARD, and firewalld's if they are `in_zones`."""
    return [
        chain
        for chain in firewalls.base_chains()
        if (chain.table, chain.name) != ("filter", "FORWARD") or chain.family not in ("ip", "ip6")
        if not (in_zones and chain.table == _FIREWALLD)
    ]


def _unsure(table: FilterTable, chain: str, rule: FilterRule) -> Obstacle:
    which = f"rule {rule.handle}" if table.legacy else f"the rule with handle {rule.handle}"
    place = f"{which} of {chain} in the table filter of {'ip6tables' if table.family == 'ip6' else 'iptables'}"
    if rule.target:
        return Obstacle(
            table.family,
            False,
            f"{place} leads to {rule.target}, which drops by default and is entered by other rules, too: nothing can "
            f"be accepted there",
        )
    return Obstacle(
        table.family, False, f"{place} is not understood: what cni-cnm accepts comes after it, and it may drop that"
    )
