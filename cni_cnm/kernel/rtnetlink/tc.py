"""Messages of traffic control: token buckets, and the redirection of arriving packets. Opens no socket."""

from __future__ import annotations

from _socket import htons
from struct import Struct

from cni_cnm.kernel.contract.link import Bucket
from cni_cnm.kernel.netlink.nlattr import number, pack, pack_number, pack_text, places, text
from cni_cnm.kernel.token_bucket import U32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.netlink.nlattr import Places

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWTFILTER, RTM_GETTFILTER = 44, 46
REPLACE = 0x500
"""NLM_F_CREATE | NLM_F_REPLACE."""
CREATE = 0x400

ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
"""Parents: TC_H_ROOT and TC_H_INGRESS."""
_RATE_HANDLE, _INGRESS_HANDLE = 0x00010000, 0xFFFF0000
"""1: and ffff:, as the reference plugin has them."""
_U32_FIRST = 0x80000800
"""The first filter in u32's first table. With a fixed handle a second filter is refused, not added."""
_INFO = 1 << 16 | htons(3)
"""Of a filter: priority 1, ETH_P_ALL."""
_TERMINAL = 1
_STOLEN, _EGRESS_REDIRECT = 4, 1
FILTERS = ("u32", "matchall")
"""u32 as in the reference plugin, matchall where the kernel has no u32."""

_LENGTH, _HEADER_BYTES = Struct("=I"), 16
"""Of struct nlmsghdr the first field, and the size."""
_FIXED = Struct("=4xiIII")
"""struct tcmsg: index of the link, handle, parent, info."""
_KIND, _OPTIONS = 1, 2
"""TCA_KIND, TCA_OPTIONS."""
_TBF_PARMS, _TBF_RATE64 = 1, 4
_TBF = Struct("=8xI12xII4x")
"""struct tc_tbf_qopt: the rate, the limit and the burst in ticks. The rest is zero: peak rate, sizes, overhead."""
_U32_SEL, _ACTIONS = 5, {"u32": 7, "matchall": 2}
"""TCA_U32_SEL; TCA_U32_ACT and TCA_MATCHALL_ACT."""
_SELECTOR = Struct("=BxB29x")
"""struct tc_u32_sel with one key that matches everything: flags, number of keys."""
_FIRST = 1
"""TCA_ACT_PRIO_1."""
_MIRRED_PARMS = 2
_MIRRED = Struct("=8xi8xiI")
"""struct tc_mirred: what becomes of the packet, what is done, index of the link."""


def message(
    index: int, *, parent: int = 0, handle: int = 0, info: int = 0, kind: str = "", options: bytes = b""
) -> bytes:
    attributes = pack_text(_KIND, kind) if kind else b""
    if options:
        attributes += pack(_OPTIONS, options)
    return _FIXED.pack(index, handle, parent, info) + attributes


def place(index: int, parent: int) -> bytes:
    """ROOT or INGRESS of a link, to delete what is there or to ask for it.

    It has no handle and no kind: with one the kernel says EINVAL, not ENOENT, where there is nothing.
    """
    return message(index, parent=parent)


def root(index: int, wanted: Bucket) -> bytes:
    options = pack(_TBF_PARMS, _TBF.pack(min(wanted.rate, U32), wanted.limit, wanted.ticks))
    if wanted.rate >= U32:
        options += pack_number(_TBF_RATE64, wanted.rate, 8)
    return message(index, parent=ROOT, handle=_RATE_HANDLE, kind="tbf", options=options)


def bucket(data: bytes, offset: int) -> Bucket | None:
    """Of the message at `offset` of a datagram; None if it is no root discipline tbf."""
    _, _, parent, _ = _FIXED.unpack_from(data, offset + _HEADER_BYTES)
    kind, options = _read(data, offset)
    if parent != ROOT or kind != "tbf" or _TBF_PARMS not in options:
        return None
    rate, limit, ticks = _TBF.unpack_from(data, options[_TBF_PARMS][0])
    return Bucket(number(data, options.get(_TBF_RATE64)) or rate, ticks, limit)


def ingress(index: int) -> bytes:
    return message(index, parent=INGRESS, handle=_INGRESS_HANDLE, kind="ingress")


def redirect(index: int, to: int, kind: str) -> bytes:
    """The filter that sends all that arrives at `index` out of `to`; `kind` is one of FILTERS."""
    mirred = pack(_MIRRED_PARMS, _MIRRED.pack(_STOLEN, _EGRESS_REDIRECT, to))
    action = pack(_FIRST, pack_text(_KIND, "mirred") + pack(_OPTIONS, mirred))
    options = pack(_U32_SEL, _SELECTOR.pack(_TERMINAL, 1)) if kind == "u32" else b""
    options += pack(_ACTIONS[kind], action)
    handle = _U32_FIRST if kind == "u32" else 1
    return message(index, parent=_INGRESS_HANDLE, handle=handle, info=_INFO, kind=kind, options=options)


def filters(index: int) -> bytes:
    """The request that lists the filters of arriving packets."""
    return message(index, parent=_INGRESS_HANDLE)


def target(data: bytes, offset: int) -> int:
    """Index of the link that the filter in the message at `offset` redirects to.

    0 if it does not redirect, or that link is gone.
    """
    kind, options = _read(data, offset)
    if kind not in _ACTIONS or _FIXED.unpack_from(data, offset + _HEADER_BYTES)[3] != _INFO:
        return 0
    action = _inside(data, _inside(data, options, _ACTIONS[kind]), _FIRST)
    parameters = _inside(data, action, _OPTIONS)
    if text(data, action.get(_KIND)) != "mirred" or _MIRRED_PARMS not in parameters:
        return 0
    _, done, to = _MIRRED.unpack_from(data, parameters[_MIRRED_PARMS][0])
    return int(to) if done == _EGRESS_REDIRECT else 0


def _read(data: bytes, offset: int) -> tuple[str, Places]:
    """Kind and options of the message at `offset`."""
    begin, end = offset + _HEADER_BYTES + _FIXED.size, offset + _LENGTH.unpack_from(data, offset)[0]
    found = places(data, begin, end)
    return text(data, found.get(_KIND)), _inside(data, found, _OPTIONS)


def _inside(data: bytes, found: Places, kind: int) -> Places:
    return places(data, *found[kind]) if kind in found else {}
