"""What the Nodes of a cluster say, as values: first whole, then change by change.

Of two Nodes that claim the same address, MAC or block the older one has it, and the younger one is left out with a
sentence. So a Node that joins cannot take over what others have. What this host's own Node has is never another's.
What must be equal on all hosts (the network's VNI, port and `direct`) is what most announced Nodes say: no single one
can change it. A Node with another port is not left out: it uses what most say, too, and its plain routes have no port.

This host's own Node counts as its settings are. While its announcement has other ones it is shown as a Node that is not
announced, so that the agent announces it anew.
"""

from __future__ import annotations

from cni_cnm.cluster.kubernetes import nodes
from cni_cnm.cluster.kubernetes.claims import Claims
from cni_cnm.cluster.values import Block, Change, OverlayNetwork, Snapshot
from cni_cnm.errors import CnmError
from cni_cnm.model import digest
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cni_cnm.cluster.kubernetes.announcement import Terms
    from cni_cnm.cluster.kubernetes.nodes import Node
    from cni_cnm.cluster.values import ClusterHost
    from cni_cnm.model import IPNetwork, Json

SKIPPED_MAX = 20
"""Sentences; what is more is counted."""


class Contents:
    """All Nodes, as of `version`, which is Kubernetes' resourceVersion."""

    def __init__(
        self, terms: Terms, subnets: tuple[IPNetwork, ...], version: str, raw: Iterable[Json], own: str = ""
    ) -> None:
        """`terms` and `subnets`: as this host's settings have them. Blocks outside of `subnets` are left out.

        `own`: the name of this host's Node; "" if it is not known.
        """
        self.version = version
        self.skipped: list[str] = []
        self._own = own
        self._own_terms = terms
        self._subnets = subnets
        self._nodes: dict[str, Node] = {}
        self._claims = Claims()
        self._votes: dict[Terms, int] = {}
        """How many announced Nodes of this network say so."""
        self._left_out: dict[str, str] = {}
        """Sentences, by name of the Node."""
        self._nameless = ""
        """A sentence on a Node without a usable name."""
        for each in raw:
            node = self._read(each)
            if node is not None:
                self._replace(self._nodes.get(node.name), node)
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
    def terms(self) -> Terms:
        """What most announced Nodes say, of equally many the oldest; this host's settings where none is announced."""
        most = max(self._votes.values(), default=0)
        found = [terms for terms, votes in self._votes.items() if votes == most]
        if len(found) < 2:
            return found[0] if found else self._own_terms
        tied = [node for node in self._nodes.values() if node.terms in found]
        return min(tied, key=lambda node: node.age).terms or self._own_terms

    @property
    def network(self) -> OverlayNetwork:
        """The one network. Kubernetes tells only the hosts' blocks; its subnets are those of this host's settings."""
        name, vni, port, direct = self.terms
        return OverlayNetwork(name, network_id(name), self._subnets, (), vni, port, direct)

    def snapshot(self) -> Snapshot:
        shown = {name: self._shown(name) for name in self._nodes}
        return Snapshot(
            "",
            self.revision,
            {name: one.host for name, one in shown.items() if one.host is not None},
            {self.network.name: self.network},
            {one.block.key: one.block for one in shown.values() if one.block is not None},
            frozenset(name for name, one in shown.items() if one.alive),
        )

    def change(self, raw: Json, *, deleted: bool) -> Sequence[Change]:
        """Of one event. Empty if nothing changed that hosts agree on, as for most of a kubelet's reports."""
        name = nodes.part(raw, "metadata").get("name")
        old = self._nodes.get(name) if isinstance(name, str) else None
        new = None if deleted else self._read(raw)
        if old == new:
            return ()
        concerned = {node.name for node in (old, new) if node is not None}
        concerned |= {other for node in (old, new) if node is not None for other, _ in self._claims.clashing(node)}
        before = {each: self._shown(each) for each in concerned}
        network = self.network
        self._replace(old, new)
        if self.network != network:
            before = {**{each: self._shown(each) for each in self._nodes}, **before}
        found = [] if self.network == network else [Change("network", self.network.name, self.network)]
        for each in sorted(before):
            self._judge(each)
            found += _differing(each, before[each], self._shown(each))
        self._tell()
        # A block that goes from one Node to another goes first, and then comes.
        return sorted(found, key=lambda change: change.kind != "block" or change.new is not None)

    # ------------------------------------------------------------------------------
    def _read(self, raw: Json) -> Node | None:
        try:
            node = nodes.read(raw)
        except CnmError as error:
            self._nameless = error.msg
            return None
        if node.terms == self._own_terms:
            return node._replace(terms=self._own_terms)  # one object for all
        if node.terms is not None and node.name == self._own:
            return node._replace(terms=self._own_terms, outdated=True)
        return node

    def _replace(self, old: Node | None, new: Node | None) -> None:
        if old is not None:
            del self._nodes[old.name]
            self._claims.remove(old)
            self._vote(old, -1)
        if new is not None:
            self._nodes[new.name] = new
            self._claims.add(new)
            self._vote(new, 1)

    def _vote(self, node: Node, one: int) -> None:
        if node.terms is not None and node.terms.network == self._own_terms.network:
            self._votes[node.terms] = self._votes.get(node.terms, 0) + one
            if not self._votes[node.terms]:
                del self._votes[node.terms]

    def _shown(self, name: str) -> _Shown:
        """What others are to see of the Node, as it was judged last."""
        node = self._nodes.get(name)
        if node is None:
            return _Shown(None, None, False)
        if node.host is None or name in self._left_out:
            return _Shown(None, None, node.alive)
        block = Block(self._own_terms.network, node.subnets, name, node.host.instance) if node.subnets else None
        return _Shown(None if node.outdated else node.host, block, node.alive)

    def _judge(self, name: str) -> None:
        """Whether the Node is left out."""
        node = self._nodes.get(name)
        why = self._objection(node) if node is not None else ""
        if why:
            self._left_out[name] = why
        else:
            self._left_out.pop(name, None)

    def _objection(self, node: Node) -> str:
        """Why a Node is left out; "" if it is not, or is not announced."""
        terms = node.terms
        if terms is None:
            return node.wrong
        agreed = self.terms
        if terms.network != agreed.network:
            return f"Node {node.name} is of the network {terms.network}, this host of {agreed.network}"
        if terms.vni != agreed.vni:
            return f"Node {node.name} announces the {terms}, most Nodes the {agreed}"
        for other, what in self._claims.clashing(node):
            if other == self._own:
                return f"Node {node.name} claims {what}, which this host's Node {other} has"
            if node.name != self._own and self._nodes[other].age < node.age:
                return f"Node {node.name} claims {what}, which the older Node {other} has"
        for subnet in node.subnets:
            if self._subnets and not any(_within(subnet, whole) for whole in self._subnets):
                return f"the podCIDR {subnet} of Node {node.name} is not in {', '.join(map(str, self._subnets))}"
        return ""

    def _tell(self) -> None:
        others = [self._left_out[name] for name in sorted(self._left_out) if name != self._own]
        sentences = [*filter(None, (self._left_out.get(self._own), self._nameless)), *others]
        self.skipped = sentences[:SKIPPED_MAX]
        if len(sentences) > SKIPPED_MAX:
            self.skipped.append(f"{len(sentences) - SKIPPED_MAX} more are left out for such reasons")


class _Shown(NamedTuple):
    """What others see of a Node."""

    host: ClusterHost | None
    block: Block | None
    alive: bool


def _differing(name: str, old: _Shown, new: _Shown) -> Iterator[Change]:
    """What changed."""
    if old.block is not None and (new.block is None or new.block.key != old.block.key):
        yield Change("block", old.block.key, None)
    if new.host != old.host:
        yield Change("host", name, new.host)
    if new.block is not None and new.block != old.block:
        yield Change("block", new.block.key, new.block)
    if new.alive != old.alive:
        yield Change("alive", name, new.alive or None)


def network_id(name: str) -> str:
    """The same on all hosts, as there is no place to keep one."""
    return digest("kubernetes network", name)[:32]


def revision(version: str) -> int:
    """A resourceVersion as a number. Kubernetes from 1.35 on says that they are; before, those of etcd are."""
    return int(version) if version.isascii() and version.isdigit() and len(version) < 20 else 0


def _within(subnet: IPNetwork, whole: IPNetwork) -> bool:
    return subnet.version == whole.version and subnet.subnet_of(whole)  # type: ignore[arg-type]
