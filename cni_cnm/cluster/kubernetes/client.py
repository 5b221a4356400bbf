"""Requests to the Kubernetes API: one connection, a time limit for each request, and what an answer means.

A server that says for how long it wants not to be asked (Retry-After) is not asked in that time: calls fail at once.
"""

from __future__ import annotations

import json
import os
from time import monotonic

from cni_cnm.cluster.http.connection import Connection, NoAnswer
from cni_cnm.cluster.kubernetes.credentials import Credentials
from cni_cnm.cluster.kubernetes.failure import Failure, failure_of
from cni_cnm.errors import CnmError, DirectoryUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeVar

    from cni_cnm.cluster.http.connection import Pieces, Stream
    from cni_cnm.cluster.kubernetes.access import Access
    from cni_cnm.cluster_settings import ClusterSettings
    from cni_cnm.model import Json

    T = TypeVar("T")

_UNAUTHORIZED = 401
_HEADERS = {"Accept": "application/json", "User-Agent": "cni-cnm"}
_JSON = {"Content-Type": "application/json"}
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


class NotBefore:
    """Until when the server wants not to be asked. The clients of one process share it."""

    def __init__(self) -> None:
        self._told = 0.0, ""

    def put(self, wait_s: float, why: str) -> None:
        self._told = max(self._told, (monotonic() + wait_s, why))

    def left(self) -> tuple[float, str]:
        """Seconds, not above 0 if it may be asked, and the server's reason."""
        until, why = self._told
        return until - monotonic(), why


class Client:
    """One thread uses it at a time; another one may `cut` it."""

    def __init__(self, settings: ClusterSettings, timeout_s: float, not_before: NotBefore) -> None:
        self._credentials = Credentials(settings, os.environ)
        self._timeout_s = timeout_s
        self._end = 0.0
        self._not_before = not_before
        self._connection: Connection | None = None
        self._access: Access | None = None
        self.closed = False
        self.name = self._credentials.name

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
    def begin(self, times: float = 1.0) -> None:
        """What follows ends within the time limit, or a multiple of it."""
        self._end = monotonic() + self._timeout_s * times

    def time_left(self) -> float:
        return self._end - monotonic()

    def read(self, path: str) -> bytes:
        """The body of a successful answer. Failure, or DirectoryUnreachable if there is no answer."""
        return self._tried(lambda: self._ask("GET", path, None, {}), again=True)

    def pieces(self, path: str, size_max: int) -> Iterator[bytes]:
        """As `read`, in parts as they come. All must be read."""
        pieces = self._tried(lambda: self._begun(path, size_max), again=True)
        try:
            yield from pieces
        except NoAnswer as error:
            raise self.unreachable(error) from error

    def create(self, path: str, value: Json) -> bytes:
        """As `patch`."""
        body = json.dumps(value, separators=(",", ":")).encode()
        return self._tried(lambda: self._ask("POST", path, body, _JSON), again=False)

    def patch(self, path: str, change: Json) -> bytes:
        """A merge patch (RFC 7396). NoAnswer if the outcome is not known; else as `read`."""
        body = json.dumps(change, separators=(",", ":")).encode()
        return self._tried(lambda: self._ask("PATCH", path, body, _MERGE_PATCH), again=False)

    def stream(self, path: str) -> Stream:
        """An answer of many lines. Failure or DirectoryUnreachable as `read`."""
        return self._tried(lambda: self._opened(path), again=True)

    def unreachable(self, reason: object) -> DirectoryUnreachable:
        return DirectoryUnreachable(f"{self.name} does not answer: {reason}")

    def explained(self, failure: Failure) -> DirectoryUnreachable:
        """For people."""
        return failure.error(self.name, self._access.who if self._access else "this host")

    def decoded(self, content: bytes) -> Json:
        """An object. DirectoryUnreachable if it is none."""
        try:
            raw = json.loads(content)
        except (ValueError, RecursionError):
            raw = None
        if not isinstance(raw, dict):
            raise self.strange("its answer is no JSON object")
        return raw

    def strange(self, why: str) -> DirectoryUnreachable:
        """For an answer that Kubernetes does not give."""
        return DirectoryUnreachable(
            f"{self.name} does not answer as Kubernetes does: {why}",
            hint="look whether the server is a Kubernetes API, and not a proxy's page",
        )

    # ------------------------------------------------------------------------------
    def _tried(self, ask: Callable[[], T], *, again: bool) -> T:
        """Once more where that is harmless: a kept connection may be closed just now, a token just replaced."""
        wait_s, why = self._not_before.left()
        if wait_s > 0:
            raise DirectoryUnreachable(f"{self.name} wants not to be asked for {wait_s:.0f} s: {why}")
        kept = self._connection is not None
        try:
            return self._judged(ask)
        except NoAnswer as error:
            self.close()
            if error.sent and not again:
                raise
            if not kept or self.closed or self.time_left() <= 0:
                raise self.unreachable(error) from error
        except Failure as failure:
            if failure.status != _UNAUTHORIZED:
                raise
            self.close()
        try:
            return self._judged(ask)
        except NoAnswer as error:
            self.close()
            if error.sent and not again:
                raise
            raise self.unreachable(error) from error

    def _judged(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except Failure as failure:
            if failure.wait_s and not failure.ahead:  # what is asked next does not wait for that version
                self._not_before.put(failure.wait_s, str(failure))
            raise

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        connection, prefix, common = self._connected()
        status, content, retry_after = connection.ask(method, prefix + path, body, {**common, **headers}, self._end)
        if not 200 <= status < 300:
            raise failure_of(status, content, retry_after)
        return content

    def _begun(self, path: str, size_max: int) -> Pieces:
        connection, prefix, headers = self._connected()
        pieces = connection.pieces("GET", prefix + path, None, headers, self._end, size_max)
        if pieces.status != 200:
            raise failure_of(pieces.status, b"".join(pieces), pieces.retry_after)
        return pieces

    def _opened(self, path: str) -> Stream:
        connection, prefix, headers = self._connected()
        stream = connection.stream("GET", prefix + path, None, headers, self._end)
        if stream.status != 200:
            raise failure_of(stream.status, stream.content, stream.retry_after)
        return stream

    def _connected(self) -> tuple[Connection, str, Mapping[str, str]]:
        """The connection, what stands before each path, and headers."""
        if self.closed:
            raise DirectoryUnreachable(f"{self.name} is asked no more: it was closed")
        try:
            access = self._credentials.access()
            token = access.token()
            if access is not self._access:
                self.close()
                self._access = access
            if self._connection is None or not self._connection.fresh():
                self.close()
                self._connection = Connection(access.endpoint, access.tls, self._end)
        except CnmError as error:
            raise DirectoryUnreachable(f"{self.name} cannot be asked: {error.msg}", hint=error.hint) from error
        headers = {**_HEADERS, "Authorization": f"Bearer {token}"} if token else _HEADERS
        return self._connection, access.path, headers
