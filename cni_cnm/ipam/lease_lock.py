"""The lock of a lease folder, which the reference executable takes as well: flock(2) on the file `lock` in it.

The folder is opened before the lock, and every file in it by that descriptor: a link that replaces the folder
meanwhile leads nowhere. The lock of a folder that was removed locks nothing, so then it is taken again.
"""

from __future__ import annotations

import fcntl
import os

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
        self.folder = -1
        """Descriptor of the folder, while the lock is held."""

    def __enter__(self) -> None:
        try:
            while not self._taken():
                self._close()
        except OSError as error:
            self._close()
            raise IoFailed(f"the lease lock {self._path} cannot be taken: {error.strerror}") from error
        except BaseException:
            self._close()
            raise

    def __exit__(self, *_: object) -> None:
        self._close()

    def _taken(self) -> bool:
        """False if the folder was removed meanwhile."""
        self.folder = self._open_folder()
        try:
            self._descriptor = self._open("lock")
        except FileNotFoundError:
            return False
        self._acquire()
        held = os.fstat(self._descriptor)
        return held.st_nlink > 0 or self._is_there(held)

    def _is_there(self, held: os.stat_result) -> bool:
        """Some FUSE file systems count no links."""
        try:
            return os.path.samestat(held, os.lstat(self._path))
        except FileNotFoundError:
            return False

    def _open_folder(self) -> int:
        """Not through a link: its owner would choose where root writes."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._folder, flags)
        except FileNotFoundError:
            make_folder(self._folder, 0o755)
            return os.open(self._folder, flags)
        except OSError as error:
            if not os.path.islink(self._folder):
                raise
            raise IoFailed(
                f"the lease folder {self._folder} is a symbolic link",
                hint="replace it by a folder with the leases in it, or set ipam.dataDir to another folder",
            ) from error

    def _open(self, name: str) -> int:
        flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            return os.open(name, flags, 0o750, dir_fd=self.folder)
        except IsADirectoryError:
            self._path = f"{self._folder}/lock/lock"
            return os.open("lock/lock", flags, 0o750, dir_fd=self.folder)

    def _acquire(self) -> None:
        if not wait_for(lambda: fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), self._timeout_s):
            raise TryAgain(
                f"another process holds the lease lock {self._path} for more than {self._timeout_s:g} s",
                hint=f"`fuser -v {self._path}` shows the process",
            )

    def _close(self) -> None:
        """The lock first."""
        for descriptor in (self._descriptor, self.folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self.folder = -1
