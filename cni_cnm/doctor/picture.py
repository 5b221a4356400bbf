"""Picture: the host as it was read once. What a check asks for first is read then, and kept for the others."""

from __future__ import annotations

from functools import cached_property
from typing import cast

from cni_cnm.cnm.host import Host
from cni_cnm.cnm.records import READY, load_endpoint, load_network
from cni_cnm.conflists import folder
from cni_cnm.doctor.seen_nft import SeenNft
from cni_cnm.doctor.seen_stack import SeenNamespaces
from cni_cnm.doctor.seen_store import SeenStore
from cni_cnm.drivers import drivers
from cni_cnm.drivers.host_routing import uplink
from cni_cnm.errors import DamagedRecord, TryAgain
from cni_cnm.fields import Fields
from cni_cnm.find.endpoint_names import NamedEndpoint, named
from cni_cnm.state.store import ENDPOINTS, NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.firewall import Policy
    from cni_cnm.kernel import Link, Namespaces, Nft
    from cni_cnm.settings import Settings
    from cni_cnm.state.store import Store

_AT_WORK_S = 1.0
"""A request that holds an endpoint longer than this is at work on it."""
INSIDE_MAX = 100
"""Containers that are looked into if none is named: each costs some milliseconds."""


class Picture:
    """What checks look at.

    Args:
        host: the real host. Nothing is written to it.
        only: ids of the endpoints that were asked for; None: all.
        reach: packets may be sent to other hosts.
    """

    def __init__(self, host: Host, *, only: Collection[str] | None = None, reach: bool = False) -> None:
        self.now = host
        """The host as it is now, for a second look at what is suspected: containers start and end meanwhile."""
        self.only = only
        self.reach = reach
        self.damaged: dict[tuple[str, str], str] = {}
        """Records that cannot be read, by kind and name: why."""
        self.host = Host(
            host.settings,
            cast("Store", SeenStore(host.store)),
            cast("Namespaces", SeenNamespaces(host.namespaces)),  # what it lacks it has by __getattr__
            lambda: cast("Nft", SeenNft(host.nft)),
            host.epoch,
            host.foreign_firewalls,
            None,
            host.cluster,
        )
        """The same host, with a kernel that is read once."""
        self.stack = self.host.stack
        self._policies: dict[tuple[int, bool], Policy] = {}
        """Endpoints of a network mostly have the same value as their options (cnm/records.py)."""

    def reopened(self) -> Picture:
        """Itself, in a child process: with sockets of its own, and what was read before."""
        self.now.close()
        self.host.close()
        self.stack = self.host.stack
        return self

    def __enter__(self) -> Picture:
        return self

    def __exit__(self, *_: object) -> None:
        self.host.close()

    @property
    def settings(self) -> Settings:
        return self.host.settings

    @cached_property
    def networks(self) -> Sequence[NetworkRecord]:
        """By name; without damaged ones."""
        found = []
        for name in self.host.store.names(NETWORKS):
            try:
                record = load_network(self.host.store, name)
            except DamagedRecord as error:
                self._damaged(NETWORKS, name, error.msg)
                continue
            found += [record] if record is not None else []
            if record is None and self._is_empty(NETWORKS, name):
                self._damaged(NETWORKS, name, "")
        return found

    @cached_property
    def every_endpoint(self) -> Sequence[EndpointRecord]:
        """Of every epoch and state, by network, container and interface; without damaged ones."""
        found = []
        for name in self.host.store.names(ENDPOINTS):
            try:
                record = load_endpoint(self.host.store, name)
            except DamagedRecord as error:
                self._damaged(ENDPOINTS, name, error.msg)
                continue
            found += [record] if record is not None else []
            if record is None and self._is_empty(ENDPOINTS, name):
                self._damaged(ENDPOINTS, name, "")
        return sorted(found, key=lambda record: record.label)

    @cached_property
    def endpoints(self) -> Sequence[EndpointRecord]:
        """Of this epoch, finished, and among those that were asked for."""
        return [
            one
            for one in self.every_endpoint
            if one.state == READY and one.epoch == self.host.epoch and (self.only is None or one.id in self.only)
        ]

    def _damaged(self, kind: str, name: str, why: str) -> None:
        self.damaged[kind, name] = why or f"the record {self.host.store.place(kind, name)} is empty"

    def _is_empty(self, kind: str, name: str) -> bool:
        """The file is there, and holds nothing. A record is never written so."""
        return self.now.store.has(kind, name) and not self.now.store.get(kind, name)

    def still(self, record: EndpointRecord) -> bool:
        """Whether it is recorded as it was read, and no call is at work on it. If not, what was found is old.

        A DEL removes the link first and the record last, and has the endpoint locked meanwhile.
        """
        try:
            with self.now.store.lock(f"endpoint/{record.id}", shared=True, timeout_s=_AT_WORK_S):
                return load_endpoint(self.now.store, record.id) == record
        except (DamagedRecord, TryAgain):
            return False

    def endpoint_ids(self) -> list[str]:
        """Names of all records of endpoints as they are now, also of those that cannot be read."""
        return list(self.now.store.names(ENDPOINTS))

    def named(self, record: EndpointRecord) -> NamedEndpoint:
        """With what its container is called."""
        if not record.docker_network:
            return NamedEndpoint(record)
        return self._of_docker.get(record.id) or NamedEndpoint(record)

    def shown(self, record: EndpointRecord) -> str:
        """In words: network, container and interface, and the pod's or the container's name."""
        return self.named(record).shown

    @cached_property
    def _of_docker(self) -> dict[str, NamedEndpoint]:
        """Docker is asked once, and only if something was found of one of its endpoints."""
        records = (record for record in self.every_endpoint if record.docker_network)
        return {one.record.id: one for one in named(self.host, records)}

    @cached_property
    def living(self) -> Sequence[EndpointRecord]:
        """Those of them whose link on the host is there."""
        return [one for one in self.endpoints if self.stack.link(one.host_ifname) is not None]

    def policy(self, record: EndpointRecord) -> Policy:
        """What the endpoint requests of the packet filter."""
        key = id(record.options), record.published_only
        found = self._policies.get(key)
        if found is None:
            found = self._policies[key] = drivers.get(record.driver).policy(record.options)
            if not record.published_only:
                found = self._policies[key] = found._replace(published_only=())
        return found.of_endpoint(record.host_ifname)

    @cached_property
    def used_networks(self) -> Sequence[NetworkRecord]:
        """Networks with an endpoint of this epoch."""
        used = {one.network_id for one in self.every_endpoint if one.epoch == self.host.epoch}
        return [network for network in self.networks if network.id in used]

    @cached_property
    def bridges(self) -> Sequence[tuple[NetworkRecord, Link]]:
        """Networks whose bridge is there, each with it."""
        found = [(network, self.stack.link(network.policy.bridge)) for network in self.networks]
        return [(network, link) for network, link in found if link is not None and link.kind == "bridge"]

    @cached_property
    def configured_drivers(self) -> set[str]:
        """Of networks that are configured, made or not."""
        own = (file.ours for file in folder.conflists(folder.FOLDER))
        named = (Fields(one.given).raw("driver") for one in own if one is not None)
        return {name for name in named if isinstance(name, str)}

    @cached_property
    def uplink(self) -> Link | None:
        """The link of the default route; None if there is none."""
        return uplink(self.stack)

    @cached_property
    def versions(self) -> Sequence[int]:
        """IP versions that endpoints of this host have."""
        return sorted({one.interface.version for record in self.endpoints for one in record.addresses})
