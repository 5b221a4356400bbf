"""The process `names` of the service: it starts the name server of each network that answers names, again if it ends.

    wakes      a network's record, allowed pairs, a folder of names or the link /etc/resolv.conf has changed,
               a server has ended, or a start is due again
    then       servers that are missing are started, and those that were told other things are replaced

It looks for running servers in /proc (names/server.py), whichever service started them. So it takes over what an
earlier one has left, and a server answers on while no service runs. Without networks that answer names it only waits.
"""

from __future__ import annotations

import os
import select
import signal
from time import monotonic

from cni_cnm.cnm.network import name_service
from cni_cnm.cnm.reconcile import names as reconcile_names
from cni_cnm.cnm.reconcile.changed import EVERYTHING
from cni_cnm.cnm.records import network_records
from cni_cnm.errors import CnmError
from cni_cnm.frontend.stderr import say
from cni_cnm.kernel import privileges, unprivileged
from cni_cnm.kernel.inotify import Inotify
from cni_cnm.names import hosts_files, server
from cni_cnm.state.small_files import make_folder
from cni_cnm.state.store import ALLOWED, NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.records import NetworkRecord

PAUSE_FIRST_S, PAUSE_LONGEST_S = 0.1, 30.0
RAN_WELL_S = 10.0
LOOK_S = 60.0
"""While a program or an address is missing, or names cannot be put right, it is tried again after this time."""
_BEGUN_S = 0.2
"""One that follows a failed one is recorded when it has begun, for which it is looked at after each such time.

Else STATUS would say that each attempt runs.
"""
_EARLY_S, _EARLY_LOOK_S = 5.0, 0.05
_END_S = 2.0


class _Server:
    """One network's server, as far as this process knows."""

    def __init__(self, pid: int, pidfd: int, words: Sequence[str], proved: float, folder: tuple[int, int]) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.words = words
        self.folder = folder
        """Identity of the folder that it watches. It does not see one that was made again."""
        self.started = monotonic()
        self.proved: float | None = proved
        """When it is looked at whether its pid is to be recorded; None: it is recorded."""
        self.early = False
        """Started without the network's gateways, so it is replaced when these have come."""


