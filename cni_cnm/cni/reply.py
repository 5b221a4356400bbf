"""The answer to a call: exit code, the object on stdout, warnings on stderr, a line for the log."""

from __future__ import annotations

from errno import EMFILE, ENFILE, ENOMEM
from typing import NamedTuple

from cni_cnm.cni.result import dump
from cni_cnm.errors import CnmError, TryAgain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ERROR_VERSION = "1.0.0"
"""Of an error object where the configuration's version is not known."""
_MSG_LIMIT = 2000
_NEVER = (0, 999)
"""Codes that mean nothing to a runtime."""
_SCARCE = {
    EMFILE: "open files are limited: LimitNOFILE= of the service or of the runtime, `ulimit -n`",
    ENFILE: "open files are limited: `sysctl fs.file-nr fs.file-max`",
    ENOMEM: "`free`, and `dmesg` for what was killed",
}


class Reply(NamedTuple):
    code: int
    """Exit code."""
    out: bytes
    err: str = ""
    summary: str = ""
    """The request in one line: verb, network, container/interface, pod, result."""


def warnings(sentences: Sequence[str]) -> str:
    return "".join(f"cni-cnm: {_plain(sentence)}\n" for sentence in sentences)


def failure(error: CnmError, version: str, *, err: str = "", summary: str = "") -> Reply:
    """The error object on stdout. `msg` carries the hint too, because runtimes show nothing else."""
    details = "; ".join(part for part in (error.details, *getattr(error, "__notes__", ())) if part)
    code = CnmError.code if error.code in _NEVER else error.code
    document = {
        "cniVersion": version or _ERROR_VERSION,
        "code": code,
        "msg": _plain(str(error)),
        **({"details": details} if details else {}),
    }
    return Reply(1, dump(document), err, f"{summary} failed, code {code}: {_plain(error.msg)}".strip())


def internal(error: Exception) -> CnmError:
    """A defect of this program, or a resource that the host has used up, as an error that a runtime can show."""
    if isinstance(error, OSError) and error.errno in _SCARCE:
        wrapped: CnmError = TryAgain(f"this host has run out of something: {error}", hint=_SCARCE[error.errno])
    else:
        wrapped = CnmError(
            f"internal error: {type(error).__name__}: {error}",
            hint="this is a fault of cni-cnm; please report it with the output under CNI_CNM_DEBUG=1",
        )
    for note in getattr(error, "__notes__", ()):
        wrapped.add_note(note)
    return wrapped


def _plain(text: str) -> str:
    """One line of bounded length that every stream accepts. Hostile text cannot add a second line to a log."""
    safe = text.encode(errors="backslashreplace").decode()
    flat = "".join(character if character.isprintable() else repr(character)[1:-1] for character in safe)
    return flat if len(flat) <= _MSG_LIMIT else f"{flat[:_MSG_LIMIT]}…"
