"""What a terminal of a given width is sent."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable

import pytest


def shown(monkeypatch: pytest.MonkeyPatch, width: int, act: Callable[[], object], **environ: str) -> str:
    """What `act` prints in a process of its own whose stdout is a terminal. Lines end as the program ends them."""
    for name in ("NO_COLOR", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **environ}.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    child = os.fork()
    if child == 0:
        os.close(ours)
        os.dup2(theirs, 1)
        with open(1, "w", encoding="utf-8", closefd=False) as sys.stdout:
            act()
        os._exit(0)
    os.close(theirs)
    got: list[bytes] = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not part:
            break
        got.append(part)
    os.close(ours)
    assert os.waitpid(child, 0)[1] == 0
    return b"".join(got).decode()


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
