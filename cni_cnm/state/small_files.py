"""One small file: read at once, and replaced at once. System calls are few: open() makes nine for a read."""

from __future__ import annotations

import os

_READ_BYTES = 64 << 10


def read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _READ_BYTES):
            parts.append(part)
            if len(part) < _READ_BYTES:
                break
        return b"".join(parts)
    finally:
        os.close(descriptor)


def write(path: str, data: bytes, flags: int = os.O_CREAT | os.O_TRUNC, *, durable: bool = False) -> None:
    """Write the file in its place; a reader may see a part. `flags` of open(2); `durable`: on the disk on return."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    try:
        _write(descriptor, data)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: str, data: bytes) -> None:
    """Make a file; FileExistsError if there is one. Nothing is left of one that cannot be written whole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _write(descriptor, data)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def replace(path: str, data: bytes, *, durable: bool = False, mtime_ns: int | None = None) -> None:
    """Replace the file by rename, and make its folder: a reader sees the old content or the new one, also after a kill.

    One writer at a time: the temporary file is `temporary(path)`. `mtime_ns`: the modification time it gets.
    """
    new = temporary(path)
    try:
        try:
            write(new, data, durable=durable)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            write(new, data, durable=durable)
        if mtime_ns is not None:
            os.utime(new, ns=(mtime_ns, mtime_ns))
        os.rename(new, path)
    except OSError:
        try:
            os.unlink(new)
        except OSError:
            pass
        raise


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
