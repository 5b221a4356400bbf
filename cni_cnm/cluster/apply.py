"""Puts a plan's entries into the kernel: whole, by comparing with what is there, or only what changed.

An entry is known to be ours by its mark, so no other is touched, and what an earlier run left is found:

    VXLAN device        its alias begins with underlay.ALIAS
    route               protocol 67 (kernel/contract/route.py)
    neighbour           on our device, protocol 67
    forwarding entry    on our device, `extern_learn`: `bridge fdb add` makes entries without
    nftables            the whole table `inet cni_cnm_underlay` (cluster/accepted_hosts.py); elements of other hosts'
                        blocks, by their comment (cluster/remote_blocks.py)

Where another program has an entry in the place of one of ours, its entry stays, and that is named.
"""

from __future__ import annotations

from errno import EEXIST, ENOENT, ESRCH

from cni_cnm.cluster import vxlan_devices
from cni_cnm.cluster.accepted_hosts import AcceptedHosts
from cni_cnm.cluster.link_entries import LinkEntries
from cni_cnm.cluster.remote_blocks import RemoteBlocks
from cni_cnm.cluster.underlay import Device, Route, Unreachable, join
from cni_cnm.errors import CnmError, KernelError
from cni_cnm.kernel.contract.route import CLUSTER, IP6_PRIORITY, RouteEntry, completed
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from cni_cnm.cluster.underlay import Delta, Entry, Here, Member
    from cni_cnm.kernel import Nft
    from cni_cnm.kernel.contract.overlay_stack import OverlayStack

LAST_RESORT = 1 << 30
"""Metric of the routes that refuse packets: any other route to the same destination is preferred."""


class Applied(NamedTuple):
    """What was done."""

    changes: int = 0
    """Devices and entries that were added, changed or removed."""
    problems: tuple[str, ...] = ()
    """A sentence for each entry that is not as it is wanted, and why."""
    broken: Mapping[str, str] = {}
    """By network, why its device is not there. Its entries are not, either."""


