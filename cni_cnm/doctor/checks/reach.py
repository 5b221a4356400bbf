"""Other hosts of the cluster: whether they answer, and with packets as large as those of the overlay networks."""

from __future__ import annotations

from cni_cnm.cluster import status_file
from cni_cnm.cnm.network import cluster_networks, join_overlay
from cni_cnm.doctor import echo
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding, Unchecked
from cni_cnm.drivers import OVERLAY
from cni_cnm.drivers.host_routing import uplink_mtu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture
    from cni_cnm.model import IPAddress

_OVERHEAD = {4: 50, 6: 70}
"""Bytes that VXLAN adds to a packet, by the IP version of the underlay."""


def look(picture: Picture) -> Iterator[Finding | Unchecked]:
    if picture.host.cluster is None:
        return
    if not picture.reach:
        yield Unchecked("whether other hosts are reached", "`cni-cnm doctor --reach` sends packets to them")
        return
    status = status_file.read(picture.settings.run_dir)
    underlay = status.mtu if status is not None else uplink_mtu(picture.stack)
    devices = [
        (network.policy.outside, link.mtu)
        for network in picture.networks
        if network.driver == OVERLAY and (link := picture.stack.link(network.policy.outside)) is not None
    ]
    view = cluster_networks.view_or_last_known(picture.host)
    me = join_overlay.membership(picture.host).host().name
    for name, host in sorted(view.snapshot.hosts.items()):
        for address in host.addresses if name != me else ():
            yield from _host(name, address, devices, underlay)


def _host(name: str, address: IPAddress, devices: list[tuple[str, int]], underlay: int) -> Iterator[Finding]:
    """A device whose packets with this IP version's headers are larger than the underlay's MTU uses the other one."""
    overhead = _OVERHEAD[address.version]
    if not echo.reaches(address, 1280):
        yield Finding(
            f"the host {name} does not answer at {address}",
            "Containers of the two hosts do not reach each other.",
            (command("ping", "-c", "3", str(address)),),
            about=name,
        )
        return
    for device, mtu in devices:
        if mtu + overhead > underlay or echo.reaches(address, mtu + overhead):
            continue
        fits = echo.largest(address, mtu + overhead) - overhead
        yield Finding(
            f"packets of {mtu + overhead} bytes do not reach the host {name} at {address}; {device} needs them",
            "Small packets of containers arrive, and large ones are lost: connections hang.",
            (command("ip", "link", "set", "dev", device, "mtu", str(fits)),),
            about=name,
        )
