"""Keeps the host as the records say: asleep until the kernel reports a change, then only that is compared.

    watch    the loop: it returns when `wake` is readable
    run      the process of the service that runs it

A change is compared when no more follow for a moment (cnm/reconcile). Our own changes of nftables are not reported, and
pods' own links neither. The kernel does not report changes by legacy iptables: the next ADD finds those.

It also wakes from time to time: to take down endpoints whose network namespace no longer exists, and for what an
operator should know (host_events.py).
"""

from __future__ import annotations

import select
from time import monotonic

from cni_cnm.cnm.reconcile.changed import EVERYTHING, changed_by
from cni_cnm.cnm.reconcile.gone_namespaces import LOOK_S, GoneNamespaces
from cni_cnm.cnm.reconcile.reconcile import reconcile
from cni_cnm.errors import CnmError
from cni_cnm.firewall import TABLES
from cni_cnm.frontend import events
from cni_cnm.frontend.events import Event
from cni_cnm.frontend.stderr import say
from cni_cnm.kernel.contract.changes import NO_LINKS, NOTHING
from cni_cnm.kernel.nftables.nft_monitor import NftMonitor
from cni_cnm.kernel.rtnetlink.bridge_monitor import BridgeMonitor
from cni_cnm.service import host_events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.reconcile.difference import Outcome
    from cni_cnm.kernel.contract.changes import FilterChange, LinkChange

    Note = Callable[[str, float, Event | None], None]

