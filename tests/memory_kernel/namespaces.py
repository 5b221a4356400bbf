"""`Namespaces` in memory. `create` and `remove` do what a runtime does with a pod's namespace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cni_cnm.errors import NamespaceGone
from tests.memory_kernel.machine import Machine
from tests.memory_kernel.overlay_stack import MemoryOverlayStack
from tests.memory_kernel.space import Space, delete
from tests.memory_kernel.stack import MemoryStack

FIRST_INODE = 4026531840


class MemoryNamespaces:
    """All stacks that one object opens see the same state. The arguments are those of `Machine`."""

    def __init__(self, *, vlan_filtering: bool = True, missing: Sequence[str] = ()) -> None:
        self._machine = Machine(vlan_filtering=vlan_filtering, missing=missing)
        self._inodes = FIRST_INODE
        self._host = self._space()
        self._spaces: dict[str, Space] = {}
        self.running: set[int] = set()
        """Inode numbers of namespaces with a process."""
        self.sees_all = True
        """Whether `holders` knows all processes."""

    def host(self) -> MemoryStack:
        return MemoryStack(self._machine, self._host, "")

    def overlay(self) -> MemoryOverlayStack:
        """The host, with the verbs for overlay networks."""
        return MemoryOverlayStack(self._machine, self._host, "")

    def open(self, path: str) -> MemoryStack:
        if not path:
            raise NamespaceGone("no network namespace was given: the path is empty")
        space = self._spaces.get(path)
        if space is None:
            raise NamespaceGone(f"there is no network namespace at {path}: No such file or directory")
        return MemoryStack(self._machine, space, path)

    def is_host(self, path: str) -> bool:
        return self.open(path).inode() == self._host.inode

    def has_process(self, inode: int) -> bool:
        """Processes are not a part of this machine: `running` says where there are some."""
        return inode in self.running

    def holders(self, inode: int) -> Iterator[str] | None:
        """Paths of this machine with a namespace of that number."""
        return iter([path for path, space in self._spaces.items() if space.inode == inode]) if self.sees_all else None

    def create(self, path: str) -> MemoryStack:
        """A new namespace at `path`. One that is there is removed first."""
        self.remove(path)
        self._spaces[path] = self._space()
        return self.open(path)

    def name_host(self, path: str) -> None:
        """The host's own namespace can be opened at `path`, too, as at /proc/self/ns/net."""
        self._spaces[path] = self._host

    def move(self, path: str, to: str) -> None:
        """The namespace is at another path from now on, as if a process had kept it after an unmount."""
        self._spaces[to] = self._spaces.pop(path)

    def remove(self, path: str) -> None:
        """Remove the namespace, its links and the other ends of its veths. No error if absent."""
        space = self._spaces.pop(path, None)
        if space is not None:
            for device in list(space.devices.values()):
                delete(device)

    def _space(self) -> Space:
        self._inodes += 1
        return Space(self._inodes)
