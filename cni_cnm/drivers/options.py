"""Typed reading of option mappings: one sentence for every wrong value, with the key as the user wrote it."""

from __future__ import annotations

from typing import NamedTuple

from cni_cnm.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json


class NoOptions(NamedTuple):
    """Of a driver that has none."""

    def to_json(self) -> Mapping[str, Json]:
        return {}


def boolean(raw: Mapping[str, Json], key: str, default: bool) -> bool:
    """A JSON boolean, or the text `true`/`false` that labels carry (strconv.ParseBool's short forms too)."""
    value = raw.get(key.lower())
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "1", "t", "false", "0", "f"):
        return value.lower() in ("true", "1", "t")
    raise InvalidConfig(f"{key} is {value!r}, it must be true or false")


def number(raw: Mapping[str, Json], key: str, default: int, low: int, high: int) -> int:
    value = raw.get(key.lower())
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidConfig(f"{key} is {value!r}, it must be a whole number")
    if not low <= value <= high:
        raise InvalidConfig(f"{key} is {value}, it must be between {low} and {high}")
    return value


def text(raw: Mapping[str, Json], key: str, default: str = "") -> str:
    value = raw.get(key.lower())
    if value is None:
        return default
    if not isinstance(value, str):
        raise InvalidConfig(f"{key} is {value!r}, it must be a string")
    return value


def interface_name(raw: Mapping[str, Json], key: str, default: str) -> str:
    """A name the kernel takes (dev_valid_name): up to 15 bytes, no `/`, `:` or white space, not `.` or `..`."""
    name = text(raw, key) or default
    bad = len(name.encode()) > 15 or name in (".", "..") or any(c in "/:" or c.isspace() for c in name)
    if bad:
        raise InvalidConfig(
            f"{key} is {name!r}, which is no interface name",
            hint="at most 15 bytes, no '/', ':' or white space, not '.' or '..'",
        )
    return name
