"""Sandbox: a container's network stack, joined by endpoints of one or several networks.

One a container. Its record lists the endpoints in joining order and which of them is the way out, a family at a time;
the election runs again whenever an endpoint joins or leaves.
"""

from __future__ import annotations

from cni_cnm.cnm.interface import configure_interface
from cni_cnm.cnm.objects.gateway_election import Candidate, elect
from cni_cnm.cnm.records import EndpointRecord, SandboxRecord
from cni_cnm.drivers import drivers
from cni_cnm.errors import ActiveContainer, CnmError, NamespaceGone, NoSuchSandbox
from cni_cnm.model import digest
from cni_cnm.state.files import ENDPOINTS, SANDBOXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Route
    from cni_cnm.state.lock import Lock

NOTHING_KNOWN: Mapping[str, int] = {}
LOOSE_REVERSE_PATH = "2"
"""rp_filter: accept a packet if any link leads back; with two networks an answer may leave by the other one."""


class Sandbox:
    def __init__(self, controller: Controller, container_id: str, netns: str) -> None:
        self._controller = controller
        self.container_id = container_id
        self.key = netns
        """Path of the network namespace (libnetwork's sandbox key)."""

    @property
    def id(self) -> str:
        return digest("sandbox", self.container_id)

    @property
    def record(self) -> SandboxRecord | None:
        """What is on record for this epoch; one of an earlier boot counts as none."""
        raw = self._controller.store.get(SANDBOXES, self.id)
        record = SandboxRecord.from_json(raw) if raw else None
        return record if record and record.epoch == self._controller.epoch else None

    def endpoints(self) -> Sequence[EndpointRecord]:
        """In joining order."""
        record = self.record
        return self._members(record) if record else ()

    def gateways(self) -> Mapping[int, str]:
        """IP version to the id of the endpoint that is the way out."""
        record = self.record
        return {int(version): endpoint for version, endpoint in record.gateways.items()} if record else {}

    def delete(self) -> None:
        """Forget the sandbox; ActiveContainer while endpoints are joined. The namespace itself is its maker's."""
        with self._lock():
            record = self.record
            if record is None:
                raise NoSuchSandbox(f"there is no sandbox of container {self.container_id}")
            members = self._members(record)
            if members:
                raise ActiveContainer(
                    f"the sandbox of {self.container_id} has endpoints: {', '.join(m.label for m in members)}",
                    hint="leave and delete them first",
                )
            self._controller.store.delete(SANDBOXES, self.id)

    def register(self) -> None:
        """Write the record of a sandbox without endpoints."""
        with self._lock():
            if self.record is None:
                self._write(SandboxRecord(self.id, self.container_id, self.key, self._controller.epoch))

    def admit(self, endpoint: EndpointRecord, stack: Stack, index: int = 0) -> frozenset[int]:
        """Take an endpoint in whose link stands; the IP versions for which it is the way out now.

        `index` is of the endpoint's link in the sandbox, from whoever knows it already.
        """
        with self._lock():
            record = self.record
            if record is None or record.netns != self.key:
                record = SandboxRecord(self.id, self.container_id, self.key, self._controller.epoch)
            others = [member for member in self._members(record) if member.id != endpoint.id]
            elected = elect([_candidate(member) for member in [*others, endpoint]])
            self._move_defaults(record, {m.id: m for m in [*others, endpoint]}, elected, stack, {endpoint.id: index})
            if others:
                _loosen_reverse_path([*others, endpoint], stack)
            self._write(
                record._replace(
                    endpoints=(*(member.id for member in others), endpoint.id), gateways=_to_record(elected)
                )
            )
            _connect_outside([*others, endpoint], record.gateways, _to_record(elected), newcomer=endpoint.id)
        return frozenset(version for version, winner in elected.items() if winner == endpoint.id)

    def dismiss(self, endpoint_id: str, *, forget_empty: bool) -> None:
        """Let an endpoint go whose link is gone, and give the way out to the next. Not joined is done."""
        with self._lock():
            record = self.record
            if record is None:
                if forget_empty:
                    self._controller.store.delete(SANDBOXES, self.id)
                return
            others = [member for member in self._members(record) if member.id != endpoint_id]
            if not others and forget_empty:
                self._controller.store.delete(SANDBOXES, self.id)
                return
            elected = elect([_candidate(member) for member in others])
            failure: CnmError | None = None
            if others and _to_record(elected) != dict(record.gateways):
                try:
                    stack = self._controller.namespaces.open(self.key)
                    try:
                        self._move_defaults(record, {m.id: m for m in others}, elected, stack)
                    finally:
                        stack.close()
                except NamespaceGone:
                    pass
                except CnmError as error:
                    failure = error
            self._write(record._replace(endpoints=tuple(m.id for m in others), gateways=_to_record(elected)))
            _connect_outside(others, record.gateways, _to_record(elected))
        if failure is not None:
            raise failure

    def _move_defaults(
        self,
        record: SandboxRecord,
        members: Mapping[str, EndpointRecord],
        elected: Mapping[int, str],
        stack: Stack,
        known: Mapping[str, int] = NOTHING_KNOWN,
    ) -> None:
        for version in (4, 6):
            before, after = record.gateways.get(str(version)), elected.get(version)
            if before == after:
                continue
            if before is not None and before in members:
                loser = members[before]
                configure_interface.remove_default(stack, loser.ifname, _default(loser, version), loser.addresses)
            if after is not None:
                winner = members[after]
                route = _default(winner, version)
                configure_interface.add_default(stack, winner.ifname, route, winner.addresses, known.get(after, 0))

    def _members(self, record: SandboxRecord) -> list[EndpointRecord]:
        found = (self._controller.store.get(ENDPOINTS, endpoint) for endpoint in record.endpoints)
        return [EndpointRecord.from_json(raw) for raw in found if raw]

    def _lock(self) -> Lock:
        return self._controller.store.lock(f"sandbox/{self.id}")

    def _write(self, record: SandboxRecord) -> None:
        self._controller.store.put(SANDBOXES, self.id, record.to_json())


