"""Parts of a transaction, as etcd's gateway takes them: conditions, and what is done if they hold.

Keys and values are base64, 64-bit numbers may be numbers in a request and are strings in an answer. Zero and false are
left out of answers.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from cni_cnm.cluster.etcd.keys import end
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from cni_cnm.model import Json

    Operation: TypeAlias = Mapping[str, object]


class KeyValue(NamedTuple):
    """One key as etcd has it."""

    key: str
    """Bytes that are no UTF-8 are escaped, as `os.fsdecode` does."""
    value: bytes
    revision: int
    """At which it was written last (mod_revision)."""
    created: int
    """At which it was made (create_revision). As `revision`: it was not there before. 0: it is deleted."""


class Range(NamedTuple):
    """What a reading found."""

    found: Sequence[KeyValue]
    total: int
    """Of all keys in the range, also of those that a limit or a least revision left out."""
    more: bool
    """A limit left some out."""


# conditions ------------------------------------------------------------------


def absent(key: str) -> Operation:
    return {"key": _text(key), "target": "CREATE", "result": "EQUAL", "create_revision": 0}


def none_below(prefix: str) -> Operation:
    """No key begins with `prefix`. etcd compares each key of the range, and if there is none, one of zeros."""
    return {**absent(prefix), "range_end": _text(end(prefix))}


def unchanged(key: str, revision: int) -> Operation:
    """The key was written last at this revision; 0: it does not exist."""
    return {"key": _text(key), "target": "MOD", "result": "EQUAL", "mod_revision": revision}


# what is done ----------------------------------------------------------------


def put(key: str, value: bytes, lease: int = 0) -> Operation:
    return {"request_put": {"key": _text(key), "value": b64encode(value).decode(), "lease": lease}}


def delete(key: str) -> Operation:
    return {"request_delete_range": {"key": _text(key)}}


def delete_below(prefix: str) -> Operation:
    """All keys that begin with `prefix`."""
    return {"request_delete_range": range_below(prefix)}


def get(key: str) -> Operation:
    return {"request_range": {"key": _text(key)}}


def get_below(prefix: str) -> Operation:
    return {"request_range": range_below(prefix)}


def range_below(prefix: str, **more: object) -> Operation:
    """The request of a reading of all keys that begin with `prefix`."""
    return {"key": _text(prefix), "range_end": _text(end(prefix)), **more}


def range_from(key: str, prefix: str, **more: object) -> Operation:
    """As `range_below`, of the keys after `key`."""
    return {"key": _text(key + "\0"), "range_end": _text(end(prefix)), **more}


# answers ---------------------------------------------------------------------


def read_range(raw: Json) -> Range:
    """KeyError, TypeError or ValueError if the answer is not as etcd gives it."""
    found = [key_value(each) for each in raw.get("kvs", ())]
    return Range(found, int(raw.get("count", 0)), bool(raw.get("more")))


def key_value(raw: Json) -> KeyValue:
    return KeyValue(
        b64decode(raw["key"], validate=True).decode(errors="surrogateescape"),
        b64decode(raw.get("value", ""), validate=True),
        int(raw.get("mod_revision", 0)),
        int(raw.get("create_revision", 0)),
    )


def _text(key: str) -> str:
    return b64encode(key.encode(errors="surrogateescape")).decode()
