"""Writes parts into a tar archive of JSON files that only its owner can read."""

from __future__ import annotations

import io
import json
import os
import tarfile

from cni_cnm.errors import IoFailed, file_hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.model import Json


def write(path: str, parts: Iterable[tuple[str, Json]]) -> list[str]:
    """The names of the files in it. IoFailed if it exists already, or cannot be written; then nothing is left."""
    names = []
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise IoFailed(f"the archive {path} cannot be made: {error.strerror}", hint="name another file") from error
    try:
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, value in parts:
                raw = json.dumps(value, indent=1).encode() + b"\n"
                entry = tarfile.TarInfo(f"cni-cnm-support/{name}.json")
                entry.size, entry.mode = len(raw), 0o600
                archive.addfile(entry, io.BytesIO(raw))
                names.append(entry.name)
    except OSError as error:
        os.unlink(path)
        raise IoFailed(f"the archive {path} cannot be written: {error.strerror}", hint=file_hint(error)) from error
    except BaseException:
        os.unlink(path)
        raise
    return names
