"""LockedEndpoint: an endpoint whose lock the caller holds. The steps of this folder change it and its record.

with locked(host, record) as endpoint:
    connect(endpoint, stack, undo)
"""

from __future__ import annotations

from contextlib import contextmanager

from cni_cnm.cnm.records import load_endpoint
from cni_cnm.drivers import drivers
from cni_cnm.errors import NoSuchEndpoint
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.drivers import Driver, Role
    from cni_cnm.firewall import Policy


class LockedEndpoint:
    """The record as it is now, and the driver it names."""

    def __init__(self, host: Host, record: EndpointRecord) -> None:
        self.host = host
        self.record = record
        self._role: Role | None = None
        self._policy: Policy | None = None

    def write(self, **changes: Any) -> None:
        """Change fields of the record and store it."""
        self.record = self.record._replace(**changes)
        if "options" in changes or "host_ifname" in changes:
            self._role = self._policy = None
        self.host.store.put(ENDPOINTS, self.record.id, self.record.to_json())

    def delete_record(self) -> None:
        self.host.store.delete(ENDPOINTS, self.record.id)

    @property
    def driver(self) -> Driver[Any]:
        return drivers.get(self.record.driver)

    @property
    def role(self) -> Role:
        """Asked once: it follows from the options."""
        if self._role is None:
            self._role = self.record.role
        return self._role

    @property
    def policy(self) -> Policy:
        """Likewise."""
        if self._policy is None:
            self._policy = self.record.policy
        return self._policy


def lock(host: Host, endpoint_id: str, timeout_s: float = 50.0) -> AbstractContextManager[None]:
    return host.store.lock(f"endpoint/{endpoint_id}", timeout_s=timeout_s)


@contextmanager
def locked(host: Host, record: EndpointRecord) -> Iterator[LockedEndpoint]:
    """Take the lock and read the record again. NoSuchEndpoint if it was deleted."""
    with lock(host, record.id):
        current = load_endpoint(host.store, record.id)
        if current is None:
            raise NoSuchEndpoint(f"the endpoint {record.shown} does not exist any more")
        yield LockedEndpoint(host, current)
