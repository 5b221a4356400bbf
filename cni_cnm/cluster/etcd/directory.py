"""etcd as a directory (cluster/directory.py says what each call does)."""

from __future__ import annotations

from random import randrange

from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.etcd import blocks, hosts, names, networks
from cni_cnm.cluster.etcd.client import Client
from cni_cnm.cluster.etcd.keys import Keys
from cni_cnm.cluster.etcd.life import Life
from cni_cnm.cluster.etcd.listing import list_all
from cni_cnm.cluster.etcd.watch import Told, Watch
from cni_cnm.cluster.pace import Pace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cluster.etcd.contents import Contents
    from cni_cnm.cluster.values import Block, Change, ClusterHost, OverlayNetwork, Snapshot
    from cni_cnm.cluster_settings import ClusterSettings
    from cni_cnm.model import IPNetwork


class EtcdDirectory:
    """One thread calls it, and another one may iterate over `watch`."""

    assigns = False
    pace = Pace()

    def __init__(self, settings: ClusterSettings, timeout_s: float) -> None:
        first = randrange(len(settings.endpoints))  # noqa: S311
        self._client, self._stream, self._asking = (Client(settings, timeout_s, first) for _ in range(3))
        self.name = self._client.name
        self._keys = Keys(settings.prefix)
        self._life = Life(self._client, self._keys)
        self._told = Told()
        self._contents: Contents | None = None

    def close(self) -> None:
        """A watch that another thread reads ends, and closes what it has open."""
        self._stream.cut()
        self._asking.cut()
        self._client.cut()
        self._client.close()

    # reading ---------------------------------------------------------------
    def snapshot(self) -> Snapshot:
        self._client.begin()
        self._contents = list_all(self._client, self._keys)
        self._told.tell(self._contents.revision)
        return self._contents.snapshot()

    def skipped(self) -> Sequence[str]:
        return tuple(self._contents.skipped) if self._contents else ()

    def watch(self, revision: int) -> Iterator[tuple[int, Sequence[Change]]]:
        contents = self._contents
        if contents is None or contents.revision != revision:
            raise WatchEnded(f"{self.name} is watched from the revision of the last list on, and {revision} is another")
        for reached, changes in Watch(self._stream, self._asking, self._keys, contents, self._told).batches():
            for change in changes:
                if change.kind == "alive" and change.new is None:
                    self._life.forget(str(change.key))
            yield reached, changes

    # this host -------------------------------------------------------------
    def announce(self, host: ClusterHost) -> None:
        self._client.begin()
        hosts.announce(self._client, self._keys, host)

    def show_life(self, host: ClusterHost) -> int:
        self._client.begin()
        revision = self._life.show(host)
        self._told.tell(revision)
        return revision

    def leave(self, name: str, *, instance: str = "", force: bool = False) -> Sequence[Block]:
        self._client.begin()
        freed = hosts.leave(self._client, self._keys, name, instance, force)
        names.remove_host(self._client, self._keys, name)
        return freed

    # networks and blocks ---------------------------------------------------
    def create_network(self, wanted: OverlayNetwork) -> OverlayNetwork:
        self._client.begin()
        return networks.create(self._client, self._keys, wanted)

    def delete_network(self, name: str) -> None:
        self._client.begin()
        networks.remove(self._client, self._keys, name)

    def claim(
        self, network: OverlayNetwork, host: ClusterHost, preferred: Sequence[tuple[IPNetwork, ...]] = ()
    ) -> Block:
        self._client.begin()
        return blocks.claim(self._client, self._keys, network, host, preferred)

    def claim_again(self, block: Block) -> bool:
        self._client.begin()
        return blocks.claim_again(self._client, self._keys, block)

    def release(self, block: Block) -> None:
        self._client.begin()
        blocks.release(self._client, self._keys, block)
