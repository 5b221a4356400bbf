"""Decodes the expressions of a rule of nf_tables to the values of contract/ruleset.py (linux/netfilter/nf_tables.h)."""

from __future__ import annotations

from cni_cnm.kernel.contract import ruleset
from cni_cnm.kernel.netlink.nlattr import each, number, places, raw, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cni_cnm.kernel.contract.ruleset import Expression
    from cni_cnm.kernel.netlink.nlattr import Places

_NAME, _DATA, _VALUE, _VERDICT = 1, 2, 1, 2
_CODES = {0: "drop", 1: "accept", -1: "continue", -3: "jump", -4: "goto", -5: "return"}
_OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
_UNKNOWN_LOADS = {"exthdr": 1, "rt": 1, "socket": 2, "numgen": 1, "hash": 2, "xfrm": 1, "osf": 1, "tunnel": 1}
"""Loads whose value is not known here, and which attribute names the register."""
_STATEMENTS = frozenset(("counter", "log", "notrack", "dup", "last", "flow_offload", "dynset", "quota", "ct_helper"))


def decode(data: bytes, begin: int, end: int) -> list[Expression]:
    found = []
    for _, first, last in each(data, begin, end):
        fields = places(data, first, last)
        inner = places(data, *fields.get(_DATA, (0, 0)))
        found.append(_decode(text(data, fields.get(_NAME)), data, inner))
    return found


def verdict_of(data: bytes, place: tuple[int, int]) -> ruleset.Verdict:
    parts = places(data, *place)
    code = int.from_bytes(raw(data, parts.get(1)), "big", signed=True)
    return ruleset.Verdict(_CODES.get(code, "queue"), text(data, parts.get(2)))


def _decode(name: str, data: bytes, fields: Places) -> Expression:
    known = _KNOWN.get(name)
    if known is not None:
        return known(data, fields)
    if name in _UNKNOWN_LOADS:
        register = fields.get(_UNKNOWN_LOADS[name])
        return ruleset.Load(number(data, register, "big"), name) if register else ruleset.Statement(name)
    return ruleset.Statement(name) if name in _STATEMENTS else ruleset.Unknown(name)


def _number(data: bytes, fields: Places, kind: int, absent: int = 0) -> int:
    return number(data, fields[kind], "big") if kind in fields else absent


def _value(data: bytes, fields: Places, kind: int) -> bytes:
    return raw(data, places(data, *fields.get(kind, (0, 0))).get(_VALUE))


def _immediate(data: bytes, fields: Places) -> Expression:
    inner = places(data, *fields.get(2, (0, 0)))
    if _VERDICT in inner:
        return verdict_of(data, inner[_VERDICT])
    return ruleset.Constant(_number(data, fields, 1), raw(data, inner.get(_VALUE)))


def _bitwise(data: bytes, fields: Places) -> Expression:
    to = _number(data, fields, 2)
    if _number(data, fields, 6):
        return ruleset.Load(to, "bitwise")  # shifts
    return ruleset.Mask(_number(data, fields, 1), to, _value(data, fields, 4), _value(data, fields, 5))


def _byteorder(data: bytes, fields: Places) -> Expression:
    register, to, length, size = (_number(data, fields, kind) for kind in (1, 2, 4, 5))
    return ruleset.Swap(register, to, length, size)


def _compare(data: bytes, fields: Places) -> Expression:
    return ruleset.Compare(_number(data, fields, 1), _OPERATORS[_number(data, fields, 2)], _value(data, fields, 3))


def _range(data: bytes, fields: Places) -> Expression:
    low, high = (_value(data, fields, kind) for kind in (3, 4))
    return ruleset.Between(_number(data, fields, 1), low, high, bool(_number(data, fields, 2)))


def _lookup(data: bytes, fields: Places) -> Expression:
    negated = bool(_number(data, fields, 5) & 1)
    return ruleset.Lookup(
        _number(data, fields, 2), text(data, fields.get(1)), negated, _number(data, fields, 3, absent=-1)
    )


def _payload(data: bytes, fields: Places) -> Expression:
    if 1 not in fields:
        return ruleset.Unknown("payload set")
    to, base, offset, length = (_number(data, fields, kind) for kind in (1, 2, 3, 4))
    return ruleset.Load(to, "payload", base, offset, length)


def _of(source: str, written: int) -> Callable[[bytes, Places], Expression]:
    """Of meta and ct, which load or store."""

    def read(data: bytes, fields: Places) -> Expression:
        key = _number(data, fields, 2)
        if written in fields:
            return ruleset.Store(_number(data, fields, written), source, key)
        direction = _number(data, fields, 3, absent=-1) if source == "ct" else -1
        return ruleset.Load(_number(data, fields, 1), source, key, flags=direction)

    return read


def _fib(data: bytes, fields: Places) -> Expression:
    to, result, flags = (_number(data, fields, kind) for kind in (1, 2, 3))
    return ruleset.Load(to, "fib", result, flags=flags)


def _nat(data: bytes, fields: Places) -> Expression:
    kind = "dnat" if _number(data, fields, 1) else "snat"
    address, port = (_number(data, fields, one, absent=-1) for one in (3, 5))
    return ruleset.Nat(kind, _number(data, fields, 2), address, port)


def _match(data: bytes, fields: Places) -> Expression:
    return ruleset.Match(text(data, fields.get(1)), _number(data, fields, 2), raw(data, fields.get(3)))


def _target(data: bytes, fields: Places) -> Expression:
    return ruleset.Target(text(data, fields.get(1)), _number(data, fields, 2), raw(data, fields.get(3)))


_KNOWN: Mapping[str, Callable[[bytes, Places], Expression]] = {
    "immediate": _immediate,
    "bitwise": _bitwise,
    "byteorder": _byteorder,
    "cmp": _compare,
    "range": _range,
    "lookup": _lookup,
    "payload": _payload,
    "meta": _of("meta", 3),
    "ct": _of("ct", 4),
    "fib": _fib,
    "nat": _nat,
    "masq": lambda _, __: ruleset.Nat("masquerade", 0),
    "redir": lambda data, fields: ruleset.Nat("redirect", 0, port=_number(data, fields, 1, absent=-1)),
    "reject": lambda _, __: ruleset.Verdict("reject"),
    "limit": lambda data, fields: ruleset.Limit(bool(_number(data, fields, 5) & 1)),
    "objref": lambda data, fields: ruleset.Statement("objref", text(data, fields.get(2))),
    "match": _match,
    "target": _target,
}
