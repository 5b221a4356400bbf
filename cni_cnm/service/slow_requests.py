"""Receives requests that do not come at once: one thread waits for all of them.

A relay sends its whole request as soon as it is connected. One that was stopped meanwhile, and a program that connects
and sends nothing, must not occupy a place of a worker (places.py).
"""

from __future__ import annotations

import selectors
from _thread import allocate_lock
from threading import Thread

from cni_cnm.service.protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.service.protocol import Incoming, Request

WAITING_MAX = 1024


class SlowRequests:
    """`complete` is called with each request that is complete, `refused` with each that is no request."""

    def __init__(
        self, complete: Callable[[Incoming, Request], None], refused: Callable[[Incoming, Refused], None]
    ) -> None:
        self._complete = complete
        self._refused = refused
        self._lock = allocate_lock()
        self._selector: selectors.DefaultSelector | None = None
        self._count = 0

    def add(self, incoming: Incoming) -> None:
        """Receive the rest of a request. Refused if there are too many already, or no thread can be started."""
        with self._lock:
            if self._count >= WAITING_MAX:
                raise Refused("too many connections without a complete request")
            if self._selector is None:
                self._start()
            assert self._selector is not None
            self._selector.register(incoming.connection, selectors.EVENT_READ, incoming)
            self._count += 1

    def _start(self) -> None:
        self._selector = selectors.DefaultSelector()
        try:
            Thread(target=self._run, args=(self._selector,), name="slow", daemon=True).start()
        except RuntimeError as error:
            self._selector.close()
            self._selector = None
            raise Refused(f"a request cannot be received: {error}") from error

    def _run(self, selector: selectors.DefaultSelector) -> None:
        while True:
            for key, _ in selector.select():
                self._receive(selector, key.data)

    def _receive(self, selector: selectors.DefaultSelector, incoming: Incoming) -> None:
        request, refused = None, None
        try:
            request = incoming.receive()
        except Refused as reason:
            refused = reason
        if request is None and refused is None:
            return
        with self._lock:
            selector.unregister(incoming.connection)
            self._count -= 1
        if request is not None:
            self._complete(incoming, request)
        elif refused is not None:
            self._refused(incoming, refused)
