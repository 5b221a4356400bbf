"""The host-device driver: a device of the host is the container's interface while the endpoint exists.

    host namespace                       container
    ens3 ───── moved, and back ────────► eth0 (its alias says ens3)

The device is named, or found by its MAC, its place in sysfs, its PCI address or the runtime's device id. Its name on
the host, MAC, MTU and alias are recorded, and restored. A container's namespace that ends leaves a physical device on
the host under another name, and deletes a virtual one. As the reference `host-device` plugin, whose DEL reads the
alias: it can take back what this driver has moved.
"""

from __future__ import annotations

import errno

from cni_cnm.drivers import Configuration, Driver, ExistingInterface, Role, host_device_options
from cni_cnm.drivers.host_device_options import KEYS, REFERENCE_KEYS, HostDeviceOptions
from cni_cnm.errors import CheckFailed, DriverFailed, InvalidConfig, KernelError
from cni_cnm.firewall import Policy
from cni_cnm.model import Device, Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.kernel import Hardware, Link, Stack
    from cni_cnm.model import EndpointSpec, Json, NetworkSpec, Subnet

USERSPACE = frozenset(("vfio-pci", "uio_pci_generic", "igb_uio"))
"""Drivers that give a device to a program: it has no link then, and the container is given none."""


class HostDeviceDriver(Driver[HostDeviceOptions]):
    name = "host-device"
    configuration = Configuration(KEYS, REFERENCE_KEYS, addresses=False)
    needs_leave = True
    takes_host_link = True

    def options(self, network: NetworkSpec) -> HostDeviceOptions:
        return host_device_options.parse(network)

    def restore(self, raw: Mapping[str, Json]) -> HostDeviceOptions:
        return HostDeviceOptions.from_json(raw)

    def policy(self, options: HostDeviceOptions) -> Policy:
        return Policy()

    def role(self, options: HostDeviceOptions) -> Role:
        return Role(interface="device", mac="requested", outside="parent")

    def subnet_links(self, options: HostDeviceOptions, host: Stack) -> tuple[str, ...]:
        return (options.device,) if options.device else ()

    def existing_interface(
        self, options: HostDeviceOptions, spec: EndpointSpec, host: Stack, place: Place
    ) -> ExistingInterface[HostDeviceOptions]:
        found = find(options, spec.device_id, host)
        if isinstance(found, str):
            return ExistingInterface("", "", options, options._replace(userspace=found))
        endpoint = options._replace(host_mac=found.mac, host_mtu=found.mtu, host_alias=found.alias)
        return ExistingInterface(found.name, spec.mac or found.mac, options, endpoint)

    def create_endpoint(self, options: HostDeviceOptions, plan: EndpointPlan, host: Stack, place: Place) -> Device:
        if options.userspace:
            return Device(Interface(""))
        link = host.link(plan.host_ifname)
        if link is None:
            raise DriverFailed(f"{plan.host_ifname} vanished while it was being set up")
        if link.alias != link.name:
            host.set_link(link.ifindex, alias=link.name)
        return Device(Interface(place.ifname, plan.mac, link.mtu, place.sandbox), source=link.name)

    def delete_endpoint(self, options: HostDeviceOptions, plan: EndpointPlan, host: Stack) -> None:
        """Restore name, MAC, MTU and alias of the device that is on the host again. No error if absent."""
        name = plan.host_ifname
        if not name or options.userspace:
            return
        link = _returned(options, plan, host)
        if link is None:
            return
        if link.name != name and host.link(name) is None:
            host.set_link(link.ifindex, up=False)
            host.set_link(link.ifindex, name=name)
        mac = options.host_mac if link.mac != options.host_mac else None
        mtu = options.host_mtu if link.mtu != options.host_mtu else None
        try:
            host.set_link(link.ifindex, alias=options.host_alias, mac=mac, mtu=mtu)
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise

    def check_endpoint(self, options: HostDeviceOptions, plan: EndpointPlan, host: Stack, place: Place) -> None:
        if not options.userspace and place.stack.link(place.ifname) is None:
            raise CheckFailed(f"the container's interface {place.ifname} is missing")

    def status(self, options: HostDeviceOptions, subnets: Sequence[Subnet], host: Stack) -> str:
        """A warning alone: the device that a container has is not on the host, and that is no fault of the node."""
        if options.device and host.link(options.device) is None:
            return f"the host has no link {options.device}: a container has it, or it is not there"
        return ""


def find(options: HostDeviceOptions, device_id: str, host: Stack) -> Link | str:
    """The link to move, or the driver of a device that has none because a program uses it.

    The first way that is configured counts, in the reference's order; the runtime's device id is a PCI address.
    InvalidConfig if nothing names a device, or there is none.
    """
    pci = device_id or options.pci
    if options.device:
        link = host.link(options.device)
        what, folder = f"link {options.device}", ""
    elif options.hwaddr:
        link = next((one for one in host.links() if one.mac == options.hwaddr and one.name != "lo"), None)
        what, folder = f"link with the MAC {options.hwaddr}", ""
    elif options.kernelpath or pci:
        folder = options.kernelpath.removeprefix("/sys/") or host_device_options.folder_of(pci)
        link, what = None, f"network device at {options.kernelpath or pci}"
    else:
        raise InvalidConfig(
            'specify either "device", "hwaddr", "kernelpath" or "pciBusID"',
            hint="or let the runtime choose the device, with the capability deviceID",
        )
    if pci or folder:
        device = host.hardware(folder or host_device_options.folder_of(pci))
        if device is not None and pci and device.driver in USERSPACE:
            return device.driver
        if folder:
            link = _link_of(device, host)
    if link is None:
        raise InvalidConfig(f"the host has no {what}", hint="another container may have it: see cni-cnm endpoint ls")
    if link.name == "lo":
        raise InvalidConfig("lo cannot be moved into a container", hint="name a link that leads somewhere")
    return link


def _link_of(device: Hardware | None, host: Stack) -> Link | None:
    found = map(host.link, device.links if device is not None else ())
    return next((link for link in found if link is not None), None)


def _returned(options: HostDeviceOptions, plan: EndpointPlan, host: Stack) -> Link | None:
    """The device on the host, if it is there: alias and MAC show it, whatever name the kernel has given it."""

    def is_it(link: Link) -> bool:
        return link.alias == plan.host_ifname and link.mac in (options.host_mac, plan.mac)

    named = host.link(plan.host_ifname)
    if named is not None and is_it(named):
        return named
    return next((link for link in host.links() if is_it(link)), None)


DRIVER = HostDeviceDriver()
