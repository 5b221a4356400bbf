"""All Nodes, a page at a time, each Node reduced to what is used before the next one is decoded.

The first list takes what the API server has in its memory (resourceVersion 0), as every program does that follows
something: a thousand hosts that start at once cost etcd nothing. Later lists want at least what was seen before.
"""

from __future__ import annotations

from urllib.parse import urlencode

from cni_cnm.cluster.kubernetes.failure import Failure
from cni_cnm.errors import DirectoryUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cluster.kubernetes.client import Client
    from cni_cnm.model import Json

NODES = "/api/v1/nodes"
_PAGE = 500
LIST_MAX = 256 << 20
"""Bytes of one page. A Node has 5 to 20 KiB, and an API server may give all Nodes as one page."""
_TIMES = 4.0
"""A list may take so many times as long as another call."""


class Pages:
    """Of one list. `version` is its resourceVersion, once a page was read."""

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
        try:
            content = self._page(query)
        except Failure as failure:
            # A store that was restored from a backup, or an API server that is behind the others: ask for the latest.
            if not self._seen or not (failure.ahead or failure.expired):
                raise
            content = self._page({"limit": str(_PAGE)})
        while True:
            head, items = _split(self._client, content)
            del content
            token = head.get("continue")
            self.version = str(head.get("resourceVersion") or "")
            yield from items
            if not token or not isinstance(token, str):
                return
            content = self._page({"limit": str(_PAGE), "continue": token})

    def _page(self, query: dict[str, str]) -> bytes:
        return self._client.read(f"{NODES}?{urlencode(query)}", LIST_MAX)


def _split(client: Client, content: bytes) -> tuple[Json, Iterator[Json]]:
    """The metadata of a list, and its items."""
    raw = client.decoded(content)
    meta, items = raw.get("metadata"), raw.get("items")
    if not isinstance(meta, dict) or not isinstance(items, list | None):
        raise DirectoryUnreachable(f"{client.name} does not answer as Kubernetes does: its answer is no list")
    return meta, iter(items or ())
