"""The error object of CNI (SPEC "Error"), on stdout with exit code 1."""

from __future__ import annotations

from cni_cnm.cni.result import dump
from cni_cnm.errors import CnmError
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.reply import Reply, Subject

_VERSION = "1.0.0"
"""If the configuration's version is not known."""
_NEVER = (0, 999)
"""Codes that mean nothing to a runtime."""


def failure(
    error: CnmError,
    version: str,
    *,
    err: str = "",
    summary: str = "",
    subject: Subject | None = None,
    code: int = 0,
) -> Reply:
    """The error object on stdout. `msg` carries the hint too, because runtimes show nothing else.

    `code`: the code that is given in place of the error's own.
    """
    details = "; ".join(part for part in (error.details, *getattr(error, "__notes__", ())) if part)
    code = code or (CnmError.code if error.code in _NEVER else error.code)
    document = {
        "cniVersion": version or _VERSION,
        "code": code,
        "msg": one_line(str(error)),
        **({"details": details} if details else {}),
    }
    line = f"{summary} failed, code {code}: {one_line(error.msg)}".strip()
    return Reply(1, dump(document), err, line, subject or Subject(), code)
