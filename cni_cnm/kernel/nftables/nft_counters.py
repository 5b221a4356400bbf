"""Reads named counters of nftables tables: what the rules that share one have counted."""

from __future__ import annotations

from cni_cnm.kernel.contract.element import Counter
from cni_cnm.kernel.netlink.nlattr import number, places, text
from cni_cnm.kernel.nftables import nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.kernel.nftables.nfnetlink import Questions

_GET_OBJECT, _COUNTER = 19, 1
"""NFT_MSG_GETOBJ, NFT_OBJECT_COUNTER."""
_TABLE, _NAME, _TYPE, _DATA = 1, 2, 3, 4
_BYTES, _PACKETS = 1, 2


def counters(questions: Questions, tables: Sequence[str]) -> list[Counter]:
    """Of each `FAMILY TABLE`, in the kernel's order. An absent table has none."""
    found = []
    for table in tables:
        family, name = table.split(" ")
        for data, begin, end in questions.dump(_GET_OBJECT, family, nfnetlink.text(_TABLE, name)):
            fields = places(data, begin, end)
            if number(data, fields.get(_TYPE), "big") == _COUNTER:
                counted = places(data, *fields.get(_DATA, (0, 0)))
                packets, size = (number(data, counted.get(kind), "big") for kind in (_PACKETS, _BYTES))
                found.append(Counter(table, text(data, fields.get(_NAME)), packets, size))
    return found
