"""Namespaces: opens Stacks. The real one is kernel/netns.py."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.kernel.contract.stack import Stack


class Namespaces(Protocol):
    """Opens the network namespaces of a machine. The caller closes each Stack."""

    def host(self) -> Stack:
        """The namespace the program itself was called in."""

    def open(self, path: str) -> Stack:
        """The namespace at a path. `NamespaceGone` if the path is empty, missing or a plain file.

        Never creates anything; the program's own namespace is the same before, during and after.
        """

    def is_host(self, path: str) -> bool:
        """Whether the namespace at a path is the host's. Errors as of `open`; no Stack is made."""

    def has_process(self, inode: int) -> bool:
        """Whether a process is in the network namespace of that inode number. Reads /proc, 10 µs a process."""

    def holders(self, inode: int) -> Iterator[str] | None:
        """Paths of the network namespace of that inode number: of each process that is in it, and of each mount.

        None if this process does not see all processes of the machine. Reads /proc, 30 µs a process.
        """
