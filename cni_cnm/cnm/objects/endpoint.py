"""Endpoint: a container's place in a network. Created in the network, it joins one sandbox, leaves it, is deleted.

    reserve ── addresses ──► connect ── device, plumbing, election, packet filter ──► ready
    release ◄── addresses ── disconnect ◄── packet filter, device, election ──────────┘

Doors that speak in one breath (CNI) run the steps in a row under one lock; others (the library) run them one at a time.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from cni_cnm import ipam
from cni_cnm.cnm.interface import configure_interface, default_routes
from cni_cnm.cnm.objects.sandbox import Sandbox
from cni_cnm.cnm.packet_filter import endpoint_elements, firewall_reconcile
from cni_cnm.cnm.records import CREATED, PENDING, READY, EndpointRecord
from cni_cnm.cnm.requests import results
from cni_cnm.cnm.rollback import ErrorList, Rollback
from cni_cnm.drivers import EndpointPlan, Place, drivers
from cni_cnm.errors import (
    ActiveContainer,
    CheckFailed,
    CnmError,
    Forbidden,
    IoFailed,
    NamespaceGone,
    NoSuchEndpoint,
    raise_gathered,
)
from cni_cnm.firewall import portmap
from cni_cnm.model import Attachment, Lease, stable_mac
from cni_cnm.state.files import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.drivers import Driver, Role
    from cni_cnm.ipam import Ipam
    from cni_cnm.kernel import Nft, Stack
    from cni_cnm.model import Address, Device, Dns, EndpointSpec, IPAddress, Json
    from cni_cnm.state.lock import Lock


class Endpoint:
    def __init__(self, controller: Controller, record: EndpointRecord) -> None:
        self._controller = controller
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
        gateways = self._sandbox.gateways()
        return results.attachment(self.record, frozenset(v for v, endpoint in gateways.items() if endpoint == self.id))

    # lifecycle, one step at a time ------------------------------------------

    def join(self, sandbox: Sandbox, *, ifname: str = "") -> Attachment:
        """Make the device in the sandbox. An endpoint joins once (Forbidden).

        `ifname` defaults to `eth` and the lowest free number, as libnetwork names a sandbox's interfaces, or to what
        a driver's plugin says.
        """
        from cni_cnm.drivers.options import interface_name

        interface_name({"ifname": ifname}, "ifname", "eth0")
        with self.lock():
            self.refresh()
            if self.record.state == READY:
                raise Forbidden(
                    f"the endpoint {self.record.label} is joined to a sandbox already", hint="leave it first"
                )
            stack = self._controller.namespaces.open(sandbox.key)
            try:
                return self._join(sandbox, stack, ifname)
            finally:
                stack.close()

    def _join(self, sandbox: Sandbox, stack: Stack, ifname: str) -> Attachment:
        with Rollback() as undo:
            undo.push_forgetting(self._part)
            self.write(
                state=PENDING,
                container_id=sandbox.container_id,
                ifname=(ifname or self._free_name(stack)) if self._role.interface != "none" else "",
                netns=sandbox.key,
                netns_inode=stack.inode(),
            )
            return self.connect(sandbox, stack, undo)

    def leave(self) -> None:
        """Take the device out of the sandbox; the addresses stay reserved."""
        with self.lock():
            self.refresh()
            if self.record.state == CREATED:
                raise Forbidden(f"the endpoint {self.record.label} is not joined to a sandbox")
            gathered = ErrorList()
            self.disconnect(gathered, forget_empty_sandbox=False)
            with firewall_reconcile.lock(self._controller, shared=True):
                gathered.attempt(lambda: endpoint_elements.withdraw(self._nft, self.record, self._policy, None))
                raise_gathered(gathered.errors)
                self._part()

    def _part(self) -> None:
        """On record: no longer joined. What a sandbox or its device brought is no longer the endpoint's."""
        offers = default_routes.default_routes(self.record.lease or Lease(), self._role)[1]
        self.write(
            state=CREATED, device=None, container_id="", ifname="", netns="", netns_inode=0, default_routes=offers
        )

    def _free_name(self, stack: Stack) -> str:
        if self._role.interface == "moved":  # the driver's plugin may have a name for it
            return ""
        taken = {link.name for link in stack.links()}
        return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)

    def info(self) -> Mapping[str, Json]:
        """What the driver can say of it beside the record (EndpointOperInfo)."""
        joined = self.record.state == READY
        return self._driver.info(self.record.options, self.plan) if joined else {}

    def delete(self, *, force: bool = False, unanswered: bool = False) -> Sequence[str]:
        """Give the addresses back and forget the endpoint. Joined and not `force`: ActiveContainer.

        With `unanswered` also if a plugin that has a part in it cannot be told. Sentences about what was passed over.
        """
        with self.lock():
            self.refresh()
            if self.record.state == READY and not force:
                raise ActiveContainer(
                    f"the endpoint {self.record.label} is joined to {self.record.container_id}",
                    hint="leave first, or delete with force",
                )
            gathered = self.take_down({})
            if unanswered and gathered.unanswered:
                self._controller.store.delete(ENDPOINTS, self.id)
                return [*gathered.notes, *(str(error) for error in gathered.errors)]
            raise_gathered(gathered.errors)
            return gathered.notes

    # the steps; callers hold the lock ---------------------------------------

    def lock(self) -> Lock:
        return self._controller.store.lock(f"endpoint/{self.record.id}")

    def refresh(self) -> None:
        raw = self._controller.store.get(ENDPOINTS, self.record.id)
        if raw is None:
            raise NoSuchEndpoint(f"the endpoint {self.record.label} does not exist any more")
        self.record = EndpointRecord.from_json(raw)

    def write(self, **changes: Any) -> None:
        """Change the record's fields and put it."""
        self.record = self.record._replace(**changes)
        self._controller.store.put(ENDPOINTS, self.record.id, self.record.to_json())

    def reserve(self, pool: Ipam, spec: EndpointSpec, dns: Dns | None, undo: Rollback) -> None:
        """Addresses from the pool; the lease gets the routes and DNS the container will see."""
        role = self._driver.role(self.record.options)
        if spec.previous is not None:
            there = spec.previous
            self.write(lease=Lease(there.addresses, there.routes, there.dns))
            return
        if isinstance(pool, ipam.WantsMac) and pool.wants_mac:
            self.write(mac=self.record.mac or stable_mac(self.id))
            spec = spec._replace(mac=self.record.mac)
        leased = pool.acquire(self.record.key, spec)  # all or nothing
        undo.push_forgetting(lambda: self.release(spec.environ))
        addresses = tuple(default_routes.with_gateway(address, role) for address in leased.addresses)
        routes, offers = default_routes.default_routes(leased._replace(addresses=addresses), role)
        self.write(
            ipam=pool.record(),
            lease=Lease(addresses, routes, spec.dns or dns or leased.dns),
            default_routes=offers,
        )

    def connect(self, sandbox: Sandbox, stack: Stack, undo: Rollback) -> Attachment:
        controller, record, driver = self._controller, self.record, self._driver
        role = driver.role(record.options)
        place = Place(stack, record.ifname, record.netns)
        device = driver.create_endpoint(record.options, self.plan, controller.host, place)
        undo.push(lambda: driver.delete_endpoint(record.options, self.plan, controller.host))
        if role.interface == "moved":
            undo.push(lambda: self._move_back(stack))
        if driver.needs_leave:
            undo.push(lambda: driver.leave(record.options, self.plan, place))
        if role.interface == "moved":
            device = self._move_in(device, stack)
            record = self.record
        self.record = record = record._replace(
            device=device, mac=record.mac or ("" if role.interface == "moved" else device.container.mac)
        )
        whole = record.whole
        plain = tuple(route for route in whole.routes if route not in record.default_routes)
        index = 0
        if role.configured and device.container.name:
            index = configure_interface.configure(stack, record.ifname, whole.addresses, plain, role, device.ifindex)
        if record.tuning or record.bandwidth:
            from cni_cnm.cnm.interface import interface_tuning

            device = interface_tuning.adjust(record, device, stack, controller.host, undo, self.write)
            self.record = record = self.record._replace(device=device)
        undo.push(lambda: sandbox.dismiss(record.id, forget_empty=True))
        elected = sandbox.admit(record, stack, index)
        undo.push(lambda: endpoint_elements.withdraw(self._nft, record, self._policy, None))
        undo.push(lambda: firewall_reconcile.withdraw_endpoint(controller, record, self._policy))
        if record.ports and device.host:
            controller.host.set_sysctls(portmap.sysctls(device.host[0].name, record.portmap))
        self._enforce()
        self.write(state=READY)
        attachment = results.attachment(self.record, elected)
        if record.ports and role.outside != "plugin":
            return attachment._replace(warnings=endpoint_elements.held(record.ports))
        return attachment

    def _move_in(self, device: Device, stack: Stack) -> Device:
        """What others made on the host. Its name there is on record before it is touched, to find the way back."""
        from cni_cnm.cnm.interface import move_link

        self.record = self.record._replace(device=device, ifname=device.container.name)
        offers = default_routes.default_routes(self.record.whole, self._role)[1] if device.source else ()
        self.write(host_ifname=device.source or self.record.host_ifname, default_routes=offers)
        if not device.source:
            return device
        container, index = move_link.into(stack, self._controller.host, device.source, device.container)
        return device._replace(container=container, ifindex=index)

    def _move_back(self, stack: Stack) -> None:
        from cni_cnm.cnm.interface import move_link

        move_link.back(stack, self._controller.host, self.record.ifname, self.record.host_ifname)

    def _enforce(self) -> None:
        """The endpoint's part of the packet filter, where everybody else's is in place."""
        record, policy, controller = self.record, self._policy, self._controller
        if not policy.bridge and not (record.ports and policy.publishes):
            return
        state = firewall_reconcile.ensure(controller, firewall_reconcile.whose(record, policy), policy)
        wanted = endpoint_elements.wanted(record, policy)
        if not (wanted.put or wanted.claim):
            return
        declared = firewall_reconcile.is_declared(state, wanted.declare)
        endpoint_elements.enforce(self._nft, record, wanted, self._alive, declare=not declared)
        if not declared:
            firewall_reconcile.remember(controller, wanted.declare)

    def disconnect(self, gathered: ErrorList, *, forget_empty_sandbox: bool) -> None:
        record = self.record
        gathered.attempt(lambda: self._remove_links(gathered))
        if record.container_id:
            gathered.attempt(lambda: self._sandbox.dismiss(record.id, forget_empty=forget_empty_sandbox))

    def _remove_links(self, gathered: ErrorList) -> None:
        record, controller, role = self.record, self._controller, self._role
        with controller.host.deleting():  # the kernel's wait for the ifb and the veth is one
            if record.tuning or record.bandwidth:
                from cni_cnm.cnm.interface import interface_tuning

                stays = not role.configured
                interface_tuning.release(record, controller.host, controller.namespaces, gathered, link_stays=stays)
            if record.state == CREATED and role.interface == "moved":  # its plugin knows nothing of it yet
                return
            self._take_out(gathered)
            if not gathered.unanswered:
                gathered.attempt(lambda: self._driver.delete_endpoint(record.options, self.plan, controller.host))

    def _take_out(self, gathered: ErrorList) -> None:
        """What is in the sandbox is taken out there; with the namespace it is gone, and another is not it."""
        driver, record = self._driver, self.record
        if not driver.needs_leave:
            return
        if driver.external_connectivity and (record.ports or record.id in self._sandbox.gateways().values()):
            gathered.attempt(lambda: driver.revoke(record.options, self.plan))
        if record.guest:  # the guest has put it back where it was made
            place = Place(self._controller.host, record.ifname)
            gathered.attempt(lambda: driver.leave(record.options, self.plan, place))
            return
        with ExitStack() as opened:
            stack = self._own_namespace(gathered)
            if stack is not None:
                opened.callback(stack.close)
            there = Place(stack, record.ifname, record.netns) if stack is not None else None
            if not gathered.unanswered:
                gathered.attempt(lambda: driver.leave(record.options, self.plan, there))
            if stack is not None and self._role.interface == "moved" and not gathered.unanswered:
                gathered.attempt(lambda: self._move_back(stack))

    def _own_namespace(self, gathered: ErrorList) -> Stack | None:
        """The sandbox it joined, if it is still there."""
        if not self.record.netns:
            return None
        try:
            stack = self._controller.namespaces.open(self.record.netns)
        except NamespaceGone:
            return None
        except CnmError as error:
            gathered.errors.append(error)
            return None
        if stack.inode() == self.record.netns_inode:
            return stack
        stack.close()
        return None

    def release(self, environ: Mapping[str, str]) -> None:
        """Addresses back to the pool, and what is keyed by them out of the packet filter while they are still ours."""
        record = self.record
        pool = self._pool

        def last(addresses: frozenset[IPAddress]) -> None:
            endpoint_elements.withdraw(self._nft, record, self._policy, addresses)

        pool.release(record.key, environ, last)
        endpoint_elements.end_streams(self._nft, record)

    def take_down(self, environ: Mapping[str, str]) -> ErrorList:
        """Every step, whatever fails; the record goes last, and only when nothing is left that it names."""
        gathered = ErrorList()
        self.disconnect(gathered, forget_empty_sandbox=True)
        gathered.attempt(lambda: firewall_reconcile.withdraw_endpoint(self._controller, self.record, self._policy))
        with firewall_reconcile.lock(self._controller, shared=True):
            if not gathered.unanswered:  # where it may still be used, nobody else must get its address
                self._note_leaving()
                gathered.attempt(lambda: self.release(environ))
            if not gathered.errors:
                gathered.attempt(lambda: self._controller.store.delete(ENDPOINTS, self.record.id))
        return gathered

    def _note_leaving(self) -> None:
        """Should it be killed behind the lease, nobody puts back what is keyed by an address: it may be another's."""
        try:
            self.write(state=PENDING)
        except IoFailed:
            pass  # a full disk keeps nobody from leaving

    def check(self, stack: Stack, previous: Attachment | None, environ: Mapping[str, str]) -> None:
        """CheckFailed naming the first thing that differs from the record, or from the result the caller holds."""
        record, driver = self.record, self._driver
        if record.state != READY or record.device is None or record.lease is None:
            raise CheckFailed(f"the endpoint {record.label} was never finished", hint="DEL and ADD it again")
        if previous is not None:
            results.compare(record, previous)
        place = Place(stack, record.ifname, record.netns)
        driver.check_endpoint(record.options, self.plan, self._controller.host, place)
        routes = self.attachment.routes
        role = driver.role(record.options)
        if role.configured and record.device.container.name:
            configure_interface.check(stack, record.device, record.addresses, routes, role)
        if record.tuning or record.bandwidth:
            from cni_cnm.cnm.interface import interface_tuning

            interface_tuning.check(record, stack, self._controller.host)
        firewall_reconcile.check(self._controller, record, self._policy)
        self._pool.check(record.key, record.lease, environ)

    @property
    def plan(self) -> EndpointPlan:
        return self.record.plan

    def _nft(self) -> Nft:
        return self._controller.nft

    def _alive(self, owner: str) -> bool:
        return any(name.startswith(owner) for name in self._controller.store.names(ENDPOINTS))

    @property
    def _pool(self) -> Ipam:
        record = self.record
        return ipam.restore(record.network, record.ipam_type, record.ipam, self._controller.settings)

    @property
    def _sandbox(self) -> Sandbox:
        return Sandbox(self._controller, self.record.container_id, self.record.netns)

    @property
    def _driver(self) -> Driver[Any]:
        return drivers.get(self.record.driver)

    @property
    def _role(self) -> Role:
        return self._driver.role(self.record.options)

    @property
    def _policy(self) -> endpoint_elements.Policy:
        return self._driver.policy(self.record.options)
