"""Handles one request of the service: its caller, its namespaces, the engine, the answer.

Only callers in the service's own network namespace are answered, because that namespace has the host's networks. A
service in a container leaves calls that need other files of the node to the full program (node_files.py). The namespace
of a call's container comes as a descriptor: the service sees it even if the runtime has other mounts.
"""

from __future__ import annotations

import os
from _thread import _local
from contextlib import contextmanager
from time import perf_counter

from cni_cnm import settings as settings_module
from cni_cnm.cni.plugin import handle
from cni_cnm.errors import CnmError, InvalidConfig
from cni_cnm.frontend import events
from cni_cnm.frontend.reply import Subject
from cni_cnm.frontend.request_log import log
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.process import owner_of_caller, parent_of
from cni_cnm.kernel.setns import own_fd
from cni_cnm.kernel.sysctl import open_folders
from cni_cnm.netavark import plugin as netavark
from cni_cnm.service import lingering, node_files
from cni_cnm.service.host_stack import HostStack
from cni_cnm.service.protocol import Refused
from cni_cnm.service.request_namespaces import RequestNamespaces
from cni_cnm.service.server import Answer
from cni_cnm.service.trace import Steps
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.frontend.events import Event
    from cni_cnm.service.deletions import Deletions
    from cni_cnm.service.request_counts import RequestCounts
    from cni_cnm.service.server import Call
    from cni_cnm.service.shared_page import SharedPage
    from cni_cnm.settings import Settings


class Handler:
    """`Server` calls it for each request, on any thread.

    Made before the processes of the service are forked, so it opens no socket. Without a `deleter` each request deletes
    its links itself.
    """

    def __init__(
        self,
        deleter: Deletions | None = None,
        page: SharedPage | None = None,
        *,
        trace: bool = False,
        lingers: bool = False,
    ) -> None:
        self._trace = trace
        self._lingers = lingers
        self._own = own_fd()
        self._identity = _identity(self._own)
        self._folders = open_folders()
        self._nft = KernelNft()
        self._deleter = deleter
        self._page = page
        self._in_container = node_files.in_container()
        self._kept = _local()
        self._settings: tuple[object, Settings] | None = None
        self.counts: RequestCounts | None = None
        """Where requests are counted; None: nowhere."""

    def __call__(self, call: Call) -> Answer:
        """Refused for a caller in another network namespace."""
        if _identity(call.descriptors[0]) != self._identity:
            raise Refused("the caller is in another network namespace")
        environ = call.request.environ
        if self._lingers:
            lingering.refuse_others(call)
            if not self._read_settings(environ).linger:
                lingering.end()
        argv = [*call.request.argv] or ["cni-cnm"]
        if self._in_container and (key := node_files.needed(environ, call.request.stdin, argv[0])):
            raise Refused(f"{key} names what is not in this container")
        if self._page is not None:
            self._page.called()
        started = perf_counter()
        opened = 0.0
        settings: Settings | None = None
        traced = Steps() if self._trace else None
        of_netavark = not environ.get("CNI_COMMAND") and argv[1:2] != [] and argv[1] in netavark.VERBS
        netns = "".join(argv[2:3]) if of_netavark else environ.get("CNI_NETNS", "")
        descriptors = dict(zip([netns], call.descriptors[1:], strict=False))
        namespaces = RequestNamespaces(self._own, descriptors, self._host_stack, traced)

        def controller() -> Controller:
            nonlocal opened, settings
            opened = perf_counter()
            settings = self._read_settings(environ)
            nft = traced.view(self._nft, "nft-") if traced else self._nft
            made = open_controller(settings, namespaces, lambda: nft)
            made.host.watches_bridges = self._watches_bridges()
            if traced:
                made.host.store = traced.view(made.host.store, "record-")
            return made

        try:
            if of_netavark:
                reply = netavark.handle(argv[1:], environ, lambda: call.request.stdin, controller)
            else:
                reply = handle(
                    environ,
                    lambda: call.request.stdin,
                    controller,
                    argv[0],
                    lambda: owner_of_caller(parent_of(call.pid)),
                )
        except BaseException:
            namespaces.close()
            raise
        namespaces.close_containers()
        ended = perf_counter()

        def after() -> None:
            namespaces.close()
            if self.counts is not None:
                self.counts.request(reply, ended - started, parts)
            if environ.get("CNI_COMMAND") != "VERSION":  # a probe, again and again
                kept = settings or self._settings_for_log(environ)
                log(reply.summary, (ended - started) * 1000, kept, reply.subject, reply.error)

        parsed = opened or ended
        parts = (("parse", parsed - started), ("engine", ended - parsed))
        steps = (*parts, *(traced.taken() if traced else ()))
        return Answer(reply.code, reply.out, reply.err.encode(errors="backslashreplace"), steps, after)

    @contextmanager
    def engine(self) -> Iterator[Controller]:
        """A controller for calls of Docker and of the service itself, with the service's settings."""
        namespaces = RequestNamespaces(self._own, {}, self._host_stack, None)
        try:
            made = open_controller(self._read_settings(os.environ), namespaces, lambda: self._nft)
            made.host.watches_bridges = self._watches_bridges()
            yield made
        finally:
            namespaces.close()

    def _watches_bridges(self) -> bool:
        return self._page is not None and self._page.watching

    def note(
        self,
        line: str,
        duration_ms: float,
        event: Event | None = None,
        *,
        subject: Subject | None = None,
        code: int = 0,
    ) -> None:
        """Write the log line of a call of Docker, with its subject and code, or of the service itself.

        If it is an event, it is recorded as one, too.
        """
        if self.counts is not None:
            self.counts.note(line, duration_ms)
        settings = self._settings[1] if self._settings else None
        if event is None:
            log(line, duration_ms, settings, subject, code)
        else:
            log(line, duration_ms, settings, Subject(network=event.network), event=event.kind)
            if settings is not None:
                events.append(settings.run_dir, event)

    def _settings_for_log(self, environ: Mapping[str, str]) -> Settings | None:
        """Of a call that ended before its settings were needed. None if they are wrong."""
        try:
            return self._read_settings(environ)
        except CnmError:
            return None

    def _host_stack(self) -> HostStack:
        return HostStack(os.dup(self._own), self._deleter, self._kept, self._folders)

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
            try:
                known = self._settings = (stamp, settings_module.load(named))
            except InvalidConfig:
                if environ.get("CNI_COMMAND") != "DEL":
                    raise
                return settings_module.load(named, cluster_needed=False)
        return known[1]


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
