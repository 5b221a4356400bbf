"""An edit of a network as a value, and what becomes of a configuration by it."""

from __future__ import annotations

import json

from cni_cnm.cni import request
from cni_cnm.fields import Fields
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.conflists.conflist import Conflist, Entry
    from cni_cnm.model import Json

_SUBNET_KEYS = ("subnet", "rangestart", "rangeend", "gateway", "ranges")


_SHORT = 110
"""Characters of an object or a list on one line."""


class Changes(NamedTuple):
    """What is to change of a network; everything else stays."""

    ranges: Sequence[Json] = ()
    """Range sets, in the place of the subnets."""
    internal: bool | None = None
    masquerade_except: Sequence[str] | None = None
    options: Mapping[str, str] = {}
    """Of the driver: labels, or keys of a configuration in the reference profile."""
    labels: Mapping[str, str] = {}
    allow_overlap: bool = False


def applied(changes: Changes, given: Mapping[str, Json]) -> dict[str, Json]:
    """The plugin's part of a configuration with the changes. Keys keep their place and their spelling."""
    found = dict(given)
    if changes.ranges:
        kept = {key: value for key, value in _object(found, "ipam").items() if key.lower() not in _SUBNET_KEYS}
        _put(found, "ipam", {**kept, "ranges": list(changes.ranges)})
    if changes.internal is not None:
        _put(found, "internal", changes.internal)
    if changes.masquerade_except is not None:
        _put(found, "masqueradeExcept", list(changes.masquerade_except))
    if changes.labels:
        _put(found, "labels", {**_object(found, "labels"), **changes.labels})
    if changes.allow_overlap:
        _put(found, "allowOverlap", True)
    if changes.options and _has_keys_of_the_reference(given):
        for key, value in changes.options.items():
            _put(found, key, value)
    elif changes.options:
        options = dict(_object(found, "options"))
        for key, value in changes.options.items():
            _put(options, key, value)
        _put(found, "options", options)
    return found


def rewritten(conflist: Conflist, entry: Entry, given: Mapping[str, Json]) -> bytes:
    """The text of a file in which an entry is replaced, indented as it was."""
    document: Json = given
    if conflist.is_list:
        plugins = [given if one is entry else one.given for one in conflist.entries]
        document = {key: plugins if key.lower() == "plugins" else value for key, value in conflist.document.items()}
    return text_of(document, conflist.indent)


def text_of(document: Json, indent: str = "  ") -> bytes:
    """A configuration as the text of a file: what is short stands on one line."""
    return (_text(document, "\n", indent) + "\n").encode()


def _text(value: Json, margin: str, indent: str) -> str:
    """`margin`: a line break, and what stands before the value's line."""
    plain = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (margin != "\n" and len(margin + plain) <= _SHORT):
        return plain
    inner = margin + indent
    if isinstance(value, list):
        return f"[{','.join(inner + _text(one, inner, indent) for one in value)}{margin}]"
    members = [f"{inner}{json.dumps(key)}: {_text(one, inner, indent)}" for key, one in value.items()]
    return f"{{{','.join(members)}{margin}}}"


def _has_keys_of_the_reference(given: Mapping[str, Json]) -> bool:
    fields = Fields(given)
    return request.profile_of(fields, request.driver_of(fields)) == request.REFERENCE


def _object(found: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    return Fields(found).mapping(key)


def _put(found: dict[str, Json], key: str, value: Json) -> None:
    spelled = next((one for one in found if one.lower() == key.lower()), key)
    found[spelled] = value
