"""Restores the packet filter as soon as another program has changed it, without waiting for the next pod.

A thread sleeps until the kernel reports a change by another program, waits until no more follow, and lets the engine
check (cnm/packet_filter/firewall_reconcile.py: 0.1 ms if nothing is missing). It checks everything, or only the
endpoints whose elements were removed. Changes of programs with this service's name are skipped. The kernel does not
report changes by legacy iptables: the next ADD finds those.
"""

from __future__ import annotations

import os
import select
import sys
from threading import Thread
from time import monotonic

from cni_cnm.cnm.packet_filter import enforce, firewall_reconcile, ownerless_elements
from cni_cnm.errors import CnmError
from cni_cnm.firewall import TABLES
from cni_cnm.frontend.one_line import one_line
from cni_cnm.kernel.nftables.nft_monitor import ANYTHING, NOTHING, Change, NftMonitor
from cni_cnm.kernel.rtnetlink.bridge_monitor import BridgeMonitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.controller import Controller

NAME = "cni-cnm"
"""Name of the program. A service started as `python -m cni_cnm` gives it to its threads."""
QUIET_MS = 100
"""Another firewall makes many changes when it starts. The check begins when there was none for this time."""
LIMIT_S = 2.0
"""The check begins at the latest when this time has passed since the first change."""


class FirewallWatch:
    """`engine` gives a controller for one check."""

    def __init__(self, engine: Callable[[], AbstractContextManager[Controller]]) -> None:
        self._engine = engine
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._monitor: NftMonitor | None = None
        self._bridges: BridgeMonitor | None = None
        self._thread = Thread(target=self._run, name="firewall-watch", daemon=True)

    def start(self) -> None:
        """Watch the calling thread's namespace. Everything is checked at once."""
        try:
            _take_name()
            self._monitor = NftMonitor(TABLES, NAME)
            self._bridges = BridgeMonitor()
        except OSError as error:
            _say(f"changes of the packet filter are not seen: {error.strerror}; each ADD checks by itself")
            self._close()
            return
        self._thread.start()

    def is_alive(self) -> bool:
        """True while changes are seen."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Finish the check in progress, if any."""
        os.eventfd_write(self._wake, 1)
        if self._monitor is not None:
            self._thread.join()
        self._close()
        os.close(self._wake)

    def _close(self) -> None:
        for monitor in (self._monitor, self._bridges):
            if monitor is not None:
                monitor.close()
        self._monitor = self._bridges = None

    def _run(self) -> None:
        if self._monitor is None or self._bridges is None:
            return
        change: Change | None = ANYTHING
        bridges = False  # the first check includes them
        while change is not None:
            self._check(change, bridges=bridges)
            try:
                change, bridges = self._await(self._monitor, self._bridges)
            except (CnmError, OSError) as error:
                _say(f"changes of the packet filter are no longer seen: {error}; each ADD checks by itself")
                return

    def _await(self, monitor: NftMonitor, bridges: BridgeMonitor) -> tuple[Change | None, bool]:
        """Everything that changed, once no more changes follow, and whether bridges did; None to stop."""
        poll = select.poll()
        for watched in (monitor, bridges, self._wake):
            poll.register(watched, select.POLLIN)
        found, of_bridges, since = NOTHING, False, 0.0
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(QUIET_MS if since else None)}
            if self._wake in ready:
                return None, False
            if ready:
                found |= monitor.take()
                of_bridges |= bridges.take()
                since = since or (monotonic() if found != NOTHING or of_bridges else 0.0)
            if since and (not ready or monotonic() - since > LIMIT_S):
                return found, of_bridges

    def _check(self, change: Change, *, bridges: bool) -> None:
        try:
            with self._engine() as controller:
                if change.rules:
                    enforce.ensure(controller.host, anew=change.hooks)
                if change.broken or change.owners:
                    firewall_reconcile.put_back_missing(controller.host, None if change.broken else change.owners)
                elif change.added:
                    for comment in ownerless_elements.remove(controller.host):
                        _say(f"removed from the packet filter, because its owner does not exist: {comment}")
                if bridges:
                    firewall_reconcile.put_foreign_bridges(controller.host)
        except CnmError as error:
            _say(f"the packet filter could not be restored: {error}")
        except Exception as error:  # noqa: BLE001 - a defect here must not end the watch
            _say(f"the packet filter could not be checked: {type(error).__name__}: {error}")


def _take_name() -> None:
    """Threads started from now on inherit it."""
    with open("/proc/self/comm", "r+", encoding="ascii", errors="replace") as file:
        if not file.read().startswith(NAME):
            file.seek(0)
            file.write(NAME)


def _say(line: str) -> None:
    sys.stderr.write(f"{one_line(line)}\n")
    sys.stderr.flush()
