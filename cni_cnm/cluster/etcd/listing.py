"""Reads all keys below the prefix, a page at a time, all as of one revision."""

from __future__ import annotations

from cni_cnm.cluster.etcd.contents import Contents
from cni_cnm.cluster.etcd.operations import range_below, range_from, read_range
from cni_cnm.errors import DirectoryUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cluster.etcd.client import Client
    from cni_cnm.cluster.etcd.keys import Keys
    from cni_cnm.cluster.etcd.operations import KeyValue

_PAGE = 1000
"""Keys in one answer: it has about 300 KB, so no request holds up the server for long."""
KEYS_MAX = 500_000
"""More are no cluster of this program's."""


def list_all(client: Client, keys: Keys) -> Contents:
    """DirectoryUnreachable if a server does not answer or is of another store, or if there is too much to be true."""
    request = range_below(keys.all, limit=_PAGE)
    store, revision = "", 0
    records: list[KeyValue] = []
    while True:
        answer = client.read("kv/range", request)
        page = client.understood(lambda answer=answer: read_range(answer.raw))  # type: ignore[misc]
        store, revision = store or answer.store, revision or answer.revision
        if answer.store != store:
            raise DirectoryUnreachable(
                f"{client.name} is two stores: one server answers as {store}, another one as {answer.store}",
                hint="name only servers of one etcd as endpoints in the settings",
            )
        records += page.found
        if not page.more or not page.found:
            return Contents(keys, store, revision, records)
        if len(records) >= KEYS_MAX:
            raise DirectoryUnreachable(f"{client.name} has more than {KEYS_MAX} keys that begin with {keys.all}")
        request = range_from(records[-1].key, keys.all, limit=_PAGE, revision=revision)
