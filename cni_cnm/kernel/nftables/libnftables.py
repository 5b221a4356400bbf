"""Runs nft scripts: the host's libnftables in this process, or its `nft` executable where that is missing.

    Library   libnftables.so.1 by ctypes      0.2 ms a script, 6 ms once to load it
    Binary    nft -f -                        5 ms a script

The library is the host's and is never shipped with this program (it is GPL-2). A script that fails has changed nothing
and raises `KernelError` with nft's own message.
"""

from __future__ import annotations

import _socket
import errno
import os
from _thread import allocate_lock

from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel.netlink.header import NETLINK_NETFILTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from typing import Protocol

    class Runner(Protocol):
        def run(self, script: str) -> str:
            """Apply the whole script or nothing. Gives what it printed."""


_NUMERIC = 0x80 | 0x100 | 0x200
"""NFT_CTX_OUTPUT_NUMERIC_PROTO, _PRIO and _SYMBOL: listings never depend on /etc/protocols."""
_HANDLES = 0x8
"""NFT_CTX_OUTPUT_HANDLE."""
_ERRNOS = (
    *(errno.ENOENT, errno.EEXIST, errno.EINTR, errno.EPERM, errno.EBUSY, errno.EOPNOTSUPP, errno.ENOBUFS),
    *(errno.ENOMEM, errno.ENOSPC, errno.ERANGE, errno.EMFILE, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT),
    *(errno.EIO, errno.EINVAL, errno.EPROTO),
)
_UNSUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)
_TIMEOUT = 20.0
"""Seconds for the executable: much more than a script takes, less than a runtime waits."""
_OUTPUT_MAX = 64 << 20
"""Bytes that the executable may print: hundreds of thousands of elements."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Library:
    """One context, created when first used (0.5 ms), and one script at a time. Safe to use from many threads.

    A context is not thread-safe. A transaction that was prepared while another one was applied fails and starts over:
    with sixteen threads at once a script takes 4 ms, one after another 0.3 ms.
    """

    def __init__(self, *, handles: bool = False) -> None:
        self._nft = _load()
        self._flags = _NUMERIC | (_HANDLES if handles else 0)
        self._lock = allocate_lock()
        self._context: _Context | None = None

    def run(self, script: str) -> str:
        with self._lock:
            return self._run(script)

    def _run(self, script: str) -> str:
        nft = self._nft
        if self._context is None:
            self._context = _Context(nft, self._flags)
        handle = self._context.handle
        code = nft.nft_run_cmd_from_buffer(handle, script.encode(errors="surrogateescape"))
        printed: bytes = nft.nft_ctx_get_output_buffer(handle)
        complaint: bytes = nft.nft_ctx_get_error_buffer(handle)
        if code == 0:
            return printed.decode(errors="surrogateescape")
        # its socket may still have answers to the failed script, so the next script gets a new context
        self._context = None
        raise failure(complaint.decode(errors="replace"))


class _Context:
    """A `struct nft_ctx`, whose netlink socket is of the current namespace. Freed with this object."""

    def __init__(self, nft: ctypes.CDLL, flags: int) -> None:
        self._free = nft.nft_ctx_free
        self.handle = None
        probe()
        self.handle = nft.nft_ctx_new(0)
        nft.nft_ctx_output_set_flags(self.handle, flags)
        if nft.nft_ctx_buffer_output(self.handle) or nft.nft_ctx_buffer_error(self.handle):
            raise KernelError("libnftables has no memory for its output", errno.ENOMEM)

    def __del__(self) -> None:
        if self.handle:
            self._free(self.handle)


class Binary:
    """The `nft` executable, with an environment of our own."""

    def __init__(self, *, handles: bool = False) -> None:
        self._command = ("nft", "--numeric", *(("--handle",) if handles else ()), "--file", "-")

    def run(self, script: str) -> str:
        from subprocess import PIPE, Popen, TimeoutExpired

        from cni_cnm.child_output import OutputTooLong, communicate
        from cni_cnm.waiting import waiting

        probe()
        environment = {"PATH": _PATH, "LC_ALL": "C"}
        try:
            child = Popen(self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment)
        except OSError as error:
            raise KernelFeatureMissing(
                f"neither libnftables.so.1 nor the nft executable can be used: {error.strerror}",
                hint="install the package nftables (or libnftables1)",
            ) from error
        with waiting(), child:
            try:
                sent = script.encode(errors="surrogateescape")
                printed, complaint = communicate(child, sent, _TIMEOUT, _OUTPUT_MAX)
            except OutputTooLong as error:
                child.kill()
                raise KernelError(f"nft printed {error}", errno.EIO) from None
            except TimeoutExpired:
                child.kill()
                raise KernelError(f"nft did not answer within {_TIMEOUT:.0f} s", errno.ETIMEDOUT) from None
        if child.returncode:
            raise failure(complaint.decode(errors="replace"))
        return printed.decode(errors="surrogateescape")


def runner(*, handles: bool = False) -> Runner:
    """The library if the host has it, else the executable. `handles`: listings have the handle of each rule."""
    try:
        return Library(handles=handles)
    except OSError:
        return Binary(handles=handles)


def preload() -> None:
    """Load the library into this process, if the host has it: processes that are forked later share its memory."""
    try:
        _load()
    except OSError:
        pass


def probe() -> None:
    """KernelFeatureMissing without nfnetlink: libnftables would end the whole process there."""
    try:
        _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, NETLINK_NETFILTER).close()
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
            raise KernelFeatureMissing("this kernel has no nfnetlink", hint="enable CONFIG_NF_TABLES") from None
        raise KernelError(f"cannot open a netfilter socket: {error.strerror}", error.errno or errno.EIO) from None


def failure(complaint: str) -> KernelError | KernelFeatureMissing:
    """nft's message as one of our errors. For each cause nft prints `Error: CAUSE`, and the line with a mark."""
    lines = [line for line in complaint.splitlines() if "Error: " in line] or [complaint.strip() or "no reason given"]
    cause = "; ".join(dict.fromkeys(line.partition("Error: ")[2] or line for line in lines))
    number = next((number for number in _ERRNOS if os.strerror(number) in cause), 0)
    if "cache initialization failed" in cause and number in _UNSUPPORTED:
        return KernelFeatureMissing(f"this kernel has no nf_tables: {cause}", hint="enable CONFIG_NF_TABLES")
    return KernelError(f"nftables refused the change: {cause}", number or errno.EINVAL)


def _load() -> ctypes.CDLL:
    from ctypes import CDLL, c_char_p, c_int, c_uint, c_void_p

    nft = CDLL("libnftables.so.1")
    nft.nft_ctx_new.restype = c_void_p
    nft.nft_ctx_new.argtypes = [c_uint]
    for verb, result, arguments in (
        ("nft_ctx_free", None, []),
        ("nft_ctx_output_set_flags", None, [c_uint]),
        ("nft_ctx_buffer_output", c_int, []),
        ("nft_ctx_buffer_error", c_int, []),
        ("nft_run_cmd_from_buffer", c_int, [c_char_p]),
        ("nft_ctx_get_output_buffer", c_char_p, []),
        ("nft_ctx_get_error_buffer", c_char_p, []),
    ):
        function = getattr(nft, verb)
        function.restype = result
        function.argtypes = [c_void_p, *arguments]
    return nft
