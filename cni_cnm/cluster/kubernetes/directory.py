"""The Kubernetes API as a directory (cluster/directory.py says what each call does).

Kubernetes says which hosts there are (Nodes), whether they show life (the kubelet's lease), and which block each one
has (its podCIDRs). So nothing is claimed here, no block is freed, and no life is shown. There is one network, that of
the settings. Which store it is, is not told, and a restored backup is not noticed as such: an announcement that is
missing is written again.
"""

from __future__ import annotations

import os
from contextlib import suppress

from cni_cnm.cluster import host_file
from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.kubernetes import own_node
from cni_cnm.cluster.kubernetes.announcement import VNI, Terms
from cni_cnm.cluster.kubernetes.client import Client, NotBefore
from cni_cnm.cluster.kubernetes.contents import Contents, network_id
from cni_cnm.cluster.kubernetes.failure import Failure
from cni_cnm.cluster.kubernetes.listing import Pages
from cni_cnm.cluster.kubernetes.watch import Watch
from cni_cnm.cluster.pace import Pace
from cni_cnm.cluster.rules import direct
from cni_cnm.cluster.values import Block
from cni_cnm.errors import CnmError, Conflict, DirectoryUnreachable, Forbidden, NoSuchNetwork, NotReady

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cluster.values import Change, ClusterHost, OverlayNetwork, Snapshot
    from cni_cnm.cluster_settings import ClusterSettings
    from cni_cnm.model import IPNetwork


class KubernetesDirectory:
    """One thread calls it, and another one may iterate over `watch`."""

    assigns = True

    def __init__(self, settings: ClusterSettings, timeout_s: float, hosts: int = 0, revision: int = 0) -> None:
        """`hosts`: how many there were when this host knew it last; 0: it does not know.

        `revision`: of what its disk has; 0: none. An older list is not taken while a server has a newer one.
        """
        not_before = NotBefore()
        self._client, self._stream = (Client(settings, timeout_s, not_before) for _ in range(2))
        self.name = self._client.name
        self._terms = Terms(settings.network, VNI, settings.port, direct(settings.direct))
        self._subnets = settings.subnets
        self._own = ""
        with suppress(CnmError):  # who opens it for this host says so
            self._own = host_file.node_name(settings, os.environ)
        self._hosts = hosts
        self._at_least = str(revision)
        """The version that the first list must have."""
        self._contents: Contents | None = None
        self._away: CnmError | None = None
        """Why the API was not read when it was asked last."""

    def close(self) -> None:
        """A watch that another thread reads ends, and closes what it has open."""
        self._stream.cut()
        self._client.cut()
        self._client.close()

    @property
    def pace(self) -> Pace:
        return Pace.of_many(self._contents.nodes if self._contents else self._hosts)

    # reading ---------------------------------------------------------------
    def snapshot(self) -> Snapshot:
        try:
            self._contents = self._listed()
        except CnmError as error:
            self._away = error
            raise
        self._away = None
        return self._contents.snapshot()

    def _listed(self) -> Contents:
        try:
            try:
                return self._listed_from(self._contents.version if self._contents else self._at_least)
            except Failure as failure:
                # A restored backup, a server that is behind the others, or a page that came too late.
                if not failure.ahead and not failure.expired:
                    raise
            return self._listed_from("")
        except Failure as failure:
            raise self._client.explained(failure) from failure

    def _listed_from(self, version: str) -> Contents:
        pages = Pages(self._client, version)
        found = Contents(self._terms, self._subnets, "", pages.nodes(), self._own)
        found.version = pages.version
        return found

    def skipped(self) -> Sequence[str]:
        return tuple(self._contents.skipped) if self._contents else ()

    def watch(self, revision: int) -> Iterator[tuple[int, Sequence[Change]]]:
        contents = self._contents
        if contents is None or contents.revision != revision:
            raise WatchEnded(f"{self.name} is watched from the revision of the last list on, and {revision} is another")
        watch = Watch(self._stream, contents, lambda: self.pace.spread_s, proof=self._away is not None)
        try:
            for batch in watch.batches():
                self._away = None
                yield batch
        except WatchEnded as error:
            self._away = DirectoryUnreachable(str(error))
            raise

    # this host -------------------------------------------------------------
    def announce(self, host: ClusterHost) -> None:
        self._client.begin()
        own_node.announce(self._client, host, self._terms)

    def show_life(self, host: ClusterHost) -> int:  # noqa: ARG002 - the kubelet does it
        """Sends nothing: the kubelet shows the Node's life. Raises what reading the API raised last."""
        if self._away is not None:
            raise self._away
        return self._contents.revision if self._contents else 0

    def leave(self, name: str, *, instance: str = "", force: bool = False) -> Sequence[Block]:
        """Removes the announcement. The Node and its block stay: they are Kubernetes'."""
        self._client.begin()
        own_node.leave(self._client, name, instance, force=force)
        return ()

    # networks and blocks ---------------------------------------------------
    def create_network(self, wanted: OverlayNetwork) -> OverlayNetwork:
        there = self._network()
        if wanted.name != there.name:
            raise Conflict(
                f"{self.name} has one overlay network, {there.name}: {wanted.name} cannot be made",
                hint="its name is the key network in the part [cluster] of the settings",
            )
        for key in ("subnets", "port", "direct"):
            if getattr(wanted, key) != getattr(there, key):
                raise Conflict(
                    f"the overlay network {there.name} has {key} {_shown(getattr(there, key))} in {self.name}, "
                    f"{_shown(getattr(wanted, key))} was requested"
                )
        if wanted.vni not in (0, there.vni):
            raise Conflict(f"the overlay network {there.name} has the VNI {there.vni}, {wanted.vni} was requested")
        return there

    def delete_network(self, name: str) -> None:
        if name == self._terms.network:
            raise Forbidden(
                f"the overlay network {name} is the cluster's in {self.name}: it is there as long as the settings name "
                "it",
                hint="it ends when cni-cnm is removed from the cluster",
            )

    def claim(
        self,
        network: OverlayNetwork,
        host: ClusterHost,
        preferred: Sequence[tuple[IPNetwork, ...]] = (),  # noqa: ARG002 - Kubernetes chooses
    ) -> Block:
        """The Node's podCIDRs. NotReady if it has none, or if this host's settings differ from the others'."""
        if (network.name, network.id) != (self._terms.network, network_id(self._terms.network)):
            raise NoSuchNetwork(f"no overlay network {network.name} with the id {network.id} is in {self.name}")
        self._refuse_other_terms()
        self._client.begin()
        raw = own_node.announce(self._client, host, self._terms)
        return Block(network.name, own_node.block(self._client, host.name, raw), host.name, host.instance)

    def claim_again(self, block: Block) -> bool:
        self._client.begin()
        raw = own_node.read(self._client, block.host)
        try:
            return raw is not None and own_node.block(self._client, block.host, raw) == block.subnets
        except NotReady:
            return False

    def release(self, block: Block) -> None:
        """Nothing: the block is the Node's as long as the Node is there."""

    # ------------------------------------------------------------------------------
    def _network(self) -> OverlayNetwork:
        if self._contents is None:
            self.snapshot()
        assert self._contents is not None
        return self._contents.network

    def _refuse_other_terms(self) -> None:
        self._network()
        assert self._contents is not None
        if self._contents.terms != self._terms:
            raise NotReady(
                f"this host's settings are the {self._terms}, and most Nodes announce the {self._contents.terms}",
                hint="give all hosts the same port and direct in the part [cluster] of their settings",
            )


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
