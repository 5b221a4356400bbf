"""What macvlan and ipvlan have in common: interfaces on a link of the host that are in the container only.

    host namespace                     container
    eth0 (parent, without change) ──── eth0 (macvlan or ipvlan)

The interface is made in the container under its final name. Nothing of it is on the host, so it is deleted in the
container, or by the kernel with the container's namespace. The kernel gives the host itself no connection to the
containers over the parent.
"""

from __future__ import annotations

import errno
from abc import abstractmethod

from cni_cnm.drivers import Configuration, Driver, Role
from cni_cnm.drivers import parent_link_device as parents
from cni_cnm.drivers.parent_link_options import COMMON_KEYS, REFERENCE_ONLY, ParentLinkOptions, parse
from cni_cnm.errors import CheckFailed, CnmError, Conflict, DriverFailed, KernelError, NotReady
from cni_cnm.firewall import Policy
from cni_cnm.model import Device, Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import Json, NetworkSpec, Subnet


def configuration(kind: str) -> Configuration:
    reference = frozenset(key.lower() for key in REFERENCE_ONLY[kind])
    return Configuration(reference | {key.lower() for key in COMMON_KEYS}, reference)


class ParentLinkDriver(Driver[ParentLinkOptions]):
    """A driver has `name`, which is also the kernel's kind of link, and `add_link`."""

    needs_leave = True
    shares_links = True

    def options(self, network: NetworkSpec) -> ParentLinkOptions:
        return parse(self.name, network)

    def restore(self, raw: Mapping[str, Json]) -> ParentLinkOptions:
        return ParentLinkOptions.from_json(raw)

    def fixed(self, options: ParentLinkOptions) -> Mapping[str, Json]:
        return {"parent": options.parent, "mode": options.mode, "flag": options.flag}

    def policy(self, options: ParentLinkOptions) -> Policy:
        return Policy()

    def role(self, options: ParentLinkOptions) -> Role:
        return Role(
            default_route=options.default_route,
            internal=options.internal,
            dad=options.dad,
            mac="derived" if self.name == "macvlan" and options.mode != "passthru" else "inherited",
            outside="parent",
            gateway="none" if options.connected else "ipam",
        )

    def validate(self, options: ParentLinkOptions, host: Stack) -> None:
        if not options.in_container:
            parents.validate(options, host)

    def owns_data_path(self, options: ParentLinkOptions, host: Stack) -> bool:
        """Always: the link's alias shows what `delete_network` may remove."""
        return True

    def create_network(self, options: ParentLinkOptions, subnets: Sequence[Subnet], host: Stack) -> None:
        if not options.in_container:
            parents.ensure(options, host)

    def subnet_links(self, options: ParentLinkOptions, host: Stack) -> tuple[str, ...]:
        return () if options.in_container else (parents.name(options, host),)

    def delete_network(self, options: ParentLinkOptions, host: Stack) -> None:
        if not options.in_container:
            parents.remove(options, host)

    def shared_link(self, options: ParentLinkOptions, host: Stack) -> str:
        return parents.name(options, host)

    def create_endpoint(self, options: ParentLinkOptions, plan: EndpointPlan, host: Stack, place: Place) -> Device:
        parent_stack = place.stack if options.in_container else host
        parent = parents.ensure(options, parent_stack)
        try:
            self.add_link(options, parent, plan, parent_stack, place)
        except KernelError as error:
            if error.errno != errno.EEXIST:  # it may have been made, if the answer was lost
                self.leave(options, plan, place)
            raise self._explain(error, options, parent, place) from error
        link = place.stack.link(place.ifname)
        if link is None:
            raise DriverFailed(f"{place.ifname} vanished while it was being set up", hint="was its parent removed?")
        # As the reference: neighbours learn at once where an address is now. IPv4's key is set for every driver.
        place.stack.set_sysctls([(f"net/ipv6/conf/{place.ifname}/ndisc_notify", "1")], tolerate=True)
        return Device(Interface(link.name, link.mac, link.mtu, place.sandbox))

    @abstractmethod
    def add_link(
        self, options: ParentLinkOptions, parent: Link, plan: EndpointPlan, parent_stack: Stack, place: Place
    ) -> None:
        """Make the link on `parent`, which is in `parent_stack`."""

    def leave(self, options: ParentLinkOptions, plan: EndpointPlan, place: Place | None) -> None:
        link = place.stack.link(place.ifname) if place is not None else None
        if place is not None and link is not None and link.kind == self.name:
            place.stack.delete_link(link.ifindex)

    def delete_endpoint(self, options: ParentLinkOptions, plan: EndpointPlan, host: Stack) -> None:
        """Nothing: no part of the endpoint is on the host."""

    def check_endpoint(self, options: ParentLinkOptions, plan: EndpointPlan, host: Stack, place: Place) -> None:
        link = place.stack.link(place.ifname)
        if link is None:
            raise CheckFailed(f"the container's interface {place.ifname} is missing")
        if link.kind != self.name:
            raise CheckFailed(f"{place.ifname} is no {self.name} ({link.kind or 'a device of its own'})")
        if (link.mode, link.flag) != (options.mode, options.flag):
            found, wanted = f"{link.mode} {link.flag}".strip(), f"{options.mode} {options.flag}".strip()
            raise CheckFailed(f"{place.ifname} is in mode {found}, configured is {wanted}")
        named = options.private or options.parent
        if not named:
            return  # the default route may lead elsewhere by now
        parent = (place.stack if options.in_container else host).link(named)
        if parent is None or parent.ifindex != link.peer:
            raise CheckFailed(f"{place.ifname} is not on the parent {named}")

    def status(self, options: ParentLinkOptions, subnets: Sequence[Subnet], host: Stack) -> str:
        if options.in_container:
            return ""
        try:
            parents.validate(options, host)
        except CnmError as error:
            raise NotReady(error.msg, hint=error.hint) from error
        link = host.link(parents.name(options, host))
        return f"the parent {link.name} is down" if link is not None and not link.up else ""

    def _explain(self, error: KernelError, options: ParentLinkOptions, parent: Link, place: Place) -> Exception:
        if error.errno == errno.EEXIST and place.stack.link(place.ifname) is not None:
            return Conflict(
                f"the container has an interface {place.ifname} already", hint="DEL the old attachment first"
            )
        if error.errno == errno.EBUSY:
            return Conflict(
                f"{parent.name} cannot be the parent of a {self.name}: it is a port of another link, or the parent of "
                "another kind of interface",
                hint="one link takes macvlan or ipvlan interfaces, or is a bridge's port",
            )
        if error.errno == errno.EINVAL and options.mode == "passthru":
            return Conflict(
                f"{parent.name} has a macvlan already, and one in mode passthru must be alone on its parent",
                hint="remove the other container, or use another parent or mode",
            )
        if error.errno == errno.EINVAL:
            return Conflict(
                f"{parent.name} takes no {self.name} in mode {options.mode}",
                hint="check whether a macvlan in mode passthru uses it",
            )
        return error