def _candidate(endpoint: EndpointRecord) -> Candidate:
    families = frozenset(route.dst.version for route in endpoint.default_routes)
    internal = drivers.get(endpoint.driver).role(endpoint.options).internal
    return Candidate(endpoint.id, endpoint.network, families, endpoint.priority, internal)


def _default(endpoint: EndpointRecord, version: int) -> Route:
    return next(route for route in endpoint.default_routes if route.dst.version == version)


def _to_record(elected: Mapping[int, str]) -> dict[str, str]:
    return {str(version): endpoint for version, endpoint in elected.items()}


def _connect_outside(
    members: Sequence[EndpointRecord], before: Mapping[str, str], after: Mapping[str, str], newcomer: str = ""
) -> None:
    """Tell drivers that publish by themselves whose part has changed; who lost the way out is told first."""
    for member in sorted(members, key=lambda member: member.id in after.values()):
        driver = drivers.get(member.driver)
        was, now = _part(member.id, before), _part(member.id, after)
        if not driver.external_connectivity or (was == now and member.id != newcomer):
            continue
        if member.ports or any(now[:2]):
            driver.program(member.options, member.plan, ipv6_elsewhere=now[2])
        elif any(was[:2]):
            driver.revoke(member.options, member.plan)


def _part(endpoint: str, gateways: Mapping[str, str]) -> tuple[bool, bool, bool]:
    """Is it the way out of IPv4, of IPv6, and is the latter another one?"""
    ipv6 = gateways.get("6")
    return gateways.get("4") == endpoint, ipv6 == endpoint, ipv6 not in (None, endpoint)


def _loosen_reverse_path(members: Sequence[EndpointRecord], stack: Stack) -> None:
    keys = [f"net/ipv4/conf/{member.ifname}/rp_filter" for member in members if member.ifname]
    stack.set_sysctls([(key, LOOSE_REVERSE_PATH) for key in keys if stack.sysctl(key) == "1"], tolerate=True)
