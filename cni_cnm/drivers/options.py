"""Typed reading of option mappings: one sentence for every wrong value, with the key as the user wrote it."""

from __future__ import annotations

from typing import NamedTuple

from cni_cnm.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.model import Json

LABEL_MTU = "com.docker.network.driver.mtu"
MTU_LOW, MTU_HIGH = 68, 65535


class NoOptions(NamedTuple):
    """Of a driver that has none."""

    def to_json(self) -> Mapping[str, Json]:
        return {}


def refuse_labels(raw: Mapping[str, Json], driver: str) -> None:
    """The reference profile has keys only."""
    if raw.get("labels"):
        raise InvalidConfig(
            f"options are given beside keys of the reference {driver} plugin",
            hint='use either those keys, or options with "profile": "cnm"',
        )


def labels(
    raw: Mapping[str, Json],
    driver: str,
    known: Sequence[str],
    reference_only: Sequence[str],
    *,
    own: tuple[str, ...] = (),
) -> Mapping[str, Json]:
    """The labels of the CNM profile, in lower case.

    Refused are the keys `reference_only`, and labels that are not `known` and begin as Docker's or the driver's `own`.
    """
    for key in reference_only:
        if raw.get(key.lower()) is not None:
            raise InvalidConfig(
                f"{key} is a key of the reference {driver} plugin, which the cnm profile does not read",
                hint="leave out profile to use those keys, or say it with options",
            )
    found = {str(key).lower(): value for key, value in (raw.get("labels") or {}).items()}
    for label in found:
        if label.startswith(("com.docker.network.", *own)) and label not in known:
            raise InvalidConfig(
                f"the {driver} driver does not know the option {label}", hint=f"known: {', '.join(known)}"
            )
    return found


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


def mtu(raw: Mapping[str, Json], key: str) -> int:
    value = number(raw, key, 0, 0, MTU_HIGH)
    if value and value < MTU_LOW:
        raise InvalidConfig(f"{key} is {value}, it must be 0 (automatic) or between {MTU_LOW} and {MTU_HIGH}")
    return value
