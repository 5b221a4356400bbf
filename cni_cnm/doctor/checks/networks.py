"""The links of networks: bridges with their addresses, routes, state, MTU and forwarding; parents of macvlans."""

from __future__ import annotations

from cni_cnm.cnm.reconcile import networks as part
from cni_cnm.cnm.reconcile.changed import EVERYTHING
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import REPAIR, Finding
from cni_cnm.drivers import drivers
from cni_cnm.errors import CnmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.doctor.picture import Picture


def look(picture: Picture) -> Iterator[Finding]:
    for difference in part.compare(picture.host, EVERYTHING):
        yield Finding(
            difference.sentence,
            "Containers of this network do not reach their gateway, or nothing beyond it.",
            (REPAIR,),
            about=difference.key,
            safe=True,
            key=difference.key,
        )
    yield from _parents(picture)


def fix(host: Host, finding: Finding) -> str:
    return part.repair(host, Difference("", "", finding.key))


def _parents(picture: Picture) -> Iterator[Finding]:
    """Links of the host that macvlans and ipvlans are on. They are not ours."""
    for network in picture.used_networks:
        if network.driver not in ("macvlan", "ipvlan"):
            continue
        try:
            names = drivers.get(network.driver).subnet_links(network.options, picture.stack)
        except CnmError:
            continue
        for name in names:
            link = picture.stack.link(name)
            if link is not None and not link.up:
                yield Finding(
                    f"the network {network.name}: its parent {name} is down",
                    "Its containers reach nothing.",
                    (command("ip", "link", "set", "dev", name, "up"),),
                    about=network.name,
                )
