"""The macvlan driver: each container is a host of its own on the parent's physical network, with its own MAC.

In mode `bridge` containers of one parent reach each other, in `private` they do not, in `vepa` they do through the
external switch. In `passthru` only one container uses the parent, with the parent's MAC. The kernel then makes the
parent promiscuous.
"""

from __future__ import annotations

from cni_cnm.drivers.parent_link import ParentLinkDriver, configuration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.drivers.parent_link_options import ParentLinkOptions
    from cni_cnm.kernel import Link, Stack


class MacvlanDriver(ParentLinkDriver):
    name = "macvlan"
    configuration = configuration(name)
    link_kinds = frozenset((name,))

    def add_link(
        self, options: ParentLinkOptions, parent: Link, plan: EndpointPlan, parent_stack: Stack, place: Place
    ) -> None:
        parent_stack.add_macvlan(
            place.ifname,
            parent.ifindex,
            mode=options.mode,
            to=place.stack,
            mac=plan.mac if options.mode != "passthru" else "",
            mtu=options.mtu,
            bc_queue=options.bc_queue,
        )

    def sharing_conflict(self, options: ParentLinkOptions, other: ParentLinkOptions) -> str:
        if "passthru" in (options.mode, other.mode):
            return "a network in mode passthru must be alone on its parent"
        return ""


DRIVER = MacvlanDriver()
