"""Overlay networks and hosts as the directory has them, for people: what there is, and removing it."""

from __future__ import annotations

from contextlib import contextmanager

from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import join_overlay
from cni_cnm.cnm.records import endpoints_of, network_records
from cni_cnm.errors import ActiveEndpoints, DirectoryUnreachable, NotFound
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.waiting import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cluster.directory import Directory
    from cni_cnm.cluster.values import Block, Snapshot
    from cni_cnm.cnm.host import Host


class View(NamedTuple):
    """What the hosts agree on, and where that was read."""

    snapshot: Snapshot
    source: str
    """The directory's name; for what this host has on its disk a phrase that says so."""
    skipped: Sequence[str] = ()
    """What the directory has and cannot be read, a sentence each."""


def view(host: Host) -> View:
    """As the directory has it now. DirectoryUnreachable if the store does not answer."""
    with _opened(host) as directory:
        return View(directory.snapshot(), directory.name, directory.skipped())


def view_or_last_known(host: Host) -> View:
    """The same, or what the agent of this host wrote to the disk when the store answered last."""
    try:
        return view(host)
    except DirectoryUnreachable as error:
        from cni_cnm.cluster import known
        from cni_cnm.cluster.values import Snapshot

        last = known.load(host.settings.state_dir)
        found = Snapshot(last.store, last.revision, last.hosts, last.networks, last.blocks, frozenset())
        return View(found, f"what this host knew last: {error.msg}")


def refuse_other_hosts(host: Host, name: str) -> None:
    """ActiveEndpoints, naming them, if other hosts have blocks of a network. NotFound if the directory has it not."""
    me = join_overlay.membership(host).host()
    found = view(host)
    if name not in found.snapshot.networks:
        raise NotFound(f"{found.source} has no overlay network {name}", hint="`cni-cnm network ls` lists this host's")
    others = sorted({one.host for one in found.snapshot.blocks.values() if one.network == name} - {me.name})
    if others:
        raise ActiveEndpoints(
            f"the network {name} has blocks on {', '.join(others)}",
            hint=f"`cni-cnm network rm {name}` on each of them; for a host that is gone: cni-cnm node rm {others[0]}",
        )


def delete(host: Host, name: str) -> None:
    """Remove a network that no host has blocks of, for all hosts."""
    with _opened(host) as directory:
        directory.delete_network(name)


def remove_host(host: Host, name: str, *, force: bool) -> Sequence[Block]:
    """Remove a host from the cluster. Its blocks are free then; they are returned.

    Raises:
        Forbidden: it shows life, and `force` is not given.
        ActiveEndpoints: it is this host, whose overlay networks have endpoints, and `force` is not given.
        NotFound: the directory has neither it nor blocks of it.
    """
    if not force and name == join_overlay.membership(host).host().name:
        _refuse_own_endpoints(host, name)
    with _opened(host) as directory:
        snapshot = directory.snapshot()
        if name not in snapshot.hosts and not any(block.host == name for block in snapshot.blocks.values()):
            raise NotFound(f"{directory.name} has no host {name}", hint="`cni-cnm node ls` lists them")
        return directory.leave(name, force=force)


def _refuse_own_endpoints(host: Host, name: str) -> None:
    """Other hosts could claim the blocks while containers of this one have their addresses."""
    for record in filter(overlay_record.is_overlay, network_records(host.store)):
        labels = [one.shown for one in endpoints_of(host.store, record.id)]
        if labels:
            raise ActiveEndpoints(
                f"{name} is this host, and its network {record.name} has endpoints, such as {labels[0]}",
                hint="remove their containers first; --force frees the blocks nevertheless",
            )


@contextmanager
def _opened(host: Host) -> Iterator[Directory]:
    with waiting():
        directory = join_overlay.membership(host).directory()
        try:
            yield directory
        finally:
            directory.close()
