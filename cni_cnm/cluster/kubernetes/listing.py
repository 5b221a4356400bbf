"""All Nodes, a page at a time, each one decoded while the next one comes.

The first list takes what the API server has in its memory (resourceVersion 0), as every program does that follows
something: a thousand hosts that start at once cost etcd nothing. Later lists want at least what was seen before.
"""

from __future__ import annotations

from urllib.parse import urlencode

from cni_cnm.cluster.kubernetes import json_items
from cni_cnm.cluster.kubernetes.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from cni_cnm.cluster.kubernetes.client import Client
    from cni_cnm.model import Json

NODES = "/api/v1/nodes"
_PAGE = 500
PAGE_MAX = 256 << 20
"""Bytes of one page. A Node has 5 to 20 KiB, and an API server may give all Nodes as one page."""
_TIMES = 4.0
"""A list may take so many times as long as another call."""


class Pages:
    """Of one list. `version` is its resourceVersion, once all was read."""

    def __init__(self, client: Client, seen: str) -> None:
        """`seen`: the list must not be older; "" for any."""
        self._client = client
        self._seen = seen
        self.version = ""

    def nodes(self) -> Iterator[Json]:
        """Each Node as decoded. Failure, or DirectoryUnreachable."""
        self._client.begin(_TIMES)
        query = {"limit": str(_PAGE), "resourceVersion": self._seen or "0"}
        if self._seen:
            query["resourceVersionMatch"] = "NotOlderThan"
        token = yield from self._first(query)
        while token:
            token = yield from self._page({"limit": str(_PAGE), "continue": token})

    def _first(self, query: dict[str, str]) -> Generator[Json, None, str]:
        try:
            return (yield from self._page(query))
        except Failure as failure:
            # A store that was restored from a backup, or an API server that is behind the others: ask for the latest.
            if not self._seen or not (failure.ahead or failure.expired):
                raise
        return (yield from self._page({"limit": str(_PAGE)}))

    def _page(self, query: dict[str, str]) -> Generator[Json, None, str]:
        """Its Nodes; returns the token of the next page, "" if this is the last one."""
        head: dict[str, Json] = {}
        try:
            yield from json_items.items(self._client.pieces(f"{NODES}?{urlencode(query)}", PAGE_MAX), head)
        except ValueError as error:
            self._client.close()
            raise self._client.strange(f"a list is no JSON: {error}") from error
        meta = head.get("metadata")
        version, token = (meta.get("resourceVersion"), meta.get("continue")) if isinstance(meta, dict) else (None, None)
        if not isinstance(version, str) or not version or not isinstance(token or "", str):
            raise self._client.strange("a list has no resourceVersion")
        self.version = version
        return token or ""
