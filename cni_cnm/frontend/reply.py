"""The answer to a call: exit code, what goes to stdout and stderr, a line for the log."""

from __future__ import annotations

import os
import sys
from errno import EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOLCK, ENOMEM

from cni_cnm.errors import CnmError, IoFailed, Several, TryAgain
from cni_cnm.frontend.one_line import one_line
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SCARCE = {
    EMFILE: "open files are limited: LimitNOFILE= of the service or of the runtime, `ulimit -n`",
    ENFILE: "open files are limited: `sysctl fs.file-nr fs.file-max`",
    ENOMEM: "`free`, and `dmesg` for what was killed",
    ENOBUFS: "`free`, and `sysctl net.core.rmem_max`",
    EAGAIN: "processes are limited: TasksMax= of the service or of the runtime, `ulimit -u`",
    ENOLCK: "`free`: the kernel has no memory for a lock",
}
_CAUSES_MAX = 16
_WRITE_TRIES = 3


class Subject(NamedTuple):
    """What a request is about, for the log and for metrics. "" for what is not known."""

    verb: str = ""
    network: str = ""
    container: str = ""
    ifname: str = ""
    pod: str = ""
    """NAMESPACE/NAME."""
    endpoint: str = ""
    """Docker's, shortened."""


class Reply(NamedTuple):
    code: int
    """Exit code."""
    out: bytes
    err: str = ""
    summary: str = ""
    """The request in one line: verb, network, container/interface, pod, result."""
    subject: Subject = Subject()
    error: int = 0
    """Code of the error object; 0: the request was successful."""


def write_stdout(answer: bytes) -> None:
    """Write the whole answer. OSError if that fails three times."""
    failures = 0
    while answer:
        try:
            answer = answer[os.write(1, answer) :]
        except OSError:
            failures += 1
            if failures == _WRITE_TRIES:
                raise


def warnings(sentences: Sequence[str]) -> str:
    return "".join(f"cni-cnm: {one_line(sentence)}\n" for sentence in sentences)


def as_cnm_error(error: Exception) -> CnmError:
    """Any failure as the one error that a caller is shown.

    TryAgain if its cause is that the host has run out of something: a later call may work, whatever this one was doing.
    """
    if number := _scarcity(error):
        hint = _SCARCE[number]
        said = error.msg if isinstance(error, CnmError) else str(error) or type(error).__name__
        return _with_notes(TryAgain(f"this host has run out of something: {said}", hint=hint), error)
    if isinstance(error, CnmError):
        return error
    if isinstance(error, ImportError) or _half_loaded(error):
        hint = "install cni-cnm again if this goes on"
        return _with_notes(TryAgain(f"a part of the program cannot be loaded: {error}", hint=hint), error)
    if isinstance(error, OSError):
        return _with_notes(IoFailed(f"a system call failed: {error}"), error)
    wrapped = CnmError(
        f"internal error: {type(error).__name__}: {error}",
        hint="this is a fault of cni-cnm; please report it with the output under CNI_CNM_DEBUG=1",
    )
    return _with_notes(wrapped, error)


def _scarcity(error: BaseException | None) -> int:
    """The errno of what the host has run out of; 0 if the failure has another cause."""
    for _ in range(_CAUSES_MAX):  # causes can lead back to an error that was seen
        if error is None:
            break
        if isinstance(error, Several):
            return next(filter(None, map(_scarcity, error.errors)), 0)
        number = ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None)
        if number is None and isinstance(error, ImportError | OSError):  # the loader of libraries gives only text
            number = next((scarce for scarce in (EMFILE, ENFILE, ENOMEM) if os.strerror(scarce) in str(error)), None)
        if number in _SCARCE:
            return number
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)  # `from None`
    return 0


def _half_loaded(error: Exception) -> bool:
    """Whether it is of a package without content. Python makes one where the kernel refuses to look for its file."""
    module = getattr(error, "obj", None) if isinstance(error, AttributeError) else None
    return isinstance(module, type(sys)) and getattr(module, "__file__", None) is None


def _with_notes(wrapped: CnmError, error: Exception) -> CnmError:
    for note in getattr(error, "__notes__", ()):
        wrapped.add_note(note)
    return wrapped
