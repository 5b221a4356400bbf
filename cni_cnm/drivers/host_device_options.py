"""Options of host-device networks: which device, and of an endpoint what its device was on the host."""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.drivers import options
from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json, NetworkSpec

REFERENCE_KEYS = frozenset(("device", "hwaddr", "kernelpath", "pcibusid"))
KEYS = REFERENCE_KEYS | {"enableipv6"}
_SYSFS_DEVICES = "/sys/devices/"
_PCI_COLONS = 2
"""A PCI address is DOMAIN:BUS:SLOT.FUNCTION; the name of an auxiliary device has no colon."""


class HostDeviceOptions(NamedTuple):
    device: str = ""
    """Name of the link on the host."""
    hwaddr: str = ""
    kernelpath: str = ""
    """Folder of the device in sysfs, below /sys/devices."""
    pci: str = ""
    host_mac: str = ""
    """Of an endpoint: the MAC that its device had on the host; so for the next two."""
    host_mtu: int = 0
    host_alias: str = ""
    userspace: str = ""
    """Of an endpoint: the driver that gives its device to a program, so that there is no link."""

    @property
    def named(self) -> bool:
        """Whether the configuration says which device it is; else the runtime does."""
        return bool(self.device or self.hwaddr or self.kernelpath or self.pci)

    def to_json(self) -> Mapping[str, Json]:
        return {key: value for key, value in self._asdict().items() if value}

    @classmethod
    def from_json(cls, raw: Mapping[str, Json]) -> HostDeviceOptions:
        return cls(**{key: value for key, value in raw.items() if key in cls._fields})


def parse(network: NetworkSpec) -> HostDeviceOptions:
    """InvalidConfig names the key that is wrong. Without any device the runtime has to choose one for each endpoint."""
    raw = Fields(network.options, words=True)
    options.refuse_labels(raw, "host-device")
    if raw.text("ingressPolicy", "open") != "open":
        raise InvalidConfig(
            f"firewall.ingressPolicy is {raw.text('ingressPolicy')!r}, and packets of a host-device network do not "
            "pass the host's packet filter",
            hint="leave it out",
        )
    if network.internal:
        raise InvalidConfig(
            "a host-device network cannot be internal: its device leads to another network", hint="leave out internal"
        )
    return HostDeviceOptions(
        raw.parsed("device", validate.interface_name) or "",
        raw.mac("hwaddr"),
        raw.parsed("kernelpath", kernel_path) or "",
        raw.parsed("pciBusID", validate.device_id) or "",
    )


def kernel_path(text: str) -> str:
    if not text.startswith(_SYSFS_DEVICES) or ".." in text.split("/"):
        raise ValueError(f"an absolute path that begins with {_SYSFS_DEVICES}, without '..'")
    return text.rstrip("/")


def folder_of(device: str) -> str:
    """Where sysfs has the device of a PCI address or of an auxiliary device's name."""
    bus = "pci" if device.count(":") == _PCI_COLONS else "auxiliary"
    return f"bus/{bus}/devices/{device}"
