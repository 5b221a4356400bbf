"""The ipvlan driver: containers share the parent's MAC and are distinguished by their addresses.

Modes: `l2` (they answer ARP themselves), `l3` (the host routes for them, without ARP or broadcast), `l3s` (the same
through the host's packet filter). Flags: `bridge`, `private`, `vepa`, as macvlan's modes. The kernel has one mode
and one flag for all ipvlans of a parent, so two networks of one parent must have the same.
"""

from __future__ import annotations

from cni_cnm.drivers.parent_link import ParentLinkDriver, configuration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.drivers.parent_link_options import ParentLinkOptions
    from cni_cnm.kernel import Link, Stack


class IpvlanDriver(ParentLinkDriver):
    name = "ipvlan"
    configuration = configuration(name)
    link_kinds = frozenset((name,))

    def add_link(
        self, options: ParentLinkOptions, parent: Link, plan: EndpointPlan, parent_stack: Stack, place: Place
    ) -> None:
        parent_stack.add_ipvlan(
            place.ifname, parent.ifindex, mode=options.mode, flag=options.flag, to=place.stack, mtu=options.mtu
        )

    def sharing_conflict(self, options: ParentLinkOptions, other: ParentLinkOptions) -> str:
        if (options.mode, options.flag) != (other.mode, other.flag):
            return f"it uses mode {other.mode} {other.flag}, and all ipvlans of a parent have the same mode and flag"
        return ""


DRIVER = IpvlanDriver()
