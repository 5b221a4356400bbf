"""The parent of a macvlan or ipvlan network: a link that is there, a VLAN of one, or one that leads nowhere.

A sub-interface made here is marked with an alias, so that one of the administrator's is never removed. It gets the
alias together with its final name, in one request: a process killed in between leaves a link of a name that is found
again.

The parent of an internal network is an ifb, which drops what is sent by it. Docker takes a dummy link; but an
ifb limits bandwidth here already, so that an internal network needs no further module.
"""

from __future__ import annotations

import errno

from cni_cnm.drivers.host_routing import uplink
from cni_cnm.drivers.parent_link_options import split_vlan
from cni_cnm.errors import Conflict, DriverFailed, InvalidConfig, KernelError
from cni_cnm.model import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.drivers.parent_link_options import ParentLinkOptions
    from cni_cnm.kernel import Link, Stack

ALIAS = "cni-cnm"
_TRIES = 5


def name(options: ParentLinkOptions, host: Stack) -> str:
    """What the parent on the host is called; "" if that is not known, or it is in the container.

    A configuration may name it by an alternative name, another one by its own: to both it is the same link.
    """
    if options.in_container:
        return ""
    named = options.private or options.parent
    link = host.link(named) if named else uplink(host)
    return link.name if link is not None else named


def validate(options: ParentLinkOptions, stack: Stack) -> None:
    """InvalidConfig or Conflict for a link that cannot be a parent. Changes nothing."""
    link = stack.link(options.private) if options.private else _there(options, stack)
    if options.private:
        if link is not None and link.kind != "ifb":
            raise _taken(link)
        return
    if link is None and options.vlan:
        link = stack.link(split_vlan(options.parent)[0])
    if link is None:
        raise _missing(options, stack)
    if link.mtu < options.mtu:
        raise InvalidConfig(f"mtu is {options.mtu}, more than the {link.mtu} of the parent {link.name}")
    if link.master:
        master = stack.link_at(link.master)
        raise Conflict(
            f"the parent {link.name} is a port of {master.name if master else 'another link'}",
            hint="name that link as the parent, or take the port out of it",
        )


def ensure(options: ParentLinkOptions, stack: Stack) -> Link:
    """The parent, made or completed where it is ours to make: idempotent, also with another caller beside."""
    link = _ensure_private(options, stack) if options.private else _there(options, stack)
    if link is None and options.vlan and split_vlan(options.parent)[1]:
        link = _ensure_vlan(options.parent, stack)
    if link is None:
        raise _missing(options, stack)
    if link.mtu < options.mtu:
        raise InvalidConfig(f"mtu is {options.mtu}, more than the {link.mtu} of the parent {link.name}")
    return link


def remove(options: ParentLinkOptions, host: Stack) -> None:
    """Remove what `ensure` made. No error if absent."""
    link = host.link(options.private or options.parent)
    ours = link is not None and (
        link.kind == "ifb" if options.private else options.vlan and link.kind == "vlan" and link.alias == ALIAS
    )
    if link is not None and ours:
        host.delete_link(link.ifindex)


def _there(options: ParentLinkOptions, stack: Stack) -> Link | None:
    return stack.link(options.parent) if options.parent else uplink(stack)


def _ensure_private(options: ParentLinkOptions, host: Stack) -> Link:
    link = host.link(options.private)
    if link is None:
        try:
            host.add_ifb(options.private, mtu=options.mtu)
        except KernelError as error:
            if error.errno != errno.EEXIST:  # two pods at once make it together
                raise
        link = host.link(options.private)
    if link is None:
        raise DriverFailed(f"{options.private} vanished while it was being set up")
    if link.kind != "ifb":
        raise _taken(link)
    if link.mtu < options.mtu:  # the configured MTU was raised since
        host.set_link(link.ifindex, mtu=options.mtu)
        return link._replace(mtu=options.mtu)
    return link


def _ensure_vlan(wanted: str, host: Stack) -> Link | None:
    below, vid = split_vlan(wanted)
    parent = host.link(below)
    if parent is None:
        return None
    unfinished = f"cnm{digest(wanted)[:8]}"
    for _ in range(_TRIES):  # two pods at once after a reboot: either may name what the other one made
        link = host.link(wanted)
        if link is not None:
            return link
        try:
            host.add_vlan_link(unfinished, parent.ifindex, vid)
        except KernelError as error:
            if error.errno != errno.EEXIST:
                raise
        made = host.link(unfinished)
        if made is None:
            continue
        try:
            # The host has no address there: SLAAC would give it one.
            host.set_sysctls([(f"net/ipv6/conf/{unfinished}/accept_ra", "0")], tolerate=True)
            host.set_link(made.ifindex, name=wanted, alias=ALIAS, up=True)
        except KernelError as error:
            if error.errno not in (errno.EEXIST, errno.ENODEV):
                raise
    raise Conflict(
        f"the VLAN {vid} of {below} exists under another name than {wanted}", hint="name that link as the parent"
    )


def _taken(link: Link) -> Conflict:
    return Conflict(f"{link.name} exists and is no ifb ({link.kind or 'a device of its own'})", hint="remove that link")


def _missing(options: ParentLinkOptions, stack: Stack) -> InvalidConfig:
    where = "in the container" if stack.path else "on the host"
    if not options.parent:
        return InvalidConfig(
            f"no parent is named, and there is no default route {where} to take the link of",
            hint="name the parent (master), or make the network internal",
        )
    hint = "`ip link` lists what there is"
    if options.vlan and split_vlan(options.parent)[0]:
        hint = f"nor is there {split_vlan(options.parent)[0]}, to make the VLAN on"
    return InvalidConfig(f"there is no link {options.parent} {where} to be the parent", hint=hint)
