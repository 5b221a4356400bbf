"""All Nodes, each one decoded while the next one comes.

A host that knows nothing takes what the API server has in its memory (resourceVersion 0). Others want at least the
version that they know (NotOlderThan), so that a server that is behind does not take them back. That is in the server's
memory, too, if no limit is asked for: a thousand hosts that start at once cost etcd nothing. The latest list is read
from etcd, in pages.
"""

from __future__ import annotations

from urllib.parse import urlencode

from cni_cnm.cluster.kubernetes import json_items

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

    def __init__(self, client: Client, at_least: str) -> None:
        """`at_least`: the version that the list must have; "0" for any, "" for the latest."""
        self._client = client
        self._at_least = at_least
        self.version = ""

    def nodes(self) -> Iterator[Json]:
        """Each Node as decoded. Failure, or DirectoryUnreachable."""
        self._client.begin(_TIMES)
        query = {"limit": str(_PAGE), "resourceVersion": self._at_least}
        if not self._at_least:
            del query["resourceVersion"]
        elif self._at_least != "0":
            query = {"resourceVersion": self._at_least, "resourceVersionMatch": "NotOlderThan"}
        token = yield from self._page(query)
        while token:
            token = yield from self._page({"limit": str(_PAGE), "continue": token})

    def _page(self, query: dict[str, str]) -> Generator[Json, None, str]:
        """Its Nodes; returns the token of the next page, "" if this is the last one."""
        head: dict[str, Json] = {}
        try:
            yield from json_items.items(self._client.pieces(f"{NODES}?{urlencode(query)}", PAGE_MAX), head)
        except ValueError as error:
            self._client.close()
            raise self._client.strange(f"a list is no JSON: {error}") from error
        if head.get("kind") != "NodeList":
            raise self._client.strange("a list of Nodes has another kind")
        meta = head.get("metadata")
        version, token = (meta.get("resourceVersion"), meta.get("continue")) if isinstance(meta, dict) else (None, None)
        if not isinstance(version, str) or not version or not isinstance(token or "", str):
            raise self._client.strange("a list has no resourceVersion")
        self.version = version
        return token or ""
