"""Lodger: an endpoint under another engine's id (Docker's), which moves the device into the sandbox and back itself.

hand_over ── device on the host ──► the engine joins its sandbox ──► publish, when it is the way out
delete    ◄── device back on the host ── the engine leaves it ◄── take_back
"""

from __future__ import annotations

from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.packet_filter import endpoint_elements
from cni_cnm.cnm.records import CREATED, PENDING, READY, EndpointRecord
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import Place
from cni_cnm.errors import Forbidden
from cni_cnm.firewall import portmap
from cni_cnm.state.files import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.model import Device, PortMapping


class DockerEndpoint(Endpoint):
    def hand_over(self, sandbox_key: str, wanted: tuple[PortMapping, ...]) -> Device:
        """Make the device on the host, for the sandbox at a path that need not exist yet. Asked again, a new one."""
        with self.lock(), Rollback() as undo:
            self.refresh()
            controller, driver = self._controller, self._driver
            driver.delete_endpoint(self.record.options, self.plan, controller.host)
            undo.push(lambda: self.write(state=CREATED, device=None, ifname="", netns="", wanted=()))
            self.write(state=PENDING, ifname=f"tmp{self.id[:12]}", netns=sandbox_key, wanted=wanted, ports=())
            record = self.record
            place = Place(controller.host, record.ifname)
            device = driver.create_endpoint(record.options, self.plan, controller.host, place)
            undo.push(lambda: driver.delete_endpoint(record.options, self.plan, controller.host))
            self.record = record = record._replace(device=device)
            undo.push(lambda: endpoint_elements.withdraw(self._nft, record, self._policy, None))
            self._enforce()
            self.write(state=READY)
        return device

    def take_back(self) -> None:
        """It has left its sandbox, and publishes nothing any more. The device goes with `delete`: it is still moved."""
        with self.lock():
            self.refresh()
            endpoint_elements.withdraw(self._nft, self.record, self._policy, None)
            self.write(state=CREATED, ports=(), wanted=(), netns="")

    def publish(self, wanted: tuple[PortMapping, ...], families: Sequence[int] = (4, 6)) -> tuple[PortMapping, ...]:
        """It is its sandbox's way out: publish its ports, and none that were asked for earlier and are not wanted now.

        What another endpoint of the same sandbox publishes already, being the way out of the other family, stays there.
        """
        from cni_cnm.cnm.packet_filter import port_allocator

        with self.lock(), Rollback() as undo:
            self.refresh()
            controller, before = self._controller, self.record
            if before.state != READY or before.device is None:
                raise Forbidden(f"the endpoint {before.label} is not joined to a sandbox")
            mine = [v for v in (4, 6) if v in families and any(a.interface.version == v for a in before.addresses)]
            for sibling in self._siblings():
                mine = [version for version in mine if version not in _published(sibling)]
            ports = port_allocator.choose(wanted, before.ports, mine, controller.nft, controller.host)
            endpoint_elements.unpublish(
                self._nft, before._replace(ports=tuple(p for p in before.ports if p not in ports))
            )
            undo.push(lambda: self.write(ports=tuple(port for port in before.ports if port in ports)))
            self.write(ports=ports, wanted=wanted)
            added = self.record._replace(ports=tuple(port for port in ports if port not in before.ports))
            undo.push(lambda: endpoint_elements.unpublish(self._nft, added))
            if ports and before.device.host:
                controller.host.set_sysctls(portmap.sysctls(before.device.host[0].name, before.portmap))
            self._enforce()
        return ports

    def unpublish(self) -> None:
        """Nothing published is done."""
        with self.lock():
            self.refresh()
            endpoint_elements.unpublish(self._nft, self.record)
            self.write(ports=())

    def _siblings(self) -> Iterator[EndpointRecord]:
        """Other endpoints in the same sandbox that publish ports."""
        for name in self._controller.store.names(ENDPOINTS):
            raw = self._controller.store.get(ENDPOINTS, name)
            if raw and name != self.id and raw.get("ports") and raw.get("netns") == self.record.netns:
                yield EndpointRecord.from_json(raw)


def _published(record: EndpointRecord) -> set[int]:
    """Families it publishes ports of."""
    own = {address.interface.version for address in record.addresses}
    return {v for port in record.ports for v in ((port.host_ip.version,) if port.host_ip is not None else own)}
