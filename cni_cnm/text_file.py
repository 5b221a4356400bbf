"""Reads a text file that another program or the administrator wrote: it is never waited for, and never large."""

from __future__ import annotations

import os
import stat
from errno import EFBIG, EINVAL

SIZE_MAX = 1 << 20
"""Bytes. Files of settings, of resolvers and of Docker plugins have a few KiB."""


def read(path: str) -> bytes:
    """The content; symbolic links are followed.

    OSError for a pipe, a device or a folder, and for more than SIZE_MAX.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(EINVAL, "it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(SIZE_MAX + 1)
    finally:
        os.close(descriptor)
    if len(content) > SIZE_MAX:
        raise OSError(EFBIG, f"it is larger than {SIZE_MAX >> 20} MiB")
    return content
