"""What the Nodes of a cluster say, as values: first whole, then change by change.

Of two Nodes that claim the same address, MAC or block the older one has it, and the younger one is left out with a
sentence. So a Node that joins cannot take over what others have. What must be equal on all hosts (the network's VNI,
port and `direct`), is what the oldest announced Node says.
"""

from __future__ import annotations

from cni_cnm.cluster.kubernetes import nodes
from cni_cnm.cluster.kubernetes.claims import Claims
from cni_cnm.cluster.values import Block, Change, OverlayNetwork, Snapshot
from cni_cnm.errors import CnmError
from cni_cnm.model import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeVar

    from cni_cnm.cluster.kubernetes.announcement import Terms
    from cni_cnm.cluster.kubernetes.nodes import Node
    from cni_cnm.cluster.values import ClusterHost
    from cni_cnm.model import IPNetwork, Json

    Value = TypeVar("Value")

SKIPPED_MAX = 20
"""Sentences; what is more is counted."""


class Contents:
    """All Nodes, as of `version`, which is Kubernetes' resourceVersion."""

    def __init__(self, terms: Terms, subnets: tuple[IPNetwork, ...], version: str, raw: Iterable[Json]) -> None:
        """`terms` and `subnets`: as this host's settings have them. Blocks outside of `subnets` are left out."""
        self.version = version
        self.skipped: list[str] = []
        self._own_terms = terms
        self._subnets = subnets
        self._nodes: dict[str, Node] = {}
        self._claims = Claims()
        self._hosts: dict[str, ClusterHost] = {}
        self._blocks: dict[str, Block] = {}
        """By name of the Node."""
        self._left_out: dict[str, str] = {}
        """Sentences, by name of the Node."""
        self._unnamed: list[str] = []
        for each in raw:
            self._put(each)
        self.terms = self._decided()
        for name in self._nodes:
            self._judge(name)
        self._tell()

    @property
    def revision(self) -> int:
        return revision(self.version)

    @property
    def nodes(self) -> int:
        """How many there are."""
        return len(self._nodes)

    @property
    def network(self) -> OverlayNetwork:
        """The one network. Kubernetes tells only the hosts' blocks; its subnets are those of this host's settings."""
        terms = self.terms
        return OverlayNetwork(
            terms.network, network_id(terms.network), self._subnets, (), terms.vni, terms.port, terms.direct
        )

    def snapshot(self) -> Snapshot:
        return Snapshot(
            "",
            self.revision,
            dict(self._hosts),
            {self.terms.network: self.network},
            {block.key: block for block in self._blocks.values()},
            frozenset(name for name, node in self._nodes.items() if node.alive),
        )

    def change(self, raw: Json, *, deleted: bool) -> Sequence[Change]:
        """Of one event. Empty if nothing changed that hosts agree on, as for most of a kubelet's reports."""
        name = raw.get("metadata", {}).get("name") if isinstance(raw.get("metadata"), dict) else None
        old = self._nodes.get(name) if isinstance(name, str) else None
        new = None if deleted else self._read(raw)
        if old == new:
            return ()
        concerned = {each.name for each in (old, new) if each is not None}
        found = [
            Change("alive", each, (new is not None and new.alive) or None)
            for each in sorted(concerned)
            if (old is not None and old.alive) != (new is not None and new.alive)
        ]
        for node in (old, new):
            if node is not None and node.said is not None:
                concerned.update(other for other, _ in self._claims.clashing(node))
        self._replace(old, new)
        before, network = self.terms, self.network
        self.terms = self._decided()
        if self.terms != before:
            concerned = set(self._nodes) | concerned
            if self.network != network:
                found.append(Change("network", self.network.name, self.network))
        for each in sorted(concerned):
            found += self._judge(each)
        self._tell()
        return found

    # ------------------------------------------------------------------------------
    def _read(self, raw: Json) -> Node | None:
        try:
            return nodes.read(raw)
        except CnmError as error:
            self._unnamed = [error.msg]
            return None

    def _put(self, raw: Json) -> None:
        node = self._read(raw)
        if node is not None:
            self._replace(self._nodes.get(node.name), node)

    def _replace(self, old: Node | None, new: Node | None) -> None:
        if old is not None:
            del self._nodes[old.name]
            if old.said is not None:
                self._claims.remove(old)
        if new is not None:
            self._nodes[new.name] = new
            if new.said is not None:
                self._claims.add(new)

    def _decided(self) -> Terms:
        """What the oldest announced Node says; this host's settings where no Node is announced."""
        said = [
            node
            for node in self._nodes.values()
            if node.said is not None and node.said.terms.network == self._own_terms.network
        ]
        oldest = min(said, key=lambda node: node.age, default=None)
        return oldest.said.terms if oldest is not None and oldest.said is not None else self._own_terms

    def _judge(self, name: str) -> Sequence[Change]:
        """Whether the Node is a host, and which block it has."""
        node = self._nodes.get(name)
        why = self._objection(node) if node is not None else ""
        if why:
            self._left_out[name] = why
        else:
            self._left_out.pop(name, None)
        host = block = None
        if node is not None and node.said is not None and not why:
            host = node.said.host
            if node.subnets:
                block = Block(self.terms.network, node.subnets, name, host.instance)
        found: list[Change] = []
        old_host, old_block = self._hosts.get(name), self._blocks.get(name)
        if old_block is not None and (block is None or block.key != old_block.key):
            found.append(Change("block", old_block.key, None))
        if host != old_host:
            found.append(Change("host", name, host))
        if block is not None and block != old_block:
            found.append(Change("block", block.key, block))
        _put(self._hosts, name, host)
        _put(self._blocks, name, block)
        return found

    def _objection(self, node: Node) -> str:
        """Why a Node is left out; "" if it is not, or is not announced."""
        if node.said is None:
            return node.wrong
        terms = node.said.terms
        if terms.network != self.terms.network:
            return f"Node {node.name} is of the network {terms.network}, this host of {self.terms.network}"
        if (terms.vni, terms.port) != (self.terms.vni, self.terms.port):
            return f"Node {node.name} announces the {terms}, the oldest Node the {self.terms}"
        for other, what in self._claims.clashing(node):
            if self._nodes[other].age < node.age:
                return f"Node {node.name} claims {what}, which the older Node {other} has"
        for subnet in node.subnets:
            whole = [each for each in self._subnets if each.version == subnet.version]
            if self._subnets and not any(_within(subnet, each) for each in whole):
                return f"the podCIDR {subnet} of Node {node.name} is not in {', '.join(map(str, self._subnets))}"
        return ""

    def _tell(self) -> None:
        sentences = [*self._unnamed, *(self._left_out[name] for name in sorted(self._left_out))]
        self.skipped = sentences[:SKIPPED_MAX]
        if len(sentences) > SKIPPED_MAX:
            self.skipped.append(f"{len(sentences) - SKIPPED_MAX} more are left out for such reasons")


def network_id(name: str) -> str:
    """The same on all hosts, as there is no place to keep one."""
    return digest("kubernetes network", name)[:32]


def revision(version: str) -> int:
    """A resourceVersion as a number. Kubernetes from 1.35 on says that they are; before, those of etcd are."""
    return int(version) if version.isascii() and version.isdigit() and len(version) < 20 else 0


def _put(values: dict[str, Value], name: str, new: Value | None) -> None:
    values.pop(name, None)
    if new is not None:
        values[name] = new


def _within(subnet: IPNetwork, whole: IPNetwork) -> bool:
    return subnet.version == whole.version and subnet.subnet_of(whole)  # type: ignore[arg-type]
