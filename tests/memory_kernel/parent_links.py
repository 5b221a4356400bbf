"""Links on a parent link: macvlan, ipvlan, VLAN, and which of them one parent can have."""

from __future__ import annotations

import errno

from tests.memory_kernel.space import Device, Space, refuse

EXCLUSIVE = ("macvlan", "ipvlan")
"""Kinds that receive all packets of their parent: one kind for each parent, and none on a bridge's port."""


def place(
    lower: Device, there: Space, name: str, kind: str, mac: str, mtu: int, mode: str, flag: str, vid: int
) -> None:
    """Add the link in `there`, or refuse it as the kernel does."""
    parent = lower.link
    what = f"the {kind} {name} on {parent.name}"
    siblings = [device for device in lower.uppers if device.link.kind == kind]
    if parent.name == "lo" or mtu > parent.mtu:
        refuse(errno.EINVAL, what)
    if kind in EXCLUSIVE and (
        parent.master or any(u.link.kind in EXCLUSIVE and u not in siblings for u in lower.uppers)
    ):
        refuse(errno.EBUSY, what)
    if kind == "macvlan" and siblings and "passthru" in (mode, *(device.link.mode for device in siblings)):
        refuse(errno.EINVAL, what)
    if kind == "vlan" and not 0 <= vid < 4095:
        refuse(errno.ERANGE, what)
    if kind == "vlan" and any(device.vid == vid for device in siblings):
        refuse(errno.EEXIST, what)
    inherits = kind in ("ipvlan", "vlan") or mode == "passthru"
    made = there.add(name, mac=parent.mac if inherits else mac, mtu=mtu or parent.mtu, kind=kind)
    made.link = made.link._replace(mode=mode, flag=flag)
    made.vid = vid
    made.lower = lower
    lower.uppers.append(made)
    if kind == "ipvlan":  # mode and flag belong to the parent: the last link sets them for all
        for sibling in siblings:
            sibling.link = sibling.link._replace(mode=mode, flag=flag)