class Applier:
    """Of one host. `stack` and `nft` are of the host's namespace; the caller closes the stack. Used by one thread."""

    def __init__(self, stack: OverlayStack, nft: Nft) -> None:
        self._stack = stack
        self._accepted = AcceptedHosts(nft)
        self._remote = RemoteBlocks(nft)
        self._links: dict[str, int] = {}
        """Indexes by name, as they were when the whole plan was compared last."""
        self._broken: Mapping[str, str] = {}

    def prepare(self, here: Here, member: Member) -> None:
        """Make the device of a network before its bridge, which then gets its MTU. `whole` says what is wrong."""
        device = join(here, member).device
        if device is not None:
            vxlan_devices.ensure(self._stack, [device], {link.name: link for link in self._stack.links()}, keep=True)

    def whole(self, wanted: Collection[Entry], *, keep: bool = False) -> Applied:
        """Compare everything with the kernel. What lacks is added; what is ours and not wanted is removed.

        So with nothing wanted all that is ours is removed. An entry that fails stops no other. With `keep` nothing is
        removed that no wanted entry replaces: more may be wanted than is known.
        """
        problems: list[str] = []
        changes = self._accept(lambda: self._accepted.whole(wanted, keep=keep), problems)
        changes += self._remote.whole(wanted, problems, keep=keep)
        devices = [entry for entry in wanted if isinstance(entry, Device)]
        links = {link.name: link for link in self._stack.links()}
        ensured = vxlan_devices.ensure(self._stack, devices, links, keep=keep)
        self._broken = ensured.broken
        self._links = {name: link.ifindex for name, link in links.items()}
        for device in devices:  # another program may have the name
            self._links.pop(device.name, None)
        self._links.update(ensured.indexes)
        entries = LinkEntries(self._stack, self._links)
        entries.compare(wanted, ensured.indexes.values(), keep=keep)
        routes: Collection[RouteEntry] = self._routes(wanted, problems)
        there = set(self._stack.routes(protocol=CLUSTER))
        if there:  # hashing addresses takes longer than adding the routes
            routes, there = set(routes) - there, there - set(routes)
        if keep:
            replaced = {(route.dst, route.priority) for route in routes}
            there = {route for route in there if (route.dst, route.priority) in replaced}
        changes += ensured.changes + self._write(entries, routes, there, problems)
        return Applied(changes, tuple(problems), self._broken)

    def change(self, delta: Delta) -> Applied:
        """Only what differs, for a plan whose networks are those of the last `whole`.

        The kernel is asked for single entries alone, so the cost does not depend on the number of hosts.
        """
        problems: list[str] = []
        changes = self._accept(lambda: self._accepted.change(delta), problems)
        changes += self._remote.change(delta, problems)
        entries = LinkEntries(self._stack, self._links)
        entries.ask(delta.values())
        after = self._routes([new for _, new in delta.values() if new is not None], problems)
        before = self._routes([old for old, _ in delta.values() if old is not None], [])
        changes += self._write(entries, after, before, problems)
        return Applied(changes, tuple(problems), self._broken)

    def _accept(self, act: Callable[[], int], problems: list[str]) -> int:
        try:
            return act()
        except CnmError as error:
            problems.append(f"VXLAN packets of other hosts are not filtered as they should be: {error}")
            return 0

    def _routes(self, entries: Iterable[Entry], problems: list[str]) -> list[RouteEntry]:
        """The kernel's routes for those entries that are routes."""
        found = []
        for entry in entries:
            if isinstance(entry, Route):
                link = self._links.get(entry.link)
                if link is not None:
                    found.append(_route(entry, link))
                elif not entry.tunnelled:  # why a device is not there, is named once
                    problems.append(f"the route to {entry.dst} has no link: this host has no {entry.link}")
            elif isinstance(entry, Unreachable):
                route = RouteEntry(entry.subnet, priority=LAST_RESORT, protocol=CLUSTER, kind="unreachable")
                found.append(completed(route))
        return found

    def _write(
        self,
        entries: LinkEntries,
        missing: Collection[RouteEntry],
        extra: Collection[RouteEntry],
        problems: list[str],
    ) -> int:
        """All changes in one batch: an entry is there before the first route needs it, and goes after the last."""
        with self._stack.attempting() as failures:
            count = entries.add() + self._change_routes(missing, extra) + entries.remove()
        problems += entries.conflicts
        # What is to be deleted may be gone already.
        wrong = [one for one in failures if not isinstance(one, KernelError) or one.errno not in (ENOENT, ESRCH)]
        problems += [_sentence(one) for one in wrong]
        return count - len(failures)

    def _change_routes(self, missing: Collection[RouteEntry], extra: Collection[RouteEntry]) -> int:
        """Where a route takes the place of another one, there is no moment without."""
        old: dict[tuple[object, object], list[RouteEntry]] = {}
        for route in extra:
            old.setdefault((route.dst, route.priority), []).append(route)
        for route in missing:
            there = old.get((route.dst, route.priority)) if old else None
            replaced = there.pop() if there else None
            if replaced is None:
                self._stack.add_route(route)
                continue
            # IPv6 has no two routes by one gateway.
            at_once = route.dst.version == 6 and (route.gw, route.link) == (replaced.gw, replaced.link)
            if at_once:
                self._stack.delete_route(replaced)
            self._stack.add_route(route, append=not at_once)
            if not at_once:
                self._stack.delete_route(replaced)
        rest = [route for routes in old.values() for route in routes]
        for route in rest:
            self._stack.delete_route(route)
        return len(missing) + len(rest)


def _route(entry: Route, link: int) -> RouteEntry:
    """As the kernel shows it."""
    dst, gw, src = entry.dst, entry.gw, entry.src
    priority = IP6_PRIORITY if dst.version == 6 else None
    return RouteEntry(dst, gw, link, priority=priority, src=src, protocol=CLUSTER, onlink=entry.tunnelled)


def _sentence(failure: Exception) -> str:
    if isinstance(failure, KernelError) and failure.errno == EEXIST:
        return f"{failure}; the one that is there is another program's"
    return str(failure)
