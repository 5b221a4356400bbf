"""One small file: read at once, and replaced at once. System calls are few: open() makes nine for a read.

No file is opened through a symbolic link, and none is waited for: a pipe in the place of a file is an error.
Files are made with mode 0600 and folders with the mode given: the process's umask adds nothing to it.
"""

from __future__ import annotations

import os
from errno import EFBIG, EISDIR, EOPNOTSUPP

_READ_BYTES = 64 << 10
SIZE_MAX = 16 << 20
"""Bytes. The largest record has a few KiB for each endpoint or reservation that it lists."""
_NO_TMPFILE = (EOPNOTSUPP, EISDIR)
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def read(path: str) -> bytes:
    """The whole content. OSError (EFBIG) for more than SIZE_MAX."""
    descriptor = os.open(path, os.O_RDONLY | _SAFE)
    try:
        return read_open(descriptor)
    finally:
        os.close(descriptor)


def read_open(descriptor: int) -> bytes:
    """The same of a file that is open."""
    parts = []
    while part := os.read(descriptor, _READ_BYTES):
        parts.append(part)
        if len(part) < _READ_BYTES:
            break
        if len(parts) * _READ_BYTES > SIZE_MAX:
            raise OSError(EFBIG, os.strerror(EFBIG))
    return b"".join(parts)


def write(
    path: str,
    data: bytes,
    flags: int = os.O_CREAT | os.O_TRUNC,
    *,
    durable: bool = False,
    folder: int | None = None,
) -> None:
    """Write the file in its place; a reader may see a part.

    `flags` of open(2); `durable`: on the disk on return; `folder`: descriptor of the folder where `path` begins.
    """
    descriptor = os.open(path, os.O_WRONLY | _SAFE | flags, 0o600, dir_fd=folder)
    try:
        _write(descriptor, data)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(
    path: str, data: bytes, *, durable: bool = False, mtime_ns: int | None = None, folder: int | None = None
) -> None:
    """Make a file; FileExistsError if there is one. Nothing is left of one that is not written whole, also by a kill.

    The file gets its name when it is complete: until then it has none, and the kernel frees it with its descriptor.
    `mtime_ns`: the modification time it gets; `folder`: descriptor of the folder where `path` begins.
    """
    try:
        above = os.path.dirname(path) or "."
        descriptor = os.open(above, os.O_WRONLY | os.O_CLOEXEC | os.O_TMPFILE, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno not in _NO_TMPFILE:
            raise
        _create_by_name(path, data, durable=durable, folder=folder)
        if mtime_ns is not None:
            os.utime(path, ns=(mtime_ns, mtime_ns), dir_fd=folder)
        return
    try:
        _write(descriptor, data)
        if mtime_ns is not None:
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        if durable:
            os.fsync(descriptor)
        # With a descriptor Python calls linkat(2), which follows the link in /proc.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, dst_dir_fd=folder)
    finally:
        os.close(descriptor)


def _create_by_name(path: str, data: bytes, *, durable: bool, folder: int | None) -> None:
    """On a file system without O_TMPFILE, such as NFS. A kill can leave an empty file."""
    descriptor = os.open(path, os.O_WRONLY | _SAFE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    try:
        _write(descriptor, data)
        if durable:
            os.fsync(descriptor)
    except OSError:
        os.unlink(path, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)


def replace(path: str, data: bytes, *, durable: bool = False) -> None:
    """Replace the file by rename, and make its folder: a reader sees the old content or the new one, also after a kill.

    One writer at a time: the temporary file is `temporary(path)`. A kill can leave it beside the old one. Where there
    is no file yet, use `create`.
    """
    new = temporary(path)
    try:
        try:
            write(new, data, durable=durable)
        except FileNotFoundError:
            make_folder(os.path.dirname(path), 0o700)
            write(new, data, durable=durable)
        os.rename(new, path)
    except OSError:
        try:
            os.unlink(new)
        except OSError:
            pass
        raise


def make_folder(path: str, mode: int) -> None:
    """Make a folder and those above it that are missing, all with this mode. No error if it is there.

    os.makedirs() makes the ones above with 0777, which is world-writable under the umask 0.
    """
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        pass
    except FileNotFoundError:
        make_folder(os.path.dirname(path), mode)
        try:
            os.mkdir(path, mode)
        except FileExistsError:  # by another process, meanwhile
            pass


def remove(path: str) -> None:
    """No error if absent."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def temporary(path: str) -> str:
    """Where the new content is while `replace` writes it. A kill can leave it behind."""
    return f"{path}.tmp"


def _write(descriptor: int, data: bytes) -> None:
    while data:  # a file system that is full takes a part and refuses the rest
        data = data[os.write(descriptor, data) :]
