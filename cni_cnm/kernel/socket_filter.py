"""Attaches a filter to a socket: a program in the classic language of bpf(4), which the kernel runs for each packet."""

from __future__ import annotations

import ctypes
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Instruction = tuple[int, int, int, int]
    """Code, how many to skip if it holds and if it does not, operand."""

_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")
"""struct sock_filter, struct sock_fprog."""


def attach(sock: socket.socket, instructions: Iterable[Instruction]) -> None:
    """OSError if the kernel refuses the program."""
    program = b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)
    code = ctypes.create_string_buffer(program)
    described = _PROGRAM.pack(len(program) // _INSTRUCTION.size, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
