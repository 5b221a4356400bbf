"""Endpoint: a container's place in a network. It joins one sandbox, leaves it, and is deleted."""

from __future__ import annotations

from contextlib import contextmanager

from cni_cnm import validate
from cni_cnm.cnm.endpoint import locked_endpoint, results, take_down_endpoint
from cni_cnm.cnm.interface import default_routes
from cni_cnm.cnm.packet_filter import endpoint_elements, firewall_state
from cni_cnm.cnm.records import CREATED, PENDING, READY
from cni_cnm.cnm.rollback import ErrorList, Rollback
from cni_cnm.cnm.sandbox.sandbox_endpoints import gateways_of
from cni_cnm.drivers import drivers
from cni_cnm.errors import ActiveContainer, Forbidden, raise_gathered
from cni_cnm.model import Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.objects.sandbox import Sandbox
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Address, Attachment, Json


class Endpoint:
    """Made by `Network.create_endpoint`. `record` is what is stored of it, as this object read or wrote it last."""

    def __init__(self, host: Host, record: EndpointRecord) -> None:
        self._host = host
        self.record = record

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def mac(self) -> str:
        return self.record.mac or (self.record.device.container.mac if self.record.device else "")

    @property
    def addresses(self) -> tuple[Address, ...]:
        return self.record.addresses

    @property
    def attachment(self) -> Attachment:
        """What the container got; Forbidden before it joined."""
        if self.record.state != READY:
            raise Forbidden(f"the endpoint {self.record.label} is not joined to a sandbox")
        gateways = gateways_of(self._host, self.record.container_id)
        return results.attachment(self.record, results.elected_versions(self.record, gateways))

    def join(self, sandbox: Sandbox, *, ifname: str = "") -> Attachment:
        """Make the device in the sandbox. An endpoint joins once (Forbidden).

        `ifname` defaults to `eth` and the lowest free number, as libnetwork names a sandbox's interfaces, or to the
        name that a driver's plugin gives.
        """
        from cni_cnm.cnm.endpoint.connect_endpoint import connect

        if ifname:
            validate.require(validate.interface_name, ifname, "ifname")
        with self._locked() as endpoint:
            if endpoint.record.state == READY:
                raise Forbidden(
                    f"the endpoint {self.record.label} is joined to a sandbox already", hint="leave it first"
                )
            with self._host.namespaces.open(sandbox.key) as stack, Rollback() as undo:
                undo.push_record_removal(lambda: _write_left(endpoint))
                endpoint.write(
                    state=PENDING,
                    container_id=sandbox.container_id,
                    ifname=(ifname or _free_name(endpoint, stack)) if endpoint.role.interface != "none" else "",
                    netns=sandbox.key,
                    netns_inode=stack.inode(),
                    netns_cookie=stack.cookie(),
                )
                return connect(endpoint, stack, undo)

    def leave(self) -> None:
        """Take the device out of the sandbox; the addresses stay reserved. Forbidden if it is not joined."""
        with self._locked() as endpoint:
            if endpoint.record.state == CREATED:
                raise Forbidden(f"the endpoint {self.record.label} is not joined to a sandbox")
            gathered = ErrorList()
            take_down_endpoint.disconnect(endpoint, gathered, delete_empty_sandbox=False)
            with firewall_state.lock(self._host, shared=True):
                gathered.attempt(
                    lambda: endpoint_elements.withdraw(lambda: self._host.nft, endpoint.record, endpoint.policy, None)
                )
                raise_gathered(gathered.errors)
                _write_left(endpoint)

    def delete(self, *, force: bool = False, unanswered: bool = False) -> Sequence[str]:
        """Release the addresses and delete the endpoint. ActiveContainer if it is joined, unless `force`.

        With `unanswered` the record goes even if a plugin does not answer. Returns what plugins refused.
        """
        with self._locked() as endpoint:
            if endpoint.record.state == READY and not force:
                raise ActiveContainer(
                    f"the endpoint {self.record.label} is joined to {endpoint.record.container_id}",
                    hint="leave first, or delete with force",
                )
            gathered = take_down_endpoint.take_down(endpoint, {})
            if unanswered and gathered.unanswered:
                endpoint.delete_record()
                return [*gathered.notes, *(str(error) for error in gathered.errors)]
            raise_gathered(gathered.errors)
            return gathered.notes

    def info(self) -> Mapping[str, Json]:
        """What the driver reports beside the record (libnetwork's EndpointOperInfo)."""
        if self.record.state != READY:
            return {}
        return drivers.get(self.record.driver).info(self.record.options, self.record.plan)

    @contextmanager
    def _locked(self) -> Iterator[LockedEndpoint]:
        """The endpoint as it is stored, under its lock; this object has its record from then on."""
        with locked_endpoint.locked(self._host, self.record) as endpoint:
            self.record = endpoint.record
            try:
                yield endpoint
            finally:
                self.record = endpoint.record


def _write_left(endpoint: LockedEndpoint) -> None:
    """Record that the endpoint is not joined. What the sandbox or the device brought is removed from the record."""
    offers = default_routes.default_routes(endpoint.record.lease or Lease(), endpoint.role)[1]
    endpoint.write(
        state=CREATED,
        device=None,
        container_id="",
        ifname="",
        netns="",
        netns_inode=0,
        netns_cookie=0,
        default_routes=offers,
    )


def _free_name(endpoint: LockedEndpoint, stack: Stack) -> str:
    if endpoint.role.interface == "moved":  # the driver's plugin may have a name for it
        return ""
    taken = {link.name for link in stack.links()}
    return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)
