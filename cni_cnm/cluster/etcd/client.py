"""Requests to etcd: to the server that answered last, else to the next one, with the user's token.

A reading that has no answer is made again at the next server. A transaction that has no answer is not: its outcome is
not known. The caller reads what there is now, and decides again:

    client.begin()
    for _ in client.attempts():
        …read, decide…
        outcome = client.transaction(…)      None: not known
        if outcome and outcome.succeeded:
            return …
"""

from __future__ import annotations

import json
from random import random
from time import monotonic, sleep

from cni_cnm.cluster.etcd.failure import Failure, failure_of
from cni_cnm.cluster.etcd.operations import read_range
from cni_cnm.cluster.http.connection import Connection, NoAnswer
from cni_cnm.cluster.http.endpoint import endpoint
from cni_cnm.cluster.http.tls import Tls, secret
from cni_cnm.errors import CnmError, DirectoryUnreachable
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from cni_cnm.cluster.etcd.operations import Operation, Range
    from cni_cnm.cluster.http.connection import Stream
    from cni_cnm.cluster.http.endpoint import Endpoint
    from cni_cnm.cluster_settings import ClusterSettings
    from cni_cnm.model import Json

    T = TypeVar("T")

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.02, 0.5
"""Between two attempts, times a random number below 1."""


PORT = 2379
"""Of a URL without one."""
_JSON = {"Content-Type": "application/json"}


class _OutcomeUnknown(Exception):
    """A transaction was sent, and there is no answer. The message says why."""


class Answer(NamedTuple):
    """The header of every answer, and the answer."""

    store: str
    """Identity of the store (etcd's cluster id)."""
    revision: int
    """Of the store, when it answered."""
    raw: Json


class Outcome(NamedTuple):
    """Of a transaction."""

    succeeded: bool
    """Its conditions held."""
    revision: int


