"""The chained driver: the interface is another plugin's, made before this one was called (`prevResult`).

It makes and removes nothing; the endpoint it gives adds published ports, shaping and tuning to that interface.
"""

from __future__ import annotations

from cni_cnm.drivers import Role
from cni_cnm.errors import CheckFailed, InvalidConfig
from cni_cnm.firewall import Policy
from cni_cnm.model import Device, Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import IPInterface, Json, NetworkSpec


class ChainedDriver:
    name = "chained"

    def options(self, network: NetworkSpec) -> Mapping[str, Json]:
        return {}

    def policy(self, options: Mapping[str, Json]) -> Policy:
        return Policy()

    def role(self, options: Mapping[str, Json]) -> Role:
        return Role(makes_device=False)

    def validate(self, options: Mapping[str, Json], host: Stack) -> None:
        """Nothing of the host is needed."""

    def create_network(self, options: Mapping[str, Json], gateways: Sequence[IPInterface], host: Stack) -> bool:
        return False

    def delete_network(self, options: Mapping[str, Json], host: Stack) -> None:
        """Nothing was made."""

    def create_endpoint(
        self,
        options: Mapping[str, Json],
        plan: EndpointPlan,
        host: Stack,
        place: Place,
    ) -> Device:
        """What is there: the container's link, and the host's way to it (the bridge of a port, else the port)."""
        link = place.stack.link(place.ifname)
        if link is None:
            raise InvalidConfig(
                f"the container has no interface {place.ifname}",
                hint="prevResult says that an earlier plugin made it; is CNI_IFNAME right?",
            )
        port = _host_end(link, host)
        ways: tuple[Interface, ...] = ()
        if port is not None:
            bridge = host.link_at(port.master) or port
            ways = tuple(Interface(way.name, way.mac, way.mtu) for way in (bridge, port))
        return Device(container=Interface(link.name, link.mac, link.mtu, place.sandbox), host=ways)

    def delete_endpoint(self, options: Mapping[str, Json], plan: EndpointPlan, host: Stack) -> None:
        """The interface plugin removes its own."""

    def check_endpoint(
        self,
        options: Mapping[str, Json],
        plan: EndpointPlan,
        host: Stack,
        place: Place,
    ) -> None:
        if place.stack.link(place.ifname) is None:
            raise CheckFailed(f"the container's interface {place.ifname} is missing")

    def status(self, options: Mapping[str, Json], host: Stack) -> str:
        return ""


def _host_end(link: Link, host: Stack) -> Link | None:
    """The veth's other end, if it is on the host: an index alone could be of any namespace."""
    if link.kind != "veth" or not link.peer:
        return None
    port = host.link_at(link.peer)
    return port if port is not None and port.kind == "veth" and port.peer == link.ifindex else None


DRIVER = ChainedDriver()
