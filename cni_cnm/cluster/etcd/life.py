"""A host's lease in etcd: a key that etcd deletes when the host has not asked for its lease for a while."""

from __future__ import annotations

from cni_cnm.cluster.etcd.hosts import announce
from cni_cnm.cluster.etcd.operations import put, unchanged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cluster.etcd.client import Client
    from cni_cnm.cluster.etcd.keys import Keys
    from cni_cnm.cluster.values import ClusterHost

LEASE_S = 30
"""Three times as long as between two calls of `show`."""


class Life:
    """The leases that this process has taken, one for each host: a program has one, a test may have many."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._leases: dict[str, int] = {}

    def forget(self, host: str) -> None:
        """The key was deleted by another program, or is over: the next call takes a new lease."""
        self._leases.pop(host, None)

    def show(self, host: ClusterHost) -> int:
        """Keep the lease; take a new one if it has run out or was revoked. Gives the store's revision."""
        lease = self._leases.get(host.name, 0)
        if lease:
            # etcd answers for a lease that is no more as for one that lives, without a TTL.
            answer = self._client.read("lease/keepalive", {"ID": lease})
            if self._client.understood(lambda: int(answer.raw.get("TTL", 0))) > 0:
                return answer.revision
            self.forget(host.name)
        for _ in self._client.attempts():
            # One that is not used because an answer is lost ends by itself.
            answer = self._client.read("lease/grant", {"TTL": LEASE_S})
            lease = self._client.understood(lambda answer=answer: int(answer.raw["ID"]))  # type: ignore[misc]
            revision = announce(self._client, self._keys, host)
            outcome = self._client.transaction(
                [unchanged(self._keys.host(host.name), revision)], [put(self._keys.alive(host.name), b"", lease)]
            )
            if outcome and outcome.succeeded:
                self._leases[host.name] = lease
                return outcome.revision
        raise AssertionError("attempts end with an error")
