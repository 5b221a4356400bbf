"""Endpoint: a container's place in a network. It joins one sandbox, leaves it, and is deleted."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from cni_cnm import validate
from cni_cnm.cnm.endpoint import locked_endpoint, results, take_down_endpoint
from cni_cnm.cnm.interface import default_routes
from cni_cnm.cnm.packet_filter import endpoint_elements, firewall_state
from cni_cnm.cnm.records import CREATED, PENDING, READY
from cni_cnm.cnm.rollback import ErrorList, Rollback
from cni_cnm.cnm.sandbox.sandbox_endpoints import gateways_of, members_of, sandbox_of
from cni_cnm.drivers import drivers
from cni_cnm.errors import ActiveContainer, Forbidden, InvalidConfig, raise_gathered, shown
from cni_cnm.model import Lease, Pod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Address, Attachment, Json, PortMapping


@runtime_checkable
class JoinedSandbox(Protocol):
    """What an endpoint joins: a `Sandbox`."""

    @property
    def container_id(self) -> str: ...
    @property
    def key(self) -> str:
        """Path of the network namespace."""


class Endpoint:
    """A place in a network, with its addresses, for one container.

    `Network.create_endpoint` makes one and `Network.endpoint` finds one. It joins a sandbox, leaves it, and may join
    again, under the same addresses. Its properties are as this object has read or written the record last.
    """

    def __init__(self, host: Host, record: EndpointRecord) -> None:
        self._host = host
        self.record = record
        """What is stored. Its fields are no part of the API."""

    def __repr__(self) -> str:
        addresses = " ".join(str(address.interface) for address in self.addresses)
        where = f"joined to {self.container_id}" if self.joined else "not joined"
        return f"<Endpoint {self.network}/{self.name} {addresses or 'without addresses'} {where}>"

    @property
    def id(self) -> str:
        """64 hex digits, or Docker's id of an endpoint that Docker made."""
        return self.record.id

    @property
    def name(self) -> str:
        """Unique in the network among those of one frontend."""
        return self.record.name

    @property
    def network(self) -> str:
        """The network's name."""
        return self.record.network

    @property
    def owner(self) -> str:
        """The frontend that made it: `library`, `docker`, or `cni/` and the runtime's name."""
        return self.record.owner

    @property
    def mac(self) -> str:
        """Lower-case pairs with colons. "" if the device brings its own and the endpoint has not joined."""
        return self.record.mac or (self.record.device.container.mac if self.record.device else "")

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Each with its prefix length, and its gateway if there is one. Reserved until `delete`."""
        return self.record.addresses

    @property
    def ports(self) -> tuple[PortMapping, ...]:
        """What it publishes while it is joined."""
        return self.record.ports

    @property
    def joined(self) -> bool:
        """True between a `join` that succeeded and `leave`."""
        return self.record.state == READY

    @property
    def container_id(self) -> str:
        """The container of the sandbox that it joined; "" if it has not."""
        return self.record.container_id

    @property
    def ifname(self) -> str:
        """The interface's name in the sandbox; "" if it has not joined one, or has no interface."""
        return self.record.ifname

    @property
    def attachment(self) -> Attachment:
        """What the container got, as `join` returned it, with the default route if the endpoint has it now.

        Raises:
            Forbidden: the endpoint is not joined.
        """
        if not self.joined:
            raise Forbidden(f"the endpoint {self.record.shown} is not joined to a sandbox")
        gateways = gateways_of(self._host, self.record.container_id)
        return results.attachment(self.record, results.elected_versions(self.record, gateways))

    def join(self, sandbox: JoinedSandbox, *, ifname: str = "") -> Attachment:
        """Make the interface in a sandbox, with addresses, routes, ports, limits and tuning. All of it or nothing.

        Args:
            sandbox: a `Sandbox`.
            ifname: the interface's name, at most 15 bytes. By default it is `eth` and the lowest free number, as
                libnetwork has it, or the name that a driver's plugin gives.

        Returns:
            Attachment: interfaces, addresses, routes and DNS. The default route is in it only if the sandbox has
                elected this endpoint as its default gateway.

        Raises:
            Forbidden: the endpoint is joined already, or the driver is `host` and the namespace is another.
            NoSuchEndpoint: it was deleted.
            NamespaceGone: there is no namespace at the sandbox's path.
            Conflict: the interface's name is taken, or the sandbox has a default route of another program.
            PortTaken: a port is published already.
            KernelError: a request to the kernel failed.
        """
        from cni_cnm.cnm.endpoint.connect_endpoint import connect
        from cni_cnm.cnm.network.network_gateways import restore

        if not isinstance(sandbox, JoinedSandbox):
            raise InvalidConfig(
                f"sandbox is {shown(sandbox)}, it must be a Sandbox", hint="Controller.sandbox finds one"
            )
        if ifname != "":
            validate.require(validate.new_interface_name, ifname, "ifname")
        with self._locked() as endpoint:
            if endpoint.record.state == READY:
                raise Forbidden(
                    f"the endpoint {self.record.shown} is joined to a sandbox already", hint="leave it first"
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
                    pod=_pod_of(self._host, sandbox.container_id),
                )
                return connect(endpoint, stack, undo, restore)

    def leave(self) -> None:
        """Take the interface out of the sandbox. The addresses stay reserved.

        No error if the namespace is gone. An endpoint whose `join` was killed half-way leaves, too.

        Raises:
            Forbidden: the endpoint is not joined.
            NoSuchEndpoint: it was deleted.
            Several: more than one step failed; what could be removed is removed, and `leave` may be called again.
        """
        with self._locked() as endpoint:
            if endpoint.record.state == CREATED:
                raise Forbidden(f"the endpoint {self.record.shown} is not joined to a sandbox")
            gathered = ErrorList()
            take_down_endpoint.disconnect(endpoint, gathered, delete_empty_sandbox=False)
            with firewall_state.lock(self._host, shared=True):
                gathered.attempt(
                    lambda: endpoint_elements.withdraw(lambda: self._host.nft, endpoint.record, endpoint.policy, None)
                )
                raise_gathered(gathered.errors)
                _write_left(endpoint)

    def delete(self, *, force: bool = False, unanswered: bool = False) -> Sequence[str]:
        """Release the addresses and delete the endpoint.

        Args:
            force: leave the sandbox first if it is joined.
            unanswered: delete the record even if a Docker plugin that has a part in the endpoint does not answer.

        Returns:
            Sequence[str]: what plugins refused and what was passed over, one sentence each.

        Raises:
            ActiveContainer: the endpoint is joined, and `force` is not given.
            NoSuchEndpoint: it was deleted already.
            Several: more than one step failed; the record stays, and `delete` may be called again.
        """
        with self._locked() as endpoint:
            if endpoint.record.state == READY and not force:
                raise ActiveContainer(
                    f"the endpoint {self.record.shown} is joined to {endpoint.record.container_id}",
                    hint="leave first, or delete with force",
                )
            gathered = take_down_endpoint.take_down(endpoint, {})
            if unanswered and gathered.unanswered:
                endpoint.delete_record()
                return [*gathered.notes, *(str(error) for error in gathered.errors)]
            raise_gathered(gathered.errors)
            return gathered.notes

    def info(self) -> Mapping[str, Json]:
        """What a Docker plugin reports of the endpoint (libnetwork's EndpointOperInfo).

        Returns:
            Mapping[str, Json]: keys and values as the plugin has them; empty if the endpoint has not joined, and for
                the built-in drivers.
        """
        if not self.joined:
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
        pod=Pod(),
        default_routes=offers,
    )


def _pod_of(host: Host, container_id: str) -> Pod:
    """The pod whose sandbox it is, as a runtime has named it for another endpoint of the sandbox."""
    record = sandbox_of(host, container_id)
    members = members_of(host, record) if record else ()
    return next((member.pod for member in members if member.pod.name), Pod())


def _free_name(endpoint: LockedEndpoint, stack: Stack) -> str:
    if endpoint.role.interface == "moved":  # the driver's plugin may have a name for it
        return ""
    taken = {link.name for link in stack.links()}
    return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)
