"""The namespaces of one request: what it opens is closed with it, the container's before the answer is sent."""

from __future__ import annotations

from cni_cnm.kernel.netns import KernelNamespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cni_cnm.kernel.stack import KernelStack
    from cni_cnm.service.trace import Steps


class RequestNamespaces(KernelNamespaces):
    """`host` opens the host's stack; `close` closes every stack that was opened. With `steps` their calls are timed."""

    def __init__(
        self, own: int, descriptors: Mapping[str, int], host: Callable[[], KernelStack], steps: Steps | None
    ) -> None:
        self._open_host = host
        self._steps = steps
        self._hosts: list[KernelStack] = []
        self._containers: list[KernelStack] = []
        super().__init__(own, descriptors)

    def host(self) -> KernelStack:
        return self._keep(self._open_host(), self._hosts)

    def open(self, path: str) -> KernelStack:
        return self._keep(super().open(path), self._containers)

    def close_containers(self) -> None:
        """A runtime that has the answer may unmount the namespace, which an open descriptor makes busy."""
        while self._containers:
            self._containers.pop().close()

    def close(self) -> None:
        self.close_containers()
        while self._hosts:
            self._hosts.pop().close()
        super().close()

    def _keep(self, stack: KernelStack, opened: list[KernelStack]) -> KernelStack:
        opened.append(stack)
        return self._steps.watch(stack) if self._steps else stack
