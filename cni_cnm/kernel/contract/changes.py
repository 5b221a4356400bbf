"""What other programs have changed, as the kernel reports it: of nftables, and of links, addresses and routes."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple


class FilterChange(NamedTuple):
    """Of nftables. Changes by our own transactions are not in it."""

    rules: bool = False
    """A table, chain or rule was added or removed, in any table."""
    broken: bool = False
    """A chain, rule or set was removed from a table of ours."""
    owners: frozenset[str] = frozenset()
    """Owners (`Element.owner`) of the elements that were removed from tables of ours."""
    hooks: bool = False
    """A chain that a hook calls was added to a table."""
    added: bool = False
    """Elements were added to a table of ours."""

    def __or__(self, other: FilterChange) -> FilterChange:
        return FilterChange(
            self.rules or other.rules,
            self.broken or other.broken,
            self.owners | other.owners,
            self.hooks or other.hooks,
            self.added or other.added,
        )


NOTHING = FilterChange()
ANYTHING = FilterChange(rules=True, broken=True, hooks=True, added=True)


class LinkChange(NamedTuple):
    """Of links, addresses and routes, by any program. veth and ifb links are left out: pods are made of them."""

    links: frozenset[str] = frozenset()
    """Names of the links that were made, changed or deleted."""
    deleted: frozenset[str] = frozenset()
    """Those of them that were deleted."""
    addressed: frozenset[int] = frozenset()
    """Indexes of the links that got an address."""
    stripped: frozenset[int] = frozenset()
    """Indexes of the links that lost an address or a route."""
    default_route: bool = False
    """A default route came or went."""
    overflow: bool = False
    """The kernel has dropped reports: anything may have changed."""

    def __or__(self, other: LinkChange) -> LinkChange:
        return LinkChange(
            self.links | other.links,
            self.deleted | other.deleted,
            self.addressed | other.addressed,
            self.stripped | other.stripped,
            self.default_route or other.default_route,
            self.overflow or other.overflow,
        )


NO_LINKS = LinkChange()
