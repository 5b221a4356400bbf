"""The plugin `loopback`, a runtime's first call for every sandbox: `lo` goes up on ADD and down on DEL.

It has no configuration, and CNI_IFNAME is not looked at: the device is always `lo`.
"""

from __future__ import annotations

from contextlib import closing
from errno import ENODEV

from cni_cnm.cni import result
from cni_cnm.cni.versions import shape
from cni_cnm.errors import CheckFailed, Conflict, InvalidConfig, KernelError, NamespaceGone
from cni_cnm.model import Address, Attachment, Dns, Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cni.plugin import Verb, Visit
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import IPInterface

_LO = "lo"
_NO_MAC = "00:00:00:00:00:00"


def _add(visit: Visit) -> bytes:
    previous = _previous(visit)
    engine = visit.controller()
    visit.refuse_own_namespace(engine)
    with closing(engine.namespaces.open(visit.call.netns)) as stack:
        link = _lo(stack)
        _refuse_strangers(stack.addresses(link.ifindex))
        if not link.up:
            stack.set_link(link.ifindex, up=True)
        addresses = stack.addresses(link.ifindex)
    if previous is not None:
        return previous
    first = [next((a for a in addresses if a.version == version), None) for version in (4, 6)]
    attachment = Attachment(
        interfaces=(Interface(_LO, _NO_MAC, sandbox=visit.call.netns),),
        addresses=tuple(Address(address) for address in first if address is not None),
        routes=(),
        dns=Dns(),
        container_index=0,
    )
    return result.dump(result.encode(attachment, visit.version))


def _previous(visit: Visit) -> bytes | None:
    """A result to pass on unchanged, in the version asked for. One of another shape is refused."""
    raw = visit.config.mapping("prevResult")
    if not raw:
        return None
    fields = visit.config.object("prevResult")
    result.decode(fields, visit.version)
    version = fields.text("cniVersion") or visit.version
    if shape(version) != shape(visit.version):
        raise InvalidConfig(f"prevResult is of version {version}, which the configuration's {visit.version} cannot say")
    others = {key: value for key, value in raw.items() if key.lower() != "cniversion"}
    return result.dump({**others, "cniVersion": visit.version})


def _del(visit: Visit) -> bytes:
    if not visit.call.netns:
        return b""
    engine = visit.controller()
    try:
        visit.refuse_own_namespace(engine)
        with closing(engine.namespaces.open(visit.call.netns)) as stack:
            stack.set_link(_lo(stack).ifindex, up=False)
    except NamespaceGone:
        pass  # its links went with it
    return b""


def _check(visit: Visit) -> bytes:
    if not visit.config.mapping("prevResult"):
        raise InvalidConfig("required prevResult missing", hint="CHECK compares with the result of ADD")
    result.decode(visit.config.object("prevResult"), visit.version)
    with closing(visit.controller().namespaces.open(visit.call.netns)) as stack:
        up = _lo(stack).up
    if not up:
        raise CheckFailed(f"lo is down in {visit.call.netns}", hint="DEL and ADD it again")
    return b""


def _nothing(visit: Visit) -> bytes:  # noqa: ARG001 - the device has no shared state to collect or to run out of
    return b""


def _lo(stack: Stack) -> Link:
    link = stack.link(_LO)
    if link is None:
        raise KernelError(f"there is no lo in {stack.path}", ENODEV)
    return link


def _refuse_strangers(addresses: Sequence[IPInterface]) -> None:
    for address in addresses:
        if not address.ip.is_loopback:
            raise Conflict(
                f"loopback interface found with non-loopback address {address}",
                hint="remove it from lo first",
            )


VERBS: Mapping[str, Verb] = {"ADD": _add, "CHECK": _check, "DEL": _del, "GC": _nothing, "STATUS": _nothing}
