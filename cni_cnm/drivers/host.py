"""The host driver: a container without a namespace of its own uses the host's network, and the engine knows about it.

The sandbox is the host's own namespace (`/proc/self/ns/net`). Nothing is made and nothing is touched. For the library
and the command line; a CNI runtime does not call plugins for such a pod, so the CNI frontend refuses the driver.
"""

from __future__ import annotations

from cni_cnm.drivers import Configuration
from cni_cnm.drivers.null import NullDriver, loopback
from cni_cnm.errors import CheckFailed, Forbidden
from cni_cnm.model import Device, Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.drivers.options import NoOptions
    from cni_cnm.kernel import Stack


class HostDriver(NullDriver):
    name = "host"
    configuration = Configuration(
        addresses=False,
        refused="gives a container no interface of its own",
        hint="run the pod in the host's network instead",
    )

    def create_endpoint(self, options: NoOptions, plan: EndpointPlan, host: Stack, place: Place) -> Device:
        if place.stack.inode() != host.inode():
            raise Forbidden(
                f"the sandbox {place.sandbox} has a namespace of its own, so it cannot be in the host's network",
                hint="make the sandbox with the host's namespace, /proc/self/ns/net",
            )
        link = loopback(place)
        return Device(Interface(link.name, link.mac, link.mtu, place.sandbox))

    def check_endpoint(self, options: NoOptions, plan: EndpointPlan, host: Stack, place: Place) -> None:
        if place.stack.inode() != host.inode():
            raise CheckFailed(f"the sandbox {place.sandbox} is not in the host's network")


DRIVER = HostDriver()
