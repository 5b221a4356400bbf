"""The lock of a lease folder, which the reference executable takes as well: flock(2) on the file `lock` in it."""

from __future__ import annotations

import fcntl
import os
from stat import S_ISLNK

from cni_cnm.errors import IoFailed, TryAgain
from cni_cnm.state.lock import wait_for
from cni_cnm.state.small_files import make_folder

TIMEOUT_S = 30.0


class LeaseLock:
    """A context manager that makes the folder if it is missing. TryAgain if the lock cannot be had in `timeout_s`.

    The reference waits without a limit. A runtime that stops waiting leaves the process behind, so there is one here.
    """

    def __init__(self, folder: str, timeout_s: float = TIMEOUT_S) -> None:
        self._folder = folder
        self._path = f"{folder}/lock"
        self._timeout_s = timeout_s
        self._descriptor = -1

    def __enter__(self) -> None:
        try:
            self._refuse_link()
            self._descriptor = self._open()
            self._acquire()
        except OSError as error:
            self._close()
            raise IoFailed(f"the lease lock {self._path} cannot be taken: {error.strerror}") from error
        except BaseException:
            self._close()
            raise

    def __exit__(self, *_: object) -> None:
        self._close()

    def _open(self) -> int:
        flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            return os.open(self._path, flags, 0o750)
        except FileNotFoundError:
            make_folder(self._folder, 0o755)
            return os.open(self._path, flags, 0o750)
        except IsADirectoryError:
            self._path += "/lock"
            return os.open(self._path, flags, 0o750)

    def _refuse_link(self) -> None:
        """A link below dataDir would let its owner choose where root writes."""
        try:
            found = os.lstat(self._folder)
        except FileNotFoundError:
            return
        if S_ISLNK(found.st_mode):
            raise IoFailed(
                f"the lease folder {self._folder} is a symbolic link",
                hint="replace it by a folder with the leases in it, or set ipam.dataDir to another folder",
            )

    def _acquire(self) -> None:
        if not wait_for(lambda: fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), self._timeout_s):
            raise TryAgain(
                f"another process holds the lease lock {self._path} for more than {self._timeout_s:g} s",
                hint=f"`fuser -v {self._path}` shows the process",
            )

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
