"""The namespaces of this host that are known, and how their links are joined."""

from __future__ import annotations

from cni_cnm.cnm.records import PENDING, endpoint_records
from cni_cnm.errors import CnmError
from cni_cnm.explain.space import Space
from cni_cnm.explain.verdict import HOST
from cni_cnm.find.endpoint_names import named
from cni_cnm.kernel.nftables.nft_ruleset import KernelRuleset
from cni_cnm.kernel.probe_stack import probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.find.endpoint_names import NamedEndpoint
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import IPAddress


class World:
    """A context manager that closes what it has opened."""

    def __init__(self, host: Host) -> None:
        self._settings = host
        self.records = [record for record in endpoint_records(host.store) if record.epoch == host.epoch]
        self._labels = {one.record.id: _label(one) for one in named(host, self.records)}
        self._of_links = {record.host_ifname: record for record in self.records if record.netns and record.host_ifname}
        self._spaces: dict[str, Space | None] = {}
        self.host = self._space(HOST, host.stack)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        for space in (self.host, *self._spaces.values()):
            if space is not None:
                space.stack.close()

    def forget(self) -> None:
        """What an earlier packet has left in connection tracking and neighbour tables here."""
        for space in (self.host, *self._spaces.values()):
            if space is not None:
                space.forget()

    def sandbox(self, record: EndpointRecord) -> Space:
        """The namespace of an endpoint. NamespaceGone if it does not exist any more."""
        space = self._spaces.get(record.netns)
        if space is None:
            with self._settings.namespaces.open(record.netns) as stack:
                space = self._space(self._labels.get(record.id, record.id[:12]), stack)
            self._spaces[record.netns] = space
        return space

    def unfinished(self) -> dict[str, str]:
        """Endpoints whose call is at work, was killed or has failed: name of the space, and endpoint in words."""
        return {self._labels[record.id]: record.label for record in self.records if record.state == PENDING}

    def sandboxes(self) -> Iterator[Space]:
        """Those that can be opened."""
        for record in self.records:
            if record.netns and record.netns not in self._spaces:
                try:
                    self.sandbox(record)
                except CnmError:
                    self._spaces[record.netns] = None
        return (space for space in list(self._spaces.values()) if space is not None)

    def other_end(self, space: Space, link: Link) -> tuple[Space, Link] | None:
        """The other end of a veth; None if it is in a namespace that is not known."""
        if link.kind != "veth":
            return None
        if link.ifindex not in space.peers_elsewhere:
            found = space.links.get(link.peer)
            return (space, found) if found is not None else None
        candidates = [self.host] if space is not self.host else [self._likely(link), *self.sandboxes()]
        for other in dict.fromkeys(one for one in candidates if one is not None):
            found = other.links.get(link.peer)
            joined = found is not None and found.kind == "veth" and found.peer == link.ifindex
            if found is not None and joined and found.ifindex in other.peers_elsewhere:
                return other, found
        return None

    def likely_first(self, ports: Sequence[Link], *, address: IPAddress | None = None, mac: str = "") -> Sequence[Link]:
        """The port whose endpoint has the address or MAC on record, then the others: a bridge may have a thousand."""

        def has_it(port: Link) -> bool:
            record = self._of_links.get(port.name)
            if record is None:
                return False
            return bool(mac and record.mac == mac) or any(one.interface.ip == address for one in record.addresses)

        return sorted(ports, key=has_it, reverse=True)

    def _likely(self, link: Link) -> Space | None:
        """By the record, without opening all namespaces."""
        record = self._of_links.get(link.name)
        try:
            return self.sandbox(record) if record is not None else None
        except CnmError:
            return None

    @staticmethod
    def _space(name: str, stack: Stack) -> Space:
        opened = probe(stack)
        return Space(name, opened, KernelRuleset(opened.fd))


def _label(endpoint: NamedEndpoint) -> str:
    """The pod or the name that Docker has, else the container."""
    return endpoint.pod or endpoint.docker.name or endpoint.container_id[:12] or endpoint.record.name
