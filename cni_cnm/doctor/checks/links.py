"""Links of ours that no record names: what is left of an endpoint whose record was lost.

A veth pair exists as long as the namespaces of both its ends, so its container may live. It is shown, and not deleted.
"""

from __future__ import annotations

import re

from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture

_OURS = re.compile("veth[0-9a-f]{8}")


def look(picture: Picture) -> Iterator[Finding]:
    """On bridges that a network made, with the name and the sysctl that an endpoint's link has.

    The reference plugin's links have such names, too, but accept router advertisements. They may share the bridge.
    """
    known = {record.host_ifname for record in picture.every_endpoint}
    if any(port.name not in known for port in picture.stack.links(kind="veth")):
        known |= {f"veth{name[:8]}" for name in picture.endpoint_ids()}  # also of those that have started since
    ours = {network.policy.bridge: network for network in picture.networks if network.owns_data_path}
    for bridge, network in ours.items():
        link = picture.stack.link(bridge)
        for port in picture.stack.links(master=link.ifindex) if link is not None else ():
            if port.name in known or port.kind != "veth" or not _OURS.fullmatch(port.name):
                continue
            guarded = picture.stack.sysctl(f"net/ipv6/conf/{port.name}/accept_ra") == "0"
            if guarded and picture.now.stack.link(port.name) is not None:
                yield Finding(
                    f"the link {port.name} on {bridge} of the network {network.name} has no record",
                    "It takes one of the bridge's 1,023 ports. The command shows where its other end is: if no "
                    "container runs there, delete the link.",
                    (command("ip", "-details", "link", "show", "dev", port.name),),
                    about=port.name,
                )
