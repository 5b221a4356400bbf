"""The answer to a call: exit code, what goes to stdout and stderr, a line for the log."""

from __future__ import annotations

from errno import EMFILE, ENFILE, ENOMEM

from cni_cnm.errors import CnmError, TryAgain
from cni_cnm.frontend.one_line import one_line
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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
    return "".join(f"cni-cnm: {one_line(sentence)}\n" for sentence in sentences)


def internal(error: Exception) -> CnmError:
    """A defect of this program as an error that a runtime can show."""
    wrapped = CnmError(
        f"internal error: {type(error).__name__}: {error}",
        hint="this is a fault of cni-cnm; please report it with the output under CNI_CNM_DEBUG=1",
    )
    return _with_notes(wrapped, error)


def exhausted(error: Exception) -> CnmError | None:
    """TryAgain for a failure whose cause is that the host has no more of something; None for another one.

    A later call may work, whatever this one was doing.
    """
    cause: BaseException | None = error
    while cause is not None:
        hint = _SCARCE.get(getattr(cause, "errno", None) or 0)
        if hint is not None:
            said = error.msg if isinstance(error, CnmError) else error
            return _with_notes(TryAgain(f"this host has run out of something: {said}", hint=hint), error)
        cause = cause.__cause__ or cause.__context__
    return None


def _with_notes(wrapped: CnmError, error: Exception) -> CnmError:
    for note in getattr(error, "__notes__", ()):
        wrapped.add_note(note)
    return wrapped