NAME = "cni-cnm"
"""Name of the program. A service started as `python -m cni_cnm` gives it to its processes."""
QUIET_MS = 100
"""Another program makes many changes when it starts. The look begins when there was none for this time."""
LIMIT_S = 2.0
"""The look begins at the latest when this time has passed since the first change."""
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""From a repair to the next look, if the repair is the same as the one before: another program undoes it. Doubled."""
SOON_S = 1.0
"""From a change to the look for events."""
AGAIN_S = 10.0
"""A repair that is the same as the one before, but comes later than this after the pause, is a new one."""


class Monitors:
    """What the kernel reports of the namespace of the calling thread. OSError where it cannot."""

    def __init__(self) -> None:
        self.packet_filter = NftMonitor(TABLES, NAME)
        try:
            self.links = BridgeMonitor()
        except BaseException:
            self.packet_filter.close()
            raise

    def close(self) -> None:
        self.packet_filter.close()
        self.links.close()

    def wait(self, wake: int, until: float) -> tuple[FilterChange, LinkChange] | None:
        """All that has changed, once no more changes follow; None when `wake` is readable.

        Nothing has changed if that is so until the time `until`, of `monotonic`.
        """
        poll = select.poll()
        for watched in (self.packet_filter, self.links, wake):
            poll.register(watched, select.POLLIN)
        found, links, since = NOTHING, NO_LINKS, 0.0
        while True:
            left_ms = max(0.0, until - monotonic()) * 1000
            ready = {descriptor for descriptor, _ in poll.poll(QUIET_MS if since else left_ms)}
            if wake in ready:
                return None
            if not ready and not since:
                return NOTHING, NO_LINKS
            if ready:
                found |= self.packet_filter.take()
                links |= self.links.take()
                since = since or (monotonic() if found != NOTHING or links != NO_LINKS else 0.0)
            if since and (not ready or monotonic() - since > LIMIT_S):
                return found, links


def watch(
    engine: Callable[[], AbstractContextManager[Controller]],
    note: Note,
    monitors: Monitors,
    wake: int,
) -> None:
    """Compare everything at once, then what changes, until `wake` is readable.

    Args:
        engine: gives a controller for one look.
        note: writes a line to the log. The number is the milliseconds that it took, then comes the event, if it is one.
    """
    rounds = _Rounds(engine, note)
    rounds.run(None)
    while True:
        try:
            change = monitors.wait(wake, min(rounds.collect_at, rounds.look_at))
        except (CnmError, OSError) as error:
            say(f"changes of the host are no longer seen: {error}; each ADD checks by itself")
            return
        if change is None or rounds.pause(wake):
            return
        if change != (NOTHING, NO_LINKS):
            rounds.run(change)
            rounds.look_at = min(rounds.look_at, monotonic() + SOON_S)  # a bridge may be that of a new network
        if monotonic() >= rounds.look_at:
            rounds.look()
        if monotonic() >= rounds.collect_at:
            rounds.collect()


class _Rounds:
    """What was repaired, and said, in the rounds before."""

    def __init__(self, engine: Callable[[], AbstractContextManager[Controller]], note: Note) -> None:
        self._engine = engine
        self._note = note
        self._last: list[str] = []
        self._said: set[str] = set()
        self._repaired = 0.0
        self._pause_s = 0.0
        self._gone = GoneNamespaces()
        self.collect_at = monotonic() + LOOK_S
        """When the next look at namespaces is due."""
        self._events = host_events.HostEvents()
        self.look_at = monotonic()
        """When the next look for events is due."""

    def run(self, change: tuple[FilterChange, LinkChange] | None) -> None:
        """`change` None: everything is compared."""
        outcomes: list[Outcome] = []
        begin = monotonic()
        try:
            with self._engine() as controller:
                changed = changed_by(*change, controller.host.stack) if change else EVERYTHING
                for outcome in reconcile(controller.host, changed):
                    outcomes.append(outcome)
                    self._say(outcome, (monotonic() - begin) * 1000)
        except CnmError as error:
            say(f"the host could not be compared with the records: {error}")
        except Exception as error:  # noqa: BLE001 - a defect here must not end the watch
            say(f"the host could not be compared with the records: {type(error).__name__}: {error}")
        repaired = [outcome.sentence for outcome in outcomes if outcome.result == "repaired"]
        if repaired:
            again = repaired == self._last and begin - self._repaired < self._pause_s + AGAIN_S
            self._pause_s = min(max(self._pause_s * 2, PAUSE_S), LONGEST_PAUSE_S) if again else 0.0
            self._last, self._repaired = repaired, monotonic()

    def collect(self) -> None:
        """Take down the endpoints whose namespace has been gone for long enough."""
        begin = monotonic()
        self.collect_at = begin + LOOK_S
        try:
            with self._engine() as controller:
                for outcome in self._gone.look(controller.host, begin):
                    self._say(outcome, (monotonic() - begin) * 1000, events.COLLECTED)
        except CnmError as error:
            say(f"endpoints without a namespace are not known: {error}")
        except Exception as error:  # noqa: BLE001 - a defect here must not end the watch
            say(f"endpoints without a namespace are not known: {type(error).__name__}: {error}")

    def look(self) -> None:
        """Note what an operator should know."""
        self.look_at = monotonic() + host_events.LOOK_S
        try:
            with self._engine() as controller:
                for event in self._events.look(controller.host):
                    self._note(f"EVENT {event.sentence}", 0.0, event)
        except CnmError as error:
            say(f"events of this host are not known: {error}")
        except Exception as error:  # noqa: BLE001 - a defect here must not end the watch
            say(f"events of this host are not known: {type(error).__name__}: {error}")

    def pause(self, wake: int) -> bool:
        """Leave another program that removes the same each time alone for a while. True when `wake` is readable."""
        left = self._repaired + self._pause_s - monotonic()
        return left > 0 and _sleep(wake, left)

    def _say(self, outcome: Outcome, duration_ms: float, repaired: str = events.REPAIRED) -> None:
        """Each repair; anything else once. `repaired`: the kind of event that a success is."""
        word, kind = {
            "repaired": ("REPAIR", repaired),
            "failed": ("REPAIR failed", events.NOT_REPAIRED),
            "noted": ("NOTICE", events.NOTED),
        }[outcome.result]
        if outcome.result != "repaired":
            if outcome.sentence in self._said:
                return
            self._said.add(outcome.sentence)
        self._note(f"{word} {outcome.sentence}", duration_ms, Event(kind, outcome.sentence))


def run(
    engine: Callable[[], AbstractContextManager[Controller]],
    note: Note,
    seen: Callable[[bool], None],
    stop: int,
) -> None:
    """The process for the watch: until `stop` is readable. `seen` is called with whether changes are seen from now on.

    Without notifications of the kernel it waits for its end: to be started again would not help.
    """
    try:
        monitors = Monitors()
    except OSError as error:
        say(f"changes of the host are not seen: {error.strerror}; each ADD checks by itself")
    else:
        seen(True)
        watch(engine, note, monitors, stop)
        seen(False)
        monitors.close()
    select.select([stop], [], [])


def _sleep(wake: int, seconds: float) -> bool:
    """True when `wake` became readable."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def take_name() -> None:
    """Give this process the program's name, for the kernel's notifications. Children and threads inherit it."""
    with open("/proc/self/comm", "r+", encoding="ascii", errors="replace") as file:
        if not file.read().startswith(NAME):
            file.seek(0)
            file.write(NAME)
