"""A file that is in memory only: the ssl module reads keys from files, and a kubeconfig's key is to be on no disk."""

from __future__ import annotations

import os


class MemoryFile:
    """A path of it (`os.PathLike`). It ends when nothing refers to it any more."""

    _descriptor = -1

    def __init__(self, name: str, content: bytes) -> None:
        """`name`: for people who look at the process."""
        self._descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
        os.fchmod(self._descriptor, 0o600)
        os.write(self._descriptor, content)

    def __fspath__(self) -> str:
        return f"/proc/self/fd/{self._descriptor}"

    __str__ = __fspath__

    def __del__(self) -> None:
        if self._descriptor >= 0:  # else it could not be made
            os.close(self._descriptor)
