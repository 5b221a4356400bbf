"""What sysfs says of a device: the network links that it has, and the driver that it is bound to."""

from __future__ import annotations

import os

from cni_cnm.kernel.contract.link import Hardware

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = "/sys"


def hardware(folder: str, *, root: str = ROOT) -> Hardware | None:
    """The device at a folder, given below `root` (`bus/pci/devices/0000:00:03.0`); None if there is none.

    A virtio device has its links one folder deeper. Links of other namespaces are not shown.
    """
    path = os.path.join(root, folder)
    entries = _names(path)
    if not entries:
        return None
    links = _names(os.path.join(path, "net"))
    for name in entries if not links else ():
        if name.startswith("virtio"):
            links = [*links, *_names(os.path.join(path, name, "net"))]
    return Hardware(tuple(links), _target(os.path.join(path, "driver")))


def _names(folder: str) -> Sequence[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return ()


def _target(link: str) -> str:
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return ""
