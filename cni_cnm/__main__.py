"""Chooses the frontend, and imports nothing else: every pod pays.

With CNI_COMMAND it is CNI's, with create, setup, teardown or info as argument netavark's, else the command line.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_TRY_AGAIN = 11
_OF_NETAVARK = ("create", "setup", "teardown", "info")


def main() -> int:
    command = os.environ.get("CNI_COMMAND")
    try:
        return _answer(command)
    except SystemExit as ended:
        if not command:
            raise
        return _unanswered(ended)
    except Exception as error:
        if command:
            return _unanswered(error)
        if os.environ.get("CNI_CNM_DEBUG"):
            raise
        sys.stderr.write(f"cni-cnm: the program cannot be loaded: {error}\n")
        return _TRY_AGAIN


def _answer(command: str | None) -> int:
    if command == "VERSION":
        from cni_cnm.cni.versions import answer

        sys.stdout.write(answer(os.path.basename(sys.argv[0])))
        return 0
    os.umask(0o022)  # modes of files and folders are ours, not the caller's
    if command:
        import gc

        from cni_cnm.cni.process import run

        gc.disable()  # what a call leaves behind goes with its process
        return run(os.environ, sys.argv[0])
    _restore_stderr()
    if sys.argv[1:2] and sys.argv[1] in _OF_NETAVARK:
        from cni_cnm.netavark.process import run as run_netavark

        return run_netavark(os.environ, sys.argv[1:])
    from cni_cnm.cli import run_command

    return run_command(sys.argv)


def _restore_stderr() -> None:
    """The relay shows what a program that cannot be loaded has written to stderr as one sentence (build/relay.c)."""
    kept = os.environ.pop("CNI_CNM_STDERR", "")
    if kept.isdigit():
        os.dup2(int(kept), 2)
        os.close(int(kept))


def _unanswered(error: BaseException) -> int:
    """The error object of a call that has no answer, because a module cannot be loaded, for one. Loads nothing."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else " " for c in f"{type(error).__name__}: {error}")
    msg = f"the program cannot be loaded or cannot answer: {plain}"
    os.write(1, f'{{"cniVersion": "1.0.0", "code": {_TRY_AGAIN}, "msg": "{msg}"}}\n'.encode())
    return 1


def _end(code: int) -> NoReturn:
    """End the process without the interpreter's own end, a tenth of a call: it would free each object."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError):  # the caller has closed it
            pass
    os._exit(code)


if __name__ == "__main__":
    if os.environ.get("CNI_COMMAND"):
        _end(main())
    sys.exit(main())
