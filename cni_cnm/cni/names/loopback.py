"""The plugin `loopback`, which runtimes call first for every sandbox: ADD sets `lo` up, DEL sets it down.

It has no configuration and ignores CNI_IFNAME: the link is always `lo`.
"""

from __future__ import annotations

from errno import ENODEV

from cni_cnm.cni import result
from cni_cnm.cni.versions import shape
from cni_cnm.errors import CheckFailed, Conflict, InvalidConfig, KernelError, NamespaceGone
from cni_cnm.model import Address, Attachment, Dns, Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cni.invocation import Invocation, Verb
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import IPInterface

_LO = "lo"
_NO_MAC = "00:00:00:00:00:00"


def _add(invocation: Invocation) -> bytes:
    previous = _previous(invocation)
    engine = invocation.controller()
    invocation.refuse_own_namespace(engine)
    with engine.namespaces.open(invocation.call.netns) as stack:
        link = _lo(stack)
        _refuse_other_addresses(stack.addresses(link.ifindex))
        if not link.up:
            stack.set_link(link.ifindex, up=True)
        addresses = stack.addresses(link.ifindex)
    if previous is not None:
        return previous
    first = [next((a for a in addresses if a.version == version), None) for version in (4, 6)]
    attachment = Attachment(
        interfaces=(Interface(_LO, _NO_MAC, sandbox=invocation.call.netns),),
        addresses=tuple(Address(address) for address in first if address is not None),
        routes=(),
        dns=Dns(),
        container_index=0,
    )
    return result.dump(result.encode(attachment, invocation.version))


def _previous(invocation: Invocation) -> bytes | None:
    """The previous result, unchanged, in the requested version. InvalidConfig if that version has another form."""
    raw = invocation.config.mapping("prevResult")
    if not raw:
        return None
    fields = invocation.config.object("prevResult")
    result.decode(fields, invocation.version)
    version = fields.text("cniVersion") or invocation.version
    if shape(version) != shape(invocation.version):
        raise InvalidConfig(
            f"prevResult is of version {version}, which the configuration's {invocation.version} cannot say"
        )
    others = {key: value for key, value in raw.items() if key.lower() != "cniversion"}
    return result.dump({**others, "cniVersion": invocation.version})


def _del(invocation: Invocation) -> bytes:
    engine = invocation.controller()
    if not invocation.call.netns or invocation.leads_to_own_namespace(engine):
        return b""
    try:
        with engine.namespaces.open(invocation.call.netns) as stack:
            stack.set_link(_lo(stack).ifindex, up=False)
    except NamespaceGone:
        pass  # its links are gone, too
    return b""


def _check(invocation: Invocation) -> bytes:
    if not invocation.config.mapping("prevResult"):
        raise InvalidConfig("required prevResult missing", hint="CHECK compares with the result of ADD")
    result.decode(invocation.config.object("prevResult"), invocation.version)
    with invocation.controller().namespaces.open(invocation.call.netns) as stack:
        up = _lo(stack).up
    if not up:
        raise CheckFailed(f"lo is down in {invocation.call.netns}", hint="DEL and ADD it again")
    return b""


def _nothing(invocation: Invocation) -> bytes:  # noqa: ARG001 - there is nothing to collect, and nothing can be used up
    return b""


def _lo(stack: Stack) -> Link:
    link = stack.link(_LO)
    if link is None:
        raise KernelError(f"there is no lo in {stack.path}", ENODEV)
    return link


def _refuse_other_addresses(addresses: Sequence[IPInterface]) -> None:
    for address in addresses:
        if not address.ip.is_loopback:
            raise Conflict(
                f"loopback interface found with non-loopback address {address}",
                hint="remove it from lo first",
            )


VERBS: Mapping[str, Verb] = {"ADD": _add, "CHECK": _check, "DEL": _del, "GC": _nothing, "STATUS": _nothing}
