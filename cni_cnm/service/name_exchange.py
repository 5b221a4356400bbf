"""The process `exchange`: names of overlay networks over the hosts of an etcd.

    own names       files of local endpoints (names/hosts_files.py) ──► PREFIX/names/THIS HOST/…
    others' names   PREFIX/names/… ──► files HOST.ENDPOINT beside them, for networks that this host has, too

ADD and DEL only write their file, and wait for no store. What others have written is checked: addresses of the network,
and names that could be its own. While the store does not answer, names stay as they were.
"""

from __future__ import annotations

import os
import select
from threading import Lock, Thread
from time import sleep

from cni_cnm.cluster import host_file
from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.etcd.names import EtcdNames
from cni_cnm.cluster.stores import TIMEOUT_S
from cni_cnm.cnm.network import network_description
from cni_cnm.cnm.overlay_record import is_overlay
from cni_cnm.cnm.records import network_records
from cni_cnm.errors import CnmError
from cni_cnm.frontend.stderr import say
from cni_cnm.kernel.inotify import Inotify
from cni_cnm.model import ip_address
from cni_cnm.names import hosts_files, labels
from cni_cnm.state.small_files import make_folder
from cni_cnm.state.store import NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from cni_cnm.cluster.etcd.names import Place
    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.records import NetworkRecord

PAUSE_S = 2.0
"""Before the store is asked again."""
LINES_MAX, BYTES_MAX = 64, 1 << 16
"""Of one endpoint of another host."""


class NameExchange:
    """`networks` gives the overlay networks of this host that answer names, by name."""

    def __init__(
        self, store: EtcdNames, host: str, run_dir: str, networks: Callable[[], Mapping[str, NetworkRecord]]
    ) -> None:
        self._store = store
        self._host = host
        self._run_dir = run_dir
        self._networks = networks
        self._written: dict[Place, str] | None = None
        """This host's keys in the store; None: not known."""
        self._others: dict[Place, str] = {}
        self._lock = Lock()
        self._ended = False

    def push(self) -> bool:
        """Write this host's names where they differ. False if the store did not answer."""
        own = {
            (self._host, name, endpoint): content
            for name in self._networks()
            for endpoint, content in hosts_files.read_all(hosts_files.folder_of(self._run_dir, name)).items()
            if "." not in endpoint
        }
        with self._lock:
            before = self._written
        if before is None:
            return False
        changed = {place: own.get(place, "") for place in {*own, *before} if own.get(place) != before.get(place)}
        if changed:
            try:
                self._store.write(changed)
            except CnmError:
                return False
            with self._lock:
                self._written = own
        return True

    def pull(self) -> None:
        """Write the files of other hosts' names where they differ."""
        with self._lock:
            others = dict(self._others)
        for name, record in self._networks().items():
            folder = hosts_files.folder_of(self._run_dir, name)
            there = {key: text for key, text in hosts_files.read_all(folder).items() if "." in key}
            wanted = {
                f"{host}.{endpoint}": content
                for (host, network, endpoint), text in others.items()
                if network == name and host != self._host and (content := checked(record, text))
            }
            for key in {*there, *wanted}:
                if key not in wanted:
                    hosts_files.remove(folder, key)
                elif there.get(key) != wanted[key]:
                    hosts_files.write(folder, key, wanted[key])

    def follow(self, wake: int) -> None:
        """In a thread of its own: keep what the store has, and wake the other thread after each change."""
        said = ""
        while not self._ended:
            try:
                revision, found = self._store.read()
                self._take(found)
                os.eventfd_write(wake, 1)
                for batch in self._store.changes(revision):
                    said = ""
                    with self._lock:
                        for place, text in batch:
                            self._change(place, text)
                    os.eventfd_write(wake, 1)
            except (CnmError, WatchEnded) as error:
                if str(error) != said and not self._ended:
                    said = str(error)
                    say(f"names of other hosts stay as they are: {error}")
                sleep(PAUSE_S)

    def end(self) -> None:
        self._ended = True
        self._store.close()

    def _take(self, found: Mapping[Place, str]) -> None:
        with self._lock:
            self._others = {place: text for place, text in found.items() if place[0] != self._host}
            self._written = {place: text for place, text in found.items() if place[0] == self._host}

    def _change(self, place: Place, text: str) -> None:
        known = self._others if place[0] != self._host else self._written
        if known is None:
            return
        if text:
            known[place] = text
        else:
            known.pop(place, None)


def checked(record: NetworkRecord, text: str) -> str:
    """What another host has written, as far as it may be so: names of the network, at addresses of the network."""
    if record.names is None or len(text) > BYTES_MAX:
        return ""
    subnets = network_description.claimed_subnets(record)
    lines = []
    for words in map(str.split, text.splitlines()[:LINES_MAX]):
        try:
            address = ip_address(words[0]) if words else None
        except ValueError:
            continue
        names = [name for name in words[1:] if labels.may_answer(name, record.names.domain)]
        if address is not None and names and any(address in subnet for subnet in subnets):
            lines.append(f"{address} {' '.join(names)}\n")
    return "".join(lines)


def run(engine: Callable[[], AbstractContextManager[Controller]], stop: int) -> None:
    """Until `stop` is readable. Names that were exchanged stay. The store is asked only where a network needs it."""
    with engine() as controller:
        settings = controller.host.settings
    if settings.cluster is None:
        return
    host = host_file.node_name(settings.cluster, os.environ)

    def networks() -> Mapping[str, NetworkRecord]:
        with engine() as opened:
            records = network_records(opened.host.store)
            return {one.name: one for one in records if one.names is not None and is_overlay(one)}

    exchange = NameExchange(EtcdNames(settings.cluster, TIMEOUT_S), host, settings.run_dir, networks)
    wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    changes = Inotify()
    make_folder(f"{settings.state_dir}/{NETWORKS}", 0o700)
    changes.watch(f"{settings.state_dir}/{NETWORKS}")
    follower = Thread(target=exchange.follow, args=(wake,), daemon=True)
    while True:
        changes.take()
        whole = True
        try:
            found = networks()
            if found and follower.ident is None:
                follower.start()
            for name in found:
                folder = hosts_files.folder_of(settings.run_dir, name)
                hosts_files.make_folder(folder)
                changes.watch(folder)
            exchange.pull()
            whole = exchange.push() or not found
        except (CnmError, OSError) as error:
            say(f"names are not exchanged with other hosts: {error}")
            whole = False
        ready, _, _ = select.select([stop, wake, changes.fileno()], [], [], None if whole else PAUSE_S)
        if stop in ready:
            exchange.end()
            return
        if wake in ready:
            os.eventfd_read(wake)
