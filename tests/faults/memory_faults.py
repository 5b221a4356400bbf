"""A host in memory on which call number n, of the kernel or of the disk, fails or is the process's last one.

The kernel is tests/memory_kernel, whose classes are changed while `Faults` is active. The records and leases are real
files: the functions of `os` and `fcntl` that read and write them are changed as well.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

from cni_cnm.cnm.controller import Controller
from cni_cnm.errors import KernelError
from tests.faults.system_calls import ERRORS
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft
from tests.memory_kernel.stack import MemoryStack

DIES = "dies"
LOST = "lost"
"""The kernel does what is asked, and its answer does not arrive."""
KERNEL_ERRORS = ("EIO", "ENOSPC", "EMFILE", "ENOMEM", "ENOBUFS", "EINTR", "EPERM")
_INSIDE = ("begin", "end", "flush", "close", "batch", "deleting", "cookie", "inode")
"""Methods of a stack that are not a call of the kernel's."""
_SYSTEM_CALLS = {
    "open": "openat", "read": "read", "write": "write", "rename": "rename", "unlink": "unlink", "mkdir": "mkdir",
    "listdir": "getdents64", "utime": "utimensat", "fsync": "fsync", "stat": "newfstatat", "fstat": "newfstatat",
    "link": "linkat",
}  # fmt: skip
"""Functions of `os`, and the system call whose errors they raise."""


class Died(BaseException):
    """The process has ended. No code may catch it; what runs on its way cannot call the kernel any more."""


class Step(NamedTuple):
    """One call: its name, and the faults that fit it."""

    name: str
    faults: tuple[str, ...]


class Faults:
    """While active, counts calls. Call number `number`, from 1, has the fault; 0: none has."""

    def __init__(self, number: int = 0, fault: str = "") -> None:
        self.steps: list[Step] = []
        self._number = number
        self._fault = fault
        self._inside = False
        self._dead = False

    @contextmanager
    def active(self, folder: Path) -> Iterator[None]:
        changed: list[tuple[Any, str, Any]] = []

        def change(owner: Any, name: str, made: Any) -> None:
            changed.append((owner, name, getattr(owner, name)))
            setattr(owner, name, made)

        for kind in (MemoryStack, MemoryNft):
            for name in vars(kind):
                if not name.startswith("_") and name not in _INSIDE and callable(getattr(kind, name)):
                    change(kind, name, self._of_kernel(name, getattr(kind, name)))
        for name, call in _SYSTEM_CALLS.items():
            change(os, name, self._of_disk(name, ERRORS[call], getattr(os, name), str(folder)))
        for name in ("fcntl", "flock"):
            change(fcntl, name, self._of_disk(name, ERRORS[name], getattr(fcntl, name), str(folder)))
        try:
            yield
        finally:
            for owner, name, old in changed:
                setattr(owner, name, old)

    def _of_kernel(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def faulty(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return call(*args, **kwargs)
            fault = self._step(name, (*KERNEL_ERRORS, LOST, DIES))
            self._inside = True
            try:
                found = call(*args, **kwargs) if fault in ("", LOST) else None
            finally:
                self._inside = False
            if fault == LOST:
                raise KernelError(f"the answer to {name} was lost: {os.strerror(errno.ENOBUFS)}", errno.ENOBUFS)
            if fault:
                number = getattr(errno, fault)
                raise KernelError(f"{name} failed: {os.strerror(number)}", number)
            return found

        return faulty

    def _of_disk(self, name: str, errors: tuple[str, ...], call: Callable[..., Any], folder: str) -> Callable[..., Any]:
        @wraps(call)
        def faulty(*args: Any, **kwargs: Any) -> Any:
            first = args[0]
            inside = any(kwargs.get(name) is not None for name in ("dir_fd", "src_dir_fd"))
            ours = inside or isinstance(first, int) or os.fspath(first).startswith(folder)
            if self._inside or not ours:
                return call(*args, **kwargs)
            faults = tuple(one for one in errors if one != "EINTR")  # Python calls again by itself
            fault = self._step(f"os.{name}", (*faults, DIES))
            if fault:
                number = getattr(errno, fault)
                raise OSError(number, os.strerror(number), *([] if isinstance(first, int) else [first]))
            return call(*args, **kwargs)

        return faulty

    def _step(self, name: str, faults: tuple[str, ...]) -> str:
        if self._dead:
            raise Died
        self.steps.append(Step(name, faults))
        if len(self.steps) != self._number:
            return ""
        if self._fault == DIES:
            self._dead = True
            raise Died
        return self._fault


class World:
    """A host with the container c1 at /run/netns/c1. Each call is answered by a controller of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.namespaces = MemoryNamespaces()
        self.namespaces.name_host("/proc/self/ns/net")
        self.namespaces.create("/run/netns/c1")
        self.nft = MemoryNft()

    def controller(self) -> Controller:
        return Controller(memory_host(self.folder, self.namespaces, self.nft))

    @contextmanager
    def engine(self) -> Iterator[Controller]:
        yield self.controller()

    def facts(self) -> set[str]:
        """Links, addresses, routes and limits of host and container, elements, records, leases and other files."""
        found = {f"file {path}" for path in self._files()}
        for place, space in (
            ("host", self.namespaces.host().space),
            ("c1", self.namespaces.open("/run/netns/c1").space),
        ):
            for device in space.devices.values():
                link = device.link
                found.add(f"{place} {link.name} {link.kind} {link.up} {device.bucket} {device.redirect is not None}")
                found |= {f"{place} {link.name} {address}" for address in device.addresses}
            found |= {f"{place} route {route.dst} {route.gw}" for route in space.routes}
        for (table, name), elements in self.nft.sets.items():
            found |= {f"{table} {name} {element}" for element in elements.values()}
        return found

    def _files(self) -> Iterator[str]:
        """Without locks, and without what only makes a later call faster."""
        for path in self.folder.rglob("*"):
            name = str(path.relative_to(self.folder))
            cache = name.endswith(("/lock", "/locks", "state.json")) or "last_reserved_ip" in name
            if path.is_file() and not cache and not (name.startswith("run/leases/") and name.endswith(".json")):
                yield name
