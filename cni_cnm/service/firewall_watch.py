"""Puts the packet filter right as soon as somebody changed it, without waiting for the next pod.

A thread sleeps until the kernel tells what another program changed, waits until that is done, and has the engine look
(cnm/packet_filter/firewall_reconcile.py: 0.1 ms if all is well): at everything, or at those whose elements are gone.
What this service itself does, and any program of its name, is passed over. Programs of old iptables change nothing
that is told of: those are noticed by the next ADD.
"""

from __future__ import annotations

import os
import select
import sys
from threading import Thread
from time import monotonic

from cni_cnm.cnm.packet_filter import firewall_reconcile
from cni_cnm.errors import CnmError
from cni_cnm.firewall import TABLES
from cni_cnm.kernel.nft_monitor import ANYTHING, NOTHING, Change, NftMonitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.controller import Controller

NAME = "cni-cnm"
"""Of the program. A service that was started as another one (`python -m cni_cnm`) takes it for its threads."""
QUIET_MS = 100
"""A firewall that starts makes its changes one by one: it is done when none has come for so long,"""
LIMIT_S = 2.0
"""or it is not waited for any longer."""


class Upkeep:
    """`engine` gives a controller for one look."""

    def __init__(self, engine: Callable[[], AbstractContextManager[Controller]]) -> None:
        self._engine = engine
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._changes: NftMonitor | None = None
        self._thread = Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """From the thread whose namespace is watched; everything is looked at once."""
        try:
            _take_name()
            self._changes = NftMonitor(TABLES, NAME)
        except OSError as error:
            _say(f"changes of the packet filter are not seen: {error.strerror}; each ADD looks by itself")
            return
        self._thread.start()

    def stop(self) -> None:
        """What is under way is finished."""
        os.eventfd_write(self._wake, 1)
        if self._changes is not None:
            self._thread.join()
            self._changes.close()
        os.close(self._wake)

    def _run(self) -> None:
        if self._changes is None:
            return
        change: Change | None = ANYTHING
        while change is not None:
            self._look(change)
            change = self._await(self._changes)

    def _await(self, changes: NftMonitor) -> Change | None:
        """What was changed, when it is quiet again; None to stop."""
        poll = select.poll()
        poll.register(changes, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        found, since = NOTHING, 0.0
        while True:
            ready = poll.poll(QUIET_MS if since else None)
            if any(descriptor == self._wake for descriptor, _ in ready):
                return None
            if ready:
                found |= changes.take()
                since = since or (monotonic() if found != NOTHING else 0.0)
            if since and (not ready or monotonic() - since > LIMIT_S):
                return found

    def _look(self, change: Change) -> None:
        try:
            with self._engine() as controller:
                if change.rules:
                    firewall_reconcile.ensure(controller)
                if change.broken or change.owners:
                    firewall_reconcile.mend(controller, None if change.broken else change.owners)
        except CnmError as error:
            _say(f"the packet filter is not as it should be: {error}")
        except Exception as error:  # noqa: BLE001 - a defect here must not end the watching
            _say(f"the packet filter could not be looked at: {type(error).__name__}: {error}")


def _take_name() -> None:
    """Threads made from now on have it, too."""
    with open("/proc/self/comm", "r+", encoding="ascii", errors="replace") as file:
        if not file.read().startswith(NAME):
            file.seek(0)
            file.write(NAME)


def _say(line: str) -> None:
    sys.stderr.write("".join(c if c.isprintable() else " " for c in line) + "\n")
    sys.stderr.flush()
