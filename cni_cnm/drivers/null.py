"""The null driver: a sandbox with loopback and nothing else, for containers that must reach nothing.

A network of it is only a name. Any number may be made and removed. (Docker has exactly one, which cannot be removed.)
"""

from __future__ import annotations

from cni_cnm.drivers import Configuration, Driver, Role
from cni_cnm.drivers.options import NoOptions
from cni_cnm.errors import CheckFailed, InvalidConfig
from cni_cnm.firewall import Policy
from cni_cnm.model import Device, Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import Json, NetworkSpec

LOOPBACK = 1
"""Index of `lo`, every namespace's first device."""


class NullDriver(Driver[NoOptions]):
    name = "null"
    configuration = Configuration(frozenset(), addresses=False)

    def options(self, network: NetworkSpec) -> NoOptions:
        if network.ipam.type not in ("", "none") or network.ipam.config.keys() - {"type"}:
            raise InvalidConfig(
                f"the driver {self.name} gives no interface, so it has no use for an ipam",
                hint="leave out ipam",
            )
        if network.options.get("labels"):
            raise InvalidConfig(f"the driver {self.name} has no options: {', '.join(network.options['labels'])}")
        return NoOptions()

    def restore(self, raw: Mapping[str, Json]) -> NoOptions:
        return NoOptions()

    def policy(self, options: NoOptions) -> Policy:
        return Policy()

    def role(self, options: NoOptions) -> Role:
        return Role(interface="none", mac="inherited", outside="nowhere")

    def create_endpoint(self, options: NoOptions, plan: EndpointPlan, host: Stack, place: Place) -> Device:
        """Set loopback up and report it."""
        place.stack.set_link(LOOPBACK, up=True)
        return _reported(place)

    def delete_endpoint(self, options: NoOptions, plan: EndpointPlan, host: Stack) -> None:
        """Nothing: the kernel removes loopback with the namespace."""

    def check_endpoint(self, options: NoOptions, plan: EndpointPlan, host: Stack, place: Place) -> None:
        if not loopback(place).up:
            raise CheckFailed("the container's lo is down")


def loopback(place: Place) -> Link:
    link = place.stack.link_at(LOOPBACK)
    if link is None:
        raise CheckFailed(f"there is no loopback interface in {place.sandbox}")
    return link


def _reported(place: Place) -> Device:
    link = loopback(place)
    return Device(Interface(link.name, link.mac, link.mtu, place.sandbox))


DRIVER = NullDriver()
