"""A client of a Kubernetes API server for tests: JSON over HTTPS, with a bearer token.

    api.get("nodes")                              the list's items; api.get("nodes/node1"): the object
    api.create("nodes", {…})                      POST
    api.patch("nodes/node1", {…})                 a merge patch
    api.delete("pods/a")                          no error if absent

A path without a leading slash is below /api/v1, or below /api/v1/namespaces/default for kinds that have a namespace.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from http.client import HTTPException, HTTPSConnection
from typing import Any

from tests.waiting import until

MERGE = "application/merge-patch+json"
_OF_CLUSTER = ("nodes", "namespaces")


class ApiError(Exception):
    """What the server answered instead: its status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class _Connection(HTTPSConnection):
    def __init__(self, host: str, port: int, context: ssl.SSLContext, connect: Callable[[], socket.socket]) -> None:
        super().__init__(host, port, context=context, timeout=30)
        self._trusted, self._connect = context, connect

    def connect(self) -> None:
        plain = self._connect()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body are sent one after the other
        self.sock = self._trusted.wrap_socket(plain, server_hostname=self.host)


class ApiClient:
    """`connect` makes the connected socket, so that the server may be in another network namespace."""

    def __init__(self, host: str, port: int, ca: str, token: str, connect: Callable[[], socket.socket]) -> None:
        self._host, self._port, self._token, self._connect = host, port, token, connect
        self._context = ssl.create_default_context(cafile=ca)
        self.headers: dict[str, str] = {}
        """More of them, for each request."""

    def request(self, method: str, path: str, body: object = None, content: str = "application/json") -> Any:
        """The decoded answer; ApiError if the status is not 2xx."""
        connection = _Connection(self._host, self._port, self._context, self._connect)
        try:
            connection.request(
                method, _full(path), None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {self._token}", "Content-Type": content, "Accept": "application/json",
                 **self.headers},
            )  # fmt: skip
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise ApiError(answer.status, text)
        return json.loads(text) if text.startswith(("{", "[")) else text

    def get(self, path: str) -> Any:
        found = self.request("GET", path)
        return found["items"] if isinstance(found, dict) and "items" in found else found

    def create(self, path: str, body: dict[str, Any]) -> Any:
        return self.request("POST", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self.request("PATCH", path, body, MERGE)

    def delete(self, path: str, *, grace: int | None = None) -> None:
        body = {} if grace is None else {"gracePeriodSeconds": grace}
        try:
            self.request("DELETE", path, body)
        except ApiError as error:
            if error.status != 404:
                raise

    def there(self, path: str) -> bool:
        try:
            self.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    def ready(self) -> bool:
        try:
            return bool(self.request("GET", "/readyz") == "ok" and self.there("namespaces/default"))
        except (ApiError, OSError, HTTPException):
            return False

    def wait(self, path: str, true: Callable[[Any], object], what: str, limit: float = 60) -> Any:
        """Until `true` of the object; the object."""
        seen: list[Any] = [None]

        def ready() -> bool:
            seen[0] = self.get(path)
            return bool(true(seen[0]))

        until(ready, what, limit, lambda: json.dumps(seen[0])[:4000])
        return seen[0]


def _full(path: str) -> str:
    if path.startswith("/"):
        return path
    kind = path.partition("?")[0].partition("/")[0]
    return f"/api/v1/{path}" if kind in _OF_CLUSTER else f"/api/v1/namespaces/default/{path}"