class Client:
    """One thread uses it at a time; another one may `cut` it."""

    def __init__(self, settings: ClusterSettings, timeout_s: float, first: int = 0) -> None:
        """`first`: the number of the server to begin with, so that not all hosts begin with the same one."""
        self._settings = settings
        self._endpoints = [endpoint(url, PORT) for url in settings.endpoints]
        self._at = first % len(self._endpoints)
        self._timeout_s = timeout_s
        self._end = 0.0
        self._reason = ""
        self._tls = Tls(settings.ca, settings.cert, settings.key)
        self._token = ""
        self._connection: Connection | None = None
        self.closed = False
        self.name = f"etcd at {', '.join(each.url for each in self._endpoints)}"

    def cut(self) -> None:
        """End a call of another thread, and every later one."""
        self.closed = True
        connection = self._connection
        if connection is not None:
            connection.cut()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # requests -----------------------------------------------------------------
    def begin(self) -> None:
        """What follows ends within the time limit."""
        self._end = monotonic() + self._timeout_s
        self._reason = ""

    def attempts(self) -> Iterator[int]:
        """As often as there is time, with growing pauses. DirectoryUnreachable when it is over."""
        pause = _FIRST_PAUSE_S
        number = 0
        while True:
            yield number
            number += 1
            wait = pause * random()  # noqa: S311
            if monotonic() + wait >= self._end:
                raise self._unreachable([self._reason or "others changed the same at the same time"])
            sleep(wait)
            pause = min(pause * 2, _LAST_PAUSE_S)

    def read(self, call: str, request: Operation) -> Answer:
        """A call that may be made twice. DirectoryUnreachable if no server answers."""
        return self._call(call, request, again=True)

    def read_at_once(self, operations: Sequence[Operation]) -> tuple[int, Sequence[Range]]:
        """The store's revision, and what each operation reads, all at that revision."""
        answer = self._call("kv/txn", {"success": operations}, again=True)
        return answer.revision, self._ranges(answer)

    def transaction(self, conditions: Sequence[Operation], done: Sequence[Operation]) -> Outcome | None:
        """Do all of `done` if all `conditions` hold. None: the outcome is not known.

        DirectoryUnreachable if it is known that nothing was done.
        """
        try:
            answer = self._call("kv/txn", {"compare": conditions, "success": done}, again=False)
        except _OutcomeUnknown as reason:
            self._reason = str(reason)
            return None
        return Outcome(bool(answer.raw.get("succeeded")), answer.revision)

    def stream(self, call: str, request: Operation) -> Stream:
        """An answer of many lines. DirectoryUnreachable as `read`."""
        body = json.dumps(request).encode()
        return self._each_server(lambda connection, until: self._opened(connection, call, body, until), again=True)

    def forget_token(self) -> None:
        """The next request asks for a new one."""
        self._token = ""

    def ended(self, reason: object) -> DirectoryUnreachable:
        """For a stream that ended: the next request goes to the next server."""
        self._next()
        return self._unreachable([str(reason)])

    def understood(self, parse: Callable[[], T]) -> T:
        """What `parse` makes of an answer. DirectoryUnreachable if it is not one of etcd's."""
        try:
            return parse()
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise DirectoryUnreachable(
                f"{self.name} does not answer as etcd does: {type(error).__name__}: {error}",
                hint="look whether the endpoints in the settings are the client URLs of etcd 3.4 or later",
            ) from error

    # ------------------------------------------------------------------------------
    def _call(self, call: str, request: Operation, *, again: bool) -> Answer:
        body = json.dumps(request).encode()
        raw = self._each_server(lambda connection, until: self._answer(connection, call, body, until), again=again)
        return self.understood(lambda: _headed(raw))

    def _ranges(self, answer: Answer) -> Sequence[Range]:
        return self.understood(lambda: [read_range(each["response_range"]) for each in answer.raw["responses"]])

    def _each_server(self, ask: Callable[[Connection, float], T], *, again: bool) -> T:
        """What `ask` gives at the first server that answers. Each one has its part of the time that is left."""
        reasons = []
        for left in range(len(self._endpoints), 0, -1):
            now = monotonic()
            if now >= self._end:
                break
            server = self._endpoints[self._at]
            try:
                return self._ask(server, ask, now + (self._end - now) / left)
            except NoAnswer as error:
                reason = f"{server.url}: {error}"
                self._next()
                if error.sent and not again:
                    raise _OutcomeUnknown(reason) from error
                reasons.append(reason)
            except Failure as failure:
                if not failure.elsewhere:
                    raise failure.error(self.name, self._settings) from failure
                reason = f"{server.url}: {failure}"
                self._next()
                if failure.unknown and not again:
                    raise _OutcomeUnknown(reason) from failure
                reasons.append(reason)
        raise self._unreachable(reasons)

    def _ask(self, server: Endpoint, ask: Callable[[Connection, float], T], until: float) -> T:
        """A token that has run out is renewed once: etcd refuses it before it does anything."""
        connection = self._connected(server, until)
        try:
            if self._settings.username and not self._token:
                self._log_in(connection, until)
            try:
                return ask(connection, until)
            except Failure as failure:
                if not failure.token or not self._settings.username:
                    raise
                self._log_in(connection, until)
                return ask(connection, until)
        except CnmError as error:
            raise DirectoryUnreachable(f"{self.name} cannot be asked: {error.msg}", hint=error.hint) from error

    def _connected(self, server: Endpoint, until: float) -> Connection:
        if self.closed:
            raise DirectoryUnreachable(f"{self.name} is asked no more: it was closed")
        if self._connection is not None and self._connection.fresh():
            return self._connection
        self.close()
        try:
            self._connection = Connection(server, self._tls, until)
        except CnmError as error:
            raise DirectoryUnreachable(f"{self.name} cannot be asked: {error.msg}", hint=error.hint) from error
        return self._connection

    def _next(self) -> None:
        self.close()
        self._at = (self._at + 1) % len(self._endpoints)

    def _log_in(self, connection: Connection, until: float) -> None:
        self._token = ""
        request = {"name": self._settings.username, "password": secret(self._settings.password_file)}
        raw = self._answer(connection, "auth/authenticate", json.dumps(request).encode(), until)
        self._token = str(raw.get("token", "")) if isinstance(raw, dict) else ""

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._token} if self._token else {}

    def _answer(self, connection: Connection, call: str, body: bytes, until: float) -> Json:
        headers = {**_JSON, **self._headers()}
        status, content, _ = connection.ask("POST", f"/v3/{call}", body, headers, until)
        raw = _decoded(content)
        if status == 200 and raw is None:  # also an answer that was cut in its head: http.client does not tell
            raise NoAnswer("its answer is no JSON", sent=True)
        if status != 200 or not isinstance(raw, dict) or "error" in raw:
            raise failure_of(status, raw, content)
        return raw

    def _opened(self, connection: Connection, call: str, body: bytes, until: float) -> Stream:
        # A server that has no leader ends a stream with this: else it says nothing, as a server without changes.
        headers = {**_JSON, **self._headers(), "Grpc-Metadata-hasleader": "true"}
        stream = connection.stream("POST", f"/v3/{call}", body, headers, until)
        if stream.status != 200:
            raise failure_of(stream.status, _decoded(stream.content), stream.content)
        return stream

    def _unreachable(self, reasons: Sequence[str]) -> DirectoryUnreachable:
        return DirectoryUnreachable(
            f"etcd does not answer: {'; '.join(reasons) or f'{self.name} had no time to'}",
            hint="look whether the servers run and are reached, and at the endpoints in the settings",
        )


def _decoded(answer: bytes) -> Json:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _headed(raw: Json) -> Answer:
    """A stream of one answer, as of lease/keepalive, has it in `result`."""
    raw = raw.get("result", raw)
    header = raw["header"]
    return Answer(str(header["cluster_id"]), int(header.get("revision", 0)), raw)
