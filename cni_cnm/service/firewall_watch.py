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

from cni_cnm.cnm.packet_filter import enforce, firewall_reconcile
from cni_cnm.errors import CnmError
from cni_cnm.firewall import TABLES
from cni_cnm.frontend.one_line import one_line
from cni_cnm.kernel.nftables.nft_monitor import ANYTHING, NOTHING, Change, NftMonitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.controller import Controller

NAME = "cni-cnm"
"""Name of the program. A service started as `python -m cni_cnm` gives it to its threads."""
QUIET_MS = 100
"""A firewall that starts makes many changes. It has finished when none has come for so long,"""
LIMIT_S = 2.0
"""or when so much time has passed since the first one."""


class FirewallWatch:
    """`engine` gives a controller for one check."""

    def __init__(self, engine: Callable[[], AbstractContextManager[Controller]]) -> None:
        self._engine = engine
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._monitor: NftMonitor | None = None
        self._thread = Thread(target=self._run, name="firewall-watch", daemon=True)

    def start(self) -> None:
        """Watch the calling thread's namespace. Everything is checked at once."""
        try:
            _take_name()
            self._monitor = NftMonitor(TABLES, NAME)
        except OSError as error:
            _say(f"changes of the packet filter are not seen: {error.strerror}; each ADD checks by itself")
            return
        self._thread.start()

    def stop(self) -> None:
        """Finish the check in progress, if any."""
        os.eventfd_write(self._wake, 1)
        if self._monitor is not None:
            self._thread.join()
            self._monitor.close()
        os.close(self._wake)

    def _run(self) -> None:
        if self._monitor is None:
            return
        change: Change | None = ANYTHING
        while change is not None:
            self._check(change)
            try:
                change = self._await(self._monitor)
            except (CnmError, OSError) as error:
                _say(f"changes of the packet filter are no longer seen: {error}; each ADD checks by itself")
                return

    def _await(self, monitor: NftMonitor) -> Change | None:
        """Everything that changed, once no more changes follow; None to stop."""
        poll = select.poll()
        poll.register(monitor, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        found, since = NOTHING, 0.0
        while True:
            ready = poll.poll(QUIET_MS if since else None)
            if any(descriptor == self._wake for descriptor, _ in ready):
                return None
            if ready:
                found |= monitor.take()
                since = since or (monotonic() if found != NOTHING else 0.0)
            if since and (not ready or monotonic() - since > LIMIT_S):
                return found

    def _check(self, change: Change) -> None:
        try:
            with self._engine() as controller:
                if change.rules:
                    enforce.ensure(controller.host)
                if change.broken or change.owners:
                    firewall_reconcile.put_back_missing(controller.host, None if change.broken else change.owners)
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
