"""The CNI door of the service: whose request it is, its namespaces, the engine, the answer.

A request is answered only for a caller in the service's own network namespace: the host's networks are
that one's. The container's namespace comes as a descriptor, so the service sees it whatever mounts the
runtime has.
"""

from __future__ import annotations

import os
from _thread import _local
from contextlib import contextmanager
from time import perf_counter

from cni_cnm import settings as settings_module
from cni_cnm.cni.plugin import handle
from cni_cnm.cni.process import log
from cni_cnm.kernel.netns import KernelNamespaces, own_fd
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.process import owner_of_caller, parent_of
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.service.host_stack import HostStack
from cni_cnm.service.link_deleter import LinkDeleter
from cni_cnm.service.protocol import Refused
from cni_cnm.service.server import Answer
from cni_cnm.service.trace import Steps
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.service.server import Call
    from cni_cnm.settings import Settings


class Door:
    """What `Server` calls for each request, on any thread."""

    def __init__(self, *, trace: bool = False) -> None:
        self._trace = trace
        self._own = own_fd()
        self._identity = _identity(self._own)
        self._nft = KernelNft()
        self._reaper = LinkDeleter(os.dup(self._own))
        self._kept = _local()
        self._settings: tuple[object, Settings] | None = None

    def __call__(self, call: Call) -> Answer:
        """Refused for a caller in another network namespace."""
        if _identity(call.descriptors[0]) != self._identity:
            raise Refused("its caller is in another network namespace")
        environ = call.request.environ
        begun = perf_counter()
        opened = 0.0
        taken = Steps() if self._trace else None
        descriptors = dict(zip([environ.get("CNI_NETNS", "")], call.descriptors[1:], strict=False))
        namespaces = CallNamespaces(self._own, descriptors, self._host_stack, taken)

        def controller() -> Controller:
            nonlocal opened
            opened = perf_counter()
            nft = taken.view(self._nft, "nft-") if taken else self._nft
            made = open_controller(self._read_settings(environ), namespaces, lambda: nft)
            if taken:
                made.store = taken.view(made.store, "record-")
            return made

        try:
            reply = handle(
                environ,
                lambda: call.request.stdin,
                controller,
                os.path.basename(call.request.argv[0]) if call.request.argv else "cni-cnm",
                lambda: owner_of_caller(parent_of(call.pid)),
            )
        finally:
            namespaces.close()
        ended = perf_counter()
        log(reply.summary, (ended - begun) * 1000, self._settings[1] if self._settings else None)
        understood = opened or ended
        steps = (
            ("understand", understood - begun),
            ("engine", ended - understood),
            *(taken.taken() if taken else ()),
            ("log", perf_counter() - ended),
        )
        return Answer(reply.code, reply.out, reply.err.encode(errors="backslashreplace"), steps)

    @contextmanager
    def engine(self) -> Iterator[Controller]:
        """A controller for one of Docker's calls. Docker's networks are those of the service's own namespace."""
        namespaces = CallNamespaces(self._own, {}, self._host_stack, None)
        try:
            yield open_controller(self._read_settings(os.environ), namespaces, lambda: self._nft)
        finally:
            namespaces.close()

    def note(self, line: str, duration_ms: float) -> None:
        """A line about a call of Docker's, to where those about pods go."""
        log(line, duration_ms, self._settings[1] if self._settings else None)

    def _host_stack(self) -> HostStack:
        return HostStack(os.dup(self._own), self._reaper, self._kept)

    def _read_settings(self, environ: Mapping[str, str]) -> Settings:
        """The caller's settings, read again only when the file has changed."""
        named = environ.get(settings_module.ENVIRONMENT, "")
        try:
            found = os.stat(named or settings_module.PATH)
        except OSError:
            stamp: object = (named, None)
        else:
            stamp = (named, found.st_ino, found.st_mtime_ns, found.st_size)
        known = self._settings
        if known is None or known[0] != stamp:
            known = self._settings = (stamp, settings_module.load(named))
        return known[1]


class CallNamespaces(KernelNamespaces):
    """The namespaces of one request; `close` closes every stack that was handed out."""

    def __init__(
        self, own: int, descriptors: Mapping[str, int], host: Callable[[], HostStack], steps: Steps | None
    ) -> None:
        self._open_host = host
        self._steps = steps
        self._handed_out: list[KernelStack] = []
        super().__init__(own, descriptors)

    def host(self) -> KernelStack:
        return self._hand_out(self._open_host())

    def open(self, path: str) -> KernelStack:
        return self._hand_out(super().open(path))

    def _hand_out(self, stack: KernelStack) -> KernelStack:
        self._handed_out.append(stack)
        return self._steps.watch(stack) if self._steps else stack

    def close(self) -> None:
        while self._handed_out:
            self._handed_out.pop().close()
        super().close()


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
