"""Sandbox: the network stack of a container. Endpoints of one or several networks join it."""

from __future__ import annotations

from cni_cnm.cnm.sandbox import sandbox_endpoints
from cni_cnm.errors import ActiveContainer, NoSuchSandbox
from cni_cnm.state.store import SANDBOXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, SandboxRecord


class Sandbox:
    """Made by `Controller.new_sandbox`; `Controller.sandbox` finds it again."""

    def __init__(self, host: Host, container_id: str, netns: str) -> None:
        self._host = host
        self.container_id = container_id
        self.key = netns
        """Path of the network namespace (libnetwork's sandbox key)."""

    @property
    def id(self) -> str:
        return sandbox_endpoints.sandbox_id(self.container_id)

    @property
    def record(self) -> SandboxRecord | None:
        """The record of this epoch; one of an earlier boot counts as none."""
        return sandbox_endpoints.sandbox_of(self._host, self.container_id)

    def endpoints(self) -> Sequence[EndpointRecord]:
        """In the order they joined."""
        record = self.record
        return sandbox_endpoints.members_of(self._host, record) if record else ()

    def gateways(self) -> Mapping[int, str]:
        """IP version to the id of the endpoint that is the default gateway."""
        return sandbox_endpoints.gateways_of(self._host, self.container_id)

    def delete(self) -> None:
        """Delete the record; ActiveContainer while endpoints are joined. The namespace itself is not touched."""
        with sandbox_endpoints.lock(self._host, self.id):
            record = self.record
            if record is None:
                raise NoSuchSandbox(f"there is no sandbox of container {self.container_id}")
            members = sandbox_endpoints.members_of(self._host, record)
            if members:
                raise ActiveContainer(
                    f"the sandbox of {self.container_id} has endpoints: {', '.join(m.label for m in members)}",
                    hint="leave and delete them first",
                )
            self._host.store.delete(SANDBOXES, self.id)
