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
