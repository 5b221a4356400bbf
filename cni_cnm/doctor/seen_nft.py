"""Our nftables tables, read once: elements are found in that listing, and not asked for one by one."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from cni_cnm.firewall import TABLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.kernel import Element, Nft


class SeenNft:
    """Reading verbs of an Nft. Those that are not here ask the kernel."""

    def __init__(self, nft: Nft) -> None:
        self._nft = nft
        self._rules: dict[str, dict[str, int]] = {}

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._nft, verb)

    @cached_property
    def listed(self) -> dict[tuple[str, str, str], Element]:
        """Elements of our tables by table, set and key, which the kernel's listing spells with single spaces."""
        return {element[:3]: element for table in TABLES for element in self._nft.elements(table)}

    def find(self, elements: Sequence[Element]) -> Sequence[Element | None]:
        listed = self.listed
        return [listed.get(element[:3]) or listed.get(element.place) for element in elements]

    def owners(self, tables: Sequence[str]) -> set[str]:
        return {element.owner for element in self.listed.values() if element.table in tables and element.comment}

    def rules(self, table: str) -> dict[str, int]:
        if table not in self._rules:
            self._rules[table] = self._nft.rules(table)
        return self._rules[table]