class NameServers:
    """Keeps the servers of one host. `note` writes a line to the log."""

    def __init__(self, run_dir: str, note: Callable[[str, float], None]) -> None:
        self._run_dir = run_dir
        self._note = note
        self._servers: dict[str, _Server] = {}
        self._pauses: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._failed: set[str] = set()
        """Networks whose last server has said why it ended. One that is killed says nothing."""
        self._early: dict[str, float] = {}
        """Networks whose gateways are not on the host, and since when."""
        self._said: set[str] = set()

    @property
    def pidfds(self) -> list[int]:
        """Readable when a server has ended."""
        return [one.pidfd for one in self._servers.values()]

    def wait_s(self) -> float | None:
        """Seconds until something is to be done without a change; None: nothing is."""
        times = [*self._due.values(), *(one.proved for one in self._servers.values() if one.proved is not None)]
        if any(one.early for one in self._servers.values()):
            times.append(monotonic() + LOOK_S)
        return max(0.0, min(times) - monotonic()) if times else None

    def keep(self, wanted: Mapping[str, server.Served], early: Collection[str] = ()) -> None:
        """Start, replace and end servers, so that each of these networks has one.

        `early`: those whose gateways are not on the host yet. A new network's record is there before them. dnsmasq ends
        if port 53 of an address is another program's, but only of an address that is there when it starts.
        """
        self._reap()
        for network in [name for name in (*self._servers, *self._due) if name not in wanted]:
            self._due.pop(network, None)
            self._failed.discard(network)
            self._early.pop(network, None)
            self._end(network)
        missing = [name for name in wanted if name not in self._servers and self._due.get(name, 0.0) <= monotonic()]
        there = server.find(self._run_dir) if missing else {}
        for pid, words in there.items():
            self._take_over(server.network_of(words), pid, words)
        for network, served in wanted.items():
            words = server.arguments(served, self._run_dir)
            known = self._servers.get(network)
            if known is not None and self._is_right(known, network, words, early):
                continue
            if self._due.get(network, 0.0) > monotonic():
                continue
            if known is not None:
                self._end(network)
            elif network in early and self._waits(network):
                self._due[network] = monotonic() + _EARLY_LOOK_S
                continue
            self._start(network, words)
            if network in early and network in self._servers:
                self._servers[network].early = True
        for network, one in self._servers.items():
            if one.proved is not None and one.proved <= monotonic():
                if network in self._failed and not self._has_begun(one):
                    one.proved = monotonic() + _BEGUN_S
                    continue
                one.proved = None
                self._failed.discard(network)
                server.forget_last_words(self._run_dir, network)
                self._record(network, one.pid)

    def waiting(self, records: Iterable[NetworkRecord]) -> list[NetworkRecord]:
        """Those without a server, or with one that was started without their gateways."""
        known = self._servers
        return [record for record in records if record.name not in known or known[record.name].early]

    def leave(self) -> None:
        """Forget the servers. They run on."""
        while self._servers:
            os.close(self._servers.popitem()[1].pidfd)

    def _is_right(self, known: _Server, network: str, words: Sequence[str], early: Collection[str]) -> bool:
        gateways_came = known.early and network not in early
        return list(known.words) == words and known.folder == self._folder(network) and not gateways_came

    def _waits(self, network: str) -> bool:
        """Whether its gateways may still come. After a reboot they come with the first container."""
        return monotonic() - self._early.setdefault(network, monotonic()) < _EARLY_S

    @staticmethod
    def _has_begun(one: _Server) -> bool:
        return server.has_begun(one.pid) or monotonic() - one.started >= RAN_WELL_S

    def _reap(self) -> None:
        for network, one in list(self._servers.items()):
            if select.select([one.pidfd], [], [], 0)[0]:
                self._forget(network)
                ran_well = monotonic() - one.started >= RAN_WELL_S
                pause = 0.0 if ran_well else self._pauses.get(network, 0.0)
                said = server.last_words(self._run_dir, network)
                if said:
                    self._failed.add(network)
                reason = f": {said}" if said else ""
                self._note(f"NAMES the name server of the network {network} has ended{reason}", 0.0)
                self._due[network] = monotonic() + pause
                self._pauses[network] = min(max(pause * 2, PAUSE_FIRST_S), PAUSE_LONGEST_S)

    def _take_over(self, network: str, pid: int, words: Sequence[str]) -> None:
        """A server that is found. A second one of the same network is ended."""
        known = self._servers.get(network)
        if known is not None:
            if known.pid != pid:
                server.end(pid)
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return
        recorded = server.running(self._run_dir, network)[0] == pid
        folder = self._folder(network) if recorded else (0, 0)  # the record is in the folder that it was started with
        self._servers[network] = _Server(pid, pidfd, words, monotonic(), folder)

    def _start(self, network: str, words: Sequence[str]) -> None:
        program = server.program()
        self._due.pop(network, None)
        if not program:
            self._say(
                f"NAMES names of the network {network} are not answered: {server.PROGRAM} is not installed; on Debian "
                f"`apt-get install {server.PROGRAM}-base` installs it"
            )
            self._due[network] = monotonic() + LOOK_S
            return
        folder = hosts_files.folder_of(self._run_dir, network)
        try:
            hosts_files.make_folder(folder)
            server.kill_connections(self._run_dir, network)
            log = server.keep_last_words(self._run_dir, network)
            uid, gid = hosts_files.server_user()
            pid = unprivileged.start([program, *words], uid, gid, (privileges.NET_BIND_SERVICE,), log)
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            self._say(f"NAMES the name server of the network {network} cannot be started: {error.strerror or error}")
            self._due[network] = monotonic() + LOOK_S
            return
        proved = monotonic() + (_BEGUN_S if network in self._failed else 0.0)
        self._servers[network] = _Server(pid, pidfd, words, proved, self._folder(network))
        self._early.pop(network, None)
        self._note(f"NAMES the name server of the network {network} runs with pid {pid}", 0.0)

    def _end(self, network: str) -> None:
        """End a server, and wait until its port is free."""
        one = self._servers.get(network)
        if one is None:
            return
        server.end(one.pid)
        if not select.select([one.pidfd], [], [], _END_S)[0]:
            signal.pidfd_send_signal(one.pidfd, signal.SIGKILL)
            select.select([one.pidfd], [], [], _END_S)
        self._forget(network)

    def _folder(self, network: str) -> tuple[int, int]:
        return hosts_files.identity(hosts_files.folder_of(self._run_dir, network))

    def _forget(self, network: str) -> None:
        one = self._servers.pop(network)
        try:
            os.waitid(os.P_PIDFD, one.pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            pass  # an earlier service has started it
        os.close(one.pidfd)

    def _record(self, network: str, pid: int) -> None:
        try:
            server.record(self._run_dir, network, pid)
        except OSError as error:
            self._say(f"NAMES the pid of the network {network}'s name server cannot be written: {error.strerror}")

    def _say(self, sentence: str) -> None:
        """Once."""
        if sentence not in self._said:
            self._said.add(sentence)
            self._note(sentence, 0.0)
            say(sentence.removeprefix("NAMES "))


def run(
    engine: Callable[[], AbstractContextManager[Controller]], note: Callable[[str, float], None], stop: int
) -> None:
    """Until `stop` is readable. Servers run on."""
    with engine() as controller:
        settings = controller.host.settings
    folders = [f"{settings.state_dir}/{kind}" for kind in (NETWORKS, ALLOWED)]
    changes = Inotify()
    for folder in folders:
        make_folder(folder, 0o700)
        changes.watch(folder)
    servers = NameServers(settings.run_dir, note)
    wanted: dict[str, server.Served] = {}
    early: Collection[str] = ()
    before: object = None
    while True:
        changes.take()
        problem: Exception | None = None
        try:
            with engine() as controller:
                host = controller.host
                records = [record for record in network_records(host.store) if record.names is not None]
                wanted = {record.name: told for record in records if (told := name_service.served(record))}
                early = name_service.without_gateways(host, servers.waiting(records))
                pairs = controller.host.store.get(ALLOWED, "pairs") if wanted else None
                if wanted:
                    for folder in (hosts_files.make_root(settings.run_dir), *server.resolv_conf_folders()):
                        changes.watch(folder)
                there = {name: hosts_files.identity(hosts_files.folder_of(settings.run_dir, name)) for name in wanted}
                if wanted and (wanted, pairs, there) != before:
                    for difference in reconcile_names.compare(host, EVERYTHING):
                        if done := reconcile_names.repair(host, difference):
                            note(f"REPAIR {difference.sentence}; {done}", 0.0)
                    before = (wanted, pairs, there)
        except (CnmError, OSError) as error:
            problem = error
        try:
            servers.keep(wanted, early)  # also after a problem: a server that has ended is started
        except OSError as error:
            problem = error
        wait_s = servers.wait_s()
        if problem is not None:
            say(f"names of networks cannot be put right, which is tried again in {LOOK_S:.0f} seconds: {problem}")
            wait_s = LOOK_S if wait_s is None else min(wait_s, LOOK_S)
        ready, _, _ = select.select([stop, changes.fileno(), *servers.pidfds], [], [], wait_s)
        if stop in ready:
            servers.leave()
            changes.close()
            return
