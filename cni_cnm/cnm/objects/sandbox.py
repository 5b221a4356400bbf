"""Sandbox: the network stack of a container. Endpoints of one or several networks join it."""

from __future__ import annotations

from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.sandbox import sandbox_endpoints
from cni_cnm.errors import ActiveContainer, NoSuchSandbox
from cni_cnm.state.store import SANDBOXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import SandboxRecord


class Sandbox:
    """The network namespace of a container, as endpoints join it.

    `Controller.new_sandbox` makes one and `Controller.sandbox` finds one. It is a record: the namespace itself is made
    and removed by the caller.
    """

    def __init__(self, host: Host, container_id: str, netns: str) -> None:
        self._host = host
        self._container_id = container_id
        self._key = netns

    def __repr__(self) -> str:
        return f"<Sandbox {self.container_id} {self.key}>"

    @property
    def container_id(self) -> str:
        """The container's id, as the caller named it."""
        return self._container_id

    @property
    def key(self) -> str:
        """Path of the network namespace (libnetwork's sandbox key)."""
        return self._key

    @property
    def id(self) -> str:
        """64 hex digits, which follow from the container's id."""
        return sandbox_endpoints.sandbox_id(self.container_id)

    @property
    def record(self) -> SandboxRecord | None:
        """What is stored of it in this epoch; None if nothing is. Its fields are no part of the API."""
        return sandbox_endpoints.sandbox_of(self._host, self.container_id)

    def endpoints(self) -> Sequence[Endpoint]:
        """The endpoints that are joined, in the order they joined."""
        record = self.record
        members = sandbox_endpoints.members_of(self._host, record) if record else ()
        return [Endpoint(self._host, member) for member in members]

    def gateways(self) -> Mapping[int, str]:
        """The elected default gateways: IP version (4, 6) to the endpoint's id. Without one the version is absent."""
        return sandbox_endpoints.gateways_of(self._host, self.container_id)

    def delete(self) -> None:
        """Delete the record. The namespace itself is not touched.

        Raises:
            ActiveContainer: endpoints are joined.
            NoSuchSandbox: it was deleted already.
        """
        with sandbox_endpoints.lock(self._host, self.id):
            record = self.record
            if record is None:
                raise NoSuchSandbox(f"there is no sandbox of container {self.container_id}")
            members = sandbox_endpoints.members_of(self._host, record)
            if members:
                raise ActiveContainer(
                    f"the sandbox of {self.container_id} has endpoints: {', '.join(m.shown for m in members)}",
                    hint="leave and delete them first",
                )
            self._host.store.delete(SANDBOXES, self.id)
