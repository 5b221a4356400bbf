"""A rule for iptables' tables in nf_tables, as iptables itself writes it.

libnftables cannot write these (it has no syntax for a match of iptables), and what it would write in their place
(`ct state`) makes iptables say that it cannot read the whole table any more.
"""

from __future__ import annotations

from cni_cnm.kernel.contract import filter_rules as rules
from cni_cnm.kernel.netlink.nlattr import pack
from cni_cnm.kernel.nftables import nfnetlink
from cni_cnm.kernel.nftables.nft_expressions import XT_CONNTRACK, XT_CONNTRACK_STATE, xt_state_mask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.contract.filter_rules import Condition, FilterRule

_NAME, _DATA = 1, 2
_META = {rules.INPUT: 6, rules.OUTPUT: 7}
_CODES = {rules.ACCEPT: 1, rules.JUMP: -3}
_COMMENT_BYTES = 256
"""struct xt_comment_info."""
_ALIGNED = 8
_REGISTER = 1


def encode(rule: FilterRule) -> bytes:
    """What `nft_expressions.read` reads again. ValueError for what no rule of ours has."""
    parts = [_condition(one) for one in rule.conditions]
    parts.append(_match("comment", 0, rule.comment.encode().ljust(_COMMENT_BYTES, b"\0")))
    parts.append(_expression("counter", b""))
    verdict = pack(1, _CODES[rule.verdict].to_bytes(4, "big", signed=True))
    if rule.target:
        verdict += nfnetlink.text(2, rule.target)
    parts.append(_expression("immediate", _word(1, 0) + _nested(2, _nested(2, verdict))))
    return b"".join(parts)


def _condition(condition: Condition) -> bytes:
    if condition.field in _META:
        (name,) = condition.values
        load = _expression("meta", _word(2, _META[condition.field]) + _word(1, _REGISTER))
        value = _nested(3, pack(1, name.encode(errors="surrogateescape") + b"\0"))
        return load + _expression("cmp", _word(1, _REGISTER) + _word(2, 0) + value)
    if condition.field == rules.STATE:
        info = XT_CONNTRACK.pack(XT_CONNTRACK_STATE, 0, xt_state_mask(condition.values), 0)
        return _match("conntrack", 3, info)
    raise ValueError(f"no rule of ours has the condition {condition}")


def _match(name: str, revision: int, info: bytes) -> bytes:
    aligned = info + bytes(-len(info) % _ALIGNED)
    return _expression("match", nfnetlink.text(1, name) + _word(2, revision) + pack(3, aligned))


def _expression(name: str, data: bytes) -> bytes:
    return _nested(1, nfnetlink.text(_NAME, name) + _nested(_DATA, data))


def _nested(kind: int, value: bytes) -> bytes:
    return pack(nfnetlink.NESTED | kind, value)


def _word(kind: int, value: int) -> bytes:
    return pack(kind, value.to_bytes(4, "big"))
