"""A thread of the agent that tells Kubernetes the events of this host (frontend/events.py).

What the agent itself says is left out: it is mostly about a Kubernetes that does not answer. A Kubernetes that does not
permit events is not asked again for an hour, and one that does not answer for half a minute. Nothing waits for it.
"""

from __future__ import annotations

from collections import deque
from threading import Thread
from time import sleep

from cni_cnm.cluster.kubernetes.node_events import NodeEvents
from cni_cnm.errors import CnmError, Forbidden
from cni_cnm.frontend import events
from cni_cnm.frontend.events import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.frontend.events import Event

LOOK_S = 5.0
_AGAIN_S, _FORBIDDEN_S = 30.0, 3600.0
_KEPT_MAX = 20
"""Events that wait for an answer; the newest are kept."""
REASONS = {
    events.REPAIRED: "NetworkRepaired",
    events.NOT_REPAIRED: "NetworkNotRepaired",
    events.NOTED: "NetworkNoted",
    events.COLLECTED: "EndpointCollected",
    events.POOL_LOW: "PoolNearlyFull",
    events.POOL_FREE: "PoolHasRoom",
    events.BLOCKED: "FirewallBlocks",
    events.OPEN: "FirewallBlocksNoMore",
}
_WARNINGS = frozenset((events.NOT_REPAIRED, events.NOTED, events.POOL_LOW, events.BLOCKED))


class Teller:
    """`say` writes a line to the log."""

    def __init__(self, reader: Reader, node_events: NodeEvents, say: Callable[[str], None]) -> None:
        self._reader = reader
        self._node_events = node_events
        self._say = say
        self._waiting: deque[Event] = deque(maxlen=_KEPT_MAX)
        self._said = ""

    def start(self) -> None:
        Thread(target=self._run, name="node-events", daemon=True).start()

    def look(self) -> float:
        """Tell what is new. Seconds until the next look."""
        self._waiting.extend(event for event in self._reader.new() if event.kind in REASONS)
        while self._waiting:
            event = self._waiting[0]
            try:
                self._node_events.tell(REASONS[event.kind], event.sentence, warning=event.kind in _WARNINGS)
            except Forbidden as error:
                self._waiting.clear()
                self._say_once(error)
                return _FORBIDDEN_S
            except CnmError as error:
                self._say_once(error)
                return _AGAIN_S
            self._waiting.popleft()
        return LOOK_S

    def _say_once(self, error: CnmError) -> None:
        if (sentence := f"events are not told: {error}") != self._said:
            self._said = sentence
            self._say(sentence)

    def _run(self) -> None:
        while True:
            try:
                pause_s = self.look()
            except Exception as error:  # noqa: BLE001 - the agent goes on without
                self._say(f"events are not told: {type(error).__name__}: {error}")
                pause_s = _FORBIDDEN_S
            sleep(pause_s)
