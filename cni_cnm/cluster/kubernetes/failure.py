"""An answer of the Kubernetes API that is an error: a Status object, or what a proxy before it says."""

from __future__ import annotations

import json

from cni_cnm.errors import DirectoryUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import Json

_SHOWN = 300
_WAIT_MAX_S = 300.0


class Failure(Exception):
    """`status` is HTTP's, `reason` Kubernetes' word for it, `wait_s` for how long the server wants not to be asked."""

    def __init__(self, text: str, status: int, reason: str = "", wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.wait_s = wait_s

    @property
    def expired(self) -> bool:
        """What was asked for is too old: the API server has forgotten it (410)."""
        return self.status == 410 or self.reason in ("Expired", "Gone")

    @property
    def other_uid(self) -> bool:
        """A patch was for an object that is gone, and another one has its name (409, or 422 of 1.36)."""
        return self.status == 409 or (self.status == 422 and "metadata.uid" in str(self))

    @property
    def ahead(self) -> bool:
        """What was asked for is newer than what this API server has (cacher: "Too large resource version")."""
        return "Too large resource version" in str(self)

    @property
    def passing(self) -> bool:
        """The server has a difficulty, or a token was replaced. The same request may succeed later."""
        return not (self.expired or self.ahead) and (self.status in (401, 429) or self.status >= 500)

    def error(self, name: str, rights: str) -> DirectoryUnreachable:
        """For people. `rights`: as whom it was asked."""
        return DirectoryUnreachable(f"{name} refused: {self}", hint=self._hint(rights))

    def _hint(self, rights: str) -> str:
        if self.status == 401:
            return f"look whether the credentials are of this cluster, and still valid: {rights}"
        if self.status == 403:
            return (
                f"allow get, list and watch of nodes, and patch of nodes/status, to {rights}: "
                "conf/kubernetes/cni-cnm.yaml has the ClusterRole"
            )
        if self.status == 404:
            return "look whether the server is a Kubernetes API, and whether the Node is there: `kubectl get nodes`"
        return ""


def failure_of(status: int, content: bytes, retry_after: str = "") -> Failure:
    """Of an answer with this HTTP status, or of an ERROR event."""
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError):
        raw = None
    wait_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 9 else 0.0
    return of_status(raw, status, min(wait_s, _WAIT_MAX_S), printable(content[:_SHOWN].decode(errors="replace")))


def of_status(raw: Json, status: int, wait_s: float = 0.0, text: str = "") -> Failure:
    """`raw`: a Status object, if it is one; else `text` is shown."""
    if not isinstance(raw, dict):
        return Failure(f"HTTP status {status}{f': {text}' if text else ''}", status, "", wait_s)
    code, reason, message = raw.get("code"), raw.get("reason"), raw.get("message")
    known = code if isinstance(code, int) and not isinstance(code, bool) else status
    said = printable(message) if isinstance(message, str) and message else f"HTTP status {status}"
    return Failure(said, known, reason if isinstance(reason, str) else "", wait_s)


def printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text[:_SHOWN]).strip()
