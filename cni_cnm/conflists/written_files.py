"""Which files the agent has written for the runtime, also by earlier settings. scripts/install --uninstall reads it.

STATE_DIR/cluster/conflists     a path each line
"""

from __future__ import annotations

from cni_cnm.errors import IoFailed, file_hint
from cni_cnm.state import small_files


def path(state_dir: str) -> str:
    return f"{state_dir}/cluster/conflists"


def add(state_dir: str, conflist: str) -> None:
    """Record a file. One writer: the agent. IoFailed if that is not possible."""
    try:
        before = small_files.read(path(state_dir)).decode(errors="surrogateescape").splitlines()
    except OSError:
        before = []  # none yet, or damaged: the file of the present settings is found without it
    if conflist in before:
        return
    text = "".join(f"{line}\n" for line in (*before, conflist))
    try:
        small_files.replace(path(state_dir), text.encode(errors="surrogateescape"))
    except OSError as error:
        raise IoFailed(f"{path(state_dir)} cannot be written: {error.strerror}", hint=file_hint(error)) from error
