"""The real `PacketTrace`: a table that sets `nftrace` for the packets of one flow, and the kernel's reports of them."""

from __future__ import annotations

import select
from errno import EINVAL, EOPNOTSUPP, EPERM

from cni_cnm.errors import KernelError, KernelFeatureMissing, TryAgain
from cni_cnm.kernel.contract.packet_trace import TraceEvent
from cni_cnm.kernel.netlink.header import NETLINK_NETFILTER
from cni_cnm.kernel.netlink.nlattr import number, pack, places, text
from cni_cnm.kernel.netlink.notifications import Notifications
from cni_cnm.kernel.nftables import nfnetlink
from cni_cnm.kernel.nftables.nft_operations import verdict_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.kernel.contract.packet_trace import TracedFlow
    from cni_cnm.kernel.nftables.nfnetlink import Change

TABLE = "cni_cnm_trace"
_GROUP = 9
"""NFNLGRP_NFTRACE."""
_GET_TABLE = 1
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE, _TRACE = 0, 3, 6, 17
_CREATE, _APPEND = 0x400, 0x800
_OWNER = 2
"""NFT_TABLE_F_OWNER: the table goes with the socket that made it. From Linux 5.12 on."""
_BEFORE_ALL = -500
"""Priority: before every chain that another program is known to have."""
_HOOKS = (0, 3)
"""Where packets come up: prerouting and output."""
_REGISTER = 1
_NFPROTO, _L4PROTO, _ETHER_TYPE, _NFTRACE = 15, 16, 1, 12
"""NFT_META_…; of a frame the protocol is its Ethernet type."""
_KINDS = {1: "policy", 2: "return", 3: "rule"}
_POLICIES = ("drop", "accept")
_NESTED = nfnetlink.NESTED


class KernelPacketTrace:
    """In the network namespace of the thread that creates it."""

    def __init__(self, flow: TracedFlow) -> None:
        self._reports = _Reports()
        self._owner = nfnetlink.Questions()
        try:
            self._owner.commit(_changes(flow, "inet"))
        except OSError as error:
            self._reports.close()
            if error.errno in (EOPNOTSUPP, EINVAL):
                raise KernelFeatureMissing(
                    "this kernel cannot trace one flow: tables that belong to a socket need Linux 5.12",
                    hint="leave out --live: `cni-cnm explain CONTAINER` needs no trace",
                ) from None
            if error.errno == EPERM and _is_traced():
                raise TryAgain(
                    "another `cni-cnm explain --live` traces packets in this network namespace",
                    hint="try again when it has ended: its table goes with it",
                ) from None
            raise KernelError(f"the trace cannot be set up: {error.strerror}", error.errno or EINVAL) from error

        try:
            self._owner.commit(_changes(flow, "bridge"))
        except OSError:
            pass  # a kernel without tables of bridges has no rules for frames

    def __enter__(self) -> KernelPacketTrace:
        return self

    def __exit__(self, *_: object) -> None:
        self._owner.close()
        self._reports.close()

    def events(self, timeout_s: float) -> Sequence[TraceEvent]:
        if not select.select([self._reports], [], [], timeout_s)[0]:
            return []
        return self._reports.take()


def _is_traced() -> bool:
    """Whether there is such a table: the kernel lets only the socket that made it change it."""
    questions = nfnetlink.Questions()
    try:
        (found,) = questions.ask([(_GET_TABLE, "inet", nfnetlink.text(1, TABLE))])
    except OSError:
        return False
    finally:
        questions.close()
    return found is not None


class _Reports(Notifications):
    def __init__(self) -> None:
        super().__init__(NETLINK_NETFILTER, _GROUP)

    def take(self) -> list[TraceEvent]:
        """Without those of the table that marks."""
        found = [
            _event(data, family, begin, end)
            for data in self.datagrams()
            if data is not None
            for kind, family, begin, end in nfnetlink.nft_messages(data)
            if kind == _TRACE
        ]
        return [event for event in found if not event.table.endswith(f" {TABLE}")]


def _event(data: bytes, family: int, begin: int, end: int) -> TraceEvent:
    fields = places(data, begin, end)
    name = next((name for name, known in nfnetlink.FAMILIES.items() if known == family), "?")
    kind = _KINDS.get(number(data, fields.get(4), "big"), "?")
    verdict = verdict_of(data, fields[5]) if 5 in fields else None
    policy = number(data, fields.get(16), "big")
    said = _POLICIES[policy] if kind == "policy" and policy < 2 else verdict.code if verdict else ""
    return TraceEvent(
        number(data, fields.get(6), "big"),
        f"{name} {text(data, fields.get(1))}",
        text(data, fields.get(2)),
        kind,
        said,
        verdict.chain if verdict else "",
        number(data, fields.get(3), "big"),
        number(data, fields.get(10), "big"),
        number(data, fields.get(12), "big"),
    )


def _changes(flow: TracedFlow, family: str) -> list[Change]:
    name = nfnetlink.text(1, TABLE)
    changes: list[Change] = [(_NEW_TABLE, family, _CREATE, name + _word(2, _OWNER))]
    for hook in _HOOKS:
        chain = nfnetlink.text(3, f"hook{hook}")
        priority = pack(2, _BEFORE_ALL.to_bytes(4, "big", signed=True))
        called = _nested(4, _word(1, hook) + priority)
        changes.append((_NEW_CHAIN, family, _CREATE, name + chain + called + nfnetlink.text(7, "filter")))
        rule = name + nfnetlink.text(2, f"hook{hook}") + _nested(4, _rule(flow, family))
        changes.append((_NEW_RULE, family, _CREATE | _APPEND, rule))
    return changes


def _rule(flow: TracedFlow, family: str) -> bytes:
    four = flow.dst.version == 4
    if family == "bridge":
        parts = [_meta(_ETHER_TYPE), _equal(b"\x08\x00" if four else b"\x86\xdd")]
    else:
        parts = [_meta(_NFPROTO), _equal(bytes((2 if four else 10,)))]
    source, target, length = (12, 16, 4) if four else (8, 24, 16)
    if flow.src is not None:
        parts += [_payload(1, source, length), _equal(flow.src.packed)]
    parts += [_payload(1, target, length), _equal(flow.dst.packed)]
    parts += [_meta(_L4PROTO), _equal(bytes((flow.protocol,)))]
    if flow.dport:
        parts += [_payload(2, 2, 2), _equal(flow.dport.to_bytes(2, "big"))]
    one = _word(1, _REGISTER) + _nested(2, pack(1, b"\x01"))
    parts += [_expression("immediate", one), _expression("meta", _word(2, _NFTRACE) + _word(3, _REGISTER))]
    return b"".join(parts)


def _meta(key: int) -> bytes:
    return _expression("meta", _word(2, key) + _word(1, _REGISTER))


def _payload(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _word(1, _REGISTER) + _word(2, base) + _word(3, offset) + _word(4, length))


def _equal(value: bytes) -> bytes:
    return _expression("cmp", _word(1, _REGISTER) + _word(2, 0) + _nested(3, pack(1, value)))


def _expression(name: str, data: bytes) -> bytes:
    return _nested(1, nfnetlink.text(1, name) + _nested(2, data))


def _nested(kind: int, value: bytes) -> bytes:
    return pack(_NESTED | kind, value)


def _word(kind: int, value: int) -> bytes:
    return pack(kind, value.to_bytes(4, "big"))
