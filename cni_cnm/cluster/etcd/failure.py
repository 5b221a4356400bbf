"""What an error of etcd means: whether another server may do better, and whether the request may have been done."""

from __future__ import annotations

from cni_cnm.errors import DirectoryUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cluster_settings import ClusterSettings
    from cni_cnm.model import Json

_CANCELLED, _UNKNOWN, _INVALID, _DEADLINE, _PERMISSION, _INTERNAL, _UNAVAILABLE = 1, 2, 3, 4, 7, 13, 14
_UNAUTHENTICATED = 16
_ELSEWHERE = (_CANCELLED, _UNKNOWN, _DEADLINE, _INTERNAL, _UNAVAILABLE)
_TOKEN_TEXTS = ("invalid auth token", "user name is empty", "revision of auth store is old")
_FULL = "database space exceeded"
_COMMON_NAME = "CommonName of client"
_SHOWN = 300


class Failure(Exception):
    """An answer of etcd that is an error. `code` is gRPC's."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code

    @property
    def elsewhere(self) -> bool:
        """This server cannot: it has no leader, or stops. Another one may."""
        return self.code in _ELSEWHERE

    @property
    def unknown(self) -> bool:
        """The request may have been done, or will be."""
        return self.elsewhere

    @property
    def token(self) -> bool:
        """A new token may help."""
        return self.code == _UNAUTHENTICATED or of_token(str(self))

    def error(self, name: str, settings: ClusterSettings) -> DirectoryUnreachable:
        """For people."""
        return DirectoryUnreachable(f"{name} refused: {self}", hint=self._hint(settings))

    def _hint(self, settings: ClusterSettings) -> str:
        if _FULL in str(self):
            return "compact and defragment etcd's database, then run: etcdctl alarm disarm"
        if self.code == _PERMISSION and settings.username:
            return f"grant the user {settings.username} to read and write all keys with the prefix {settings.prefix}/"
        if _COMMON_NAME in str(self):
            return (
                "use a certificate without a common name: etcd's gateway takes none that has one while there are users"
            )
        if self.token or self.code == _PERMISSION:
            return "give username and password_file in the settings: etcd's gateway takes no user from a certificate"
        if "authentication failed" in str(self):
            return f"look at username and at {settings.password_file}"
        return ""


def of_token(text: str) -> bool:
    """Whether an error is about the token: it is missing, has run out, or is of before a change of users or roles."""
    return any(each in text for each in _TOKEN_TEXTS)


def failure_of(status: int, raw: Json, text: bytes = b"") -> Failure:
    """Of an answer with this HTTP status; `raw` None: it was no JSON, but `text`."""
    if isinstance(raw, dict) and isinstance(raw.get("error"), dict):
        raw = raw["error"]
    if not isinstance(raw, dict):
        said = f"HTTP status {status}, and no JSON: {_printable(text.decode(errors='replace'))}"
        return Failure(said, _UNAVAILABLE if status >= 500 else _INVALID)
    reason = str(raw.get("message") or raw.get("error") or f"HTTP status {status}")
    code = raw.get("code", raw.get("grpc_code"))
    known = code if isinstance(code, int) else _UNKNOWN
    return Failure(_printable(reason), known)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text[:_SHOWN]).strip()
