"""What the kernel must have for the networks of this host: nf_tables, and links of their drivers' kinds."""

from __future__ import annotations

import os

from cni_cnm.doctor.commands import command, install
from cni_cnm.doctor.finding import Finding
from cni_cnm.doctor.seen_stack import has_kind
from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.firewall import INET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture

_OF_DRIVER = {"macvlan": "macvlan", "ipvlan": "ipvlan"}


def look(picture: Picture) -> Iterator[Finding]:
    try:
        awake = picture.host.nft.tables()
    except KernelError:
        awake = {}
    try:
        if INET not in awake:  # else rules were made, and making one to find out takes as long as a listing
            picture.host.nft.require()
    except KernelFeatureMissing as error:
        library = os.path.exists("/proc/net/netfilter")
        yield Finding(
            error.msg,
            "Masquerade, isolation and published ports do not work, and an ADD that needs one fails.",
            (install("nftables") if library else command("modprobe", "nf_tables"),),
        )
    drivers = {network.driver for network in picture.networks} | set(picture.configured_drivers)
    for kind in sorted({_OF_DRIVER[driver] for driver in drivers if driver in _OF_DRIVER}):
        if not has_kind(picture.host.stack, kind):
            yield Finding(
                f"the kernel has no {kind} links, and a network has the driver {kind}",
                "Every ADD on this network fails.",
                (command("modprobe", kind),),
                about=kind,
            )
    subnets_of_6 = 6 in picture.versions and picture.stack.sysctl("net/ipv6/conf/all/forwarding") is None
    if subnets_of_6:
        yield Finding(
            "this host has no IPv6, and a network has an IPv6 subnet",
            "Every ADD on this network fails.",
            (command("sed", "-i", "s/ ipv6.disable=1//", "/etc/default/grub"), command("update-grub")),
        )
