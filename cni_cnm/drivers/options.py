"""Options of several drivers: labels of the CNM profile, and the MTU."""

from __future__ import annotations

from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields
from cni_cnm.named_tuple import NamedTuple

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


def refuse_labels(raw: Fields, driver: str) -> None:
    """The reference profile has keys only."""
    if raw.raw("labels"):
        raise InvalidConfig(
            f"options are given beside keys of the reference {driver} plugin",
            hint='use either those keys, or options with "profile": "cnm"',
        )


def labels(
    raw: Fields,
    driver: str,
    known: Sequence[str],
    reference_only: Sequence[str],
) -> Fields:
    """The labels of the CNM profile.

    Refused are the keys `reference_only`, and labels that are not `known`: they would have no effect.
    """
    for key in reference_only:
        if key in raw:
            raise InvalidConfig(
                f"{key} is a key of the reference {driver} plugin, which the cnm profile does not read",
                hint="leave out profile to use those keys, or say it with options",
            )
    found = Fields(raw.mapping("labels"), words=True)
    for label in map(str.lower, found.spelled):
        if label not in known:
            from cni_cnm import spelling

            raise InvalidConfig(
                f"the {driver} driver does not know the option {label}", hint=spelling.hint(label, known)
            )
    return found


def mtu(raw: Fields, key: str) -> int:
    value = raw.whole(key, 0, 0, MTU_HIGH)
    if value and value < MTU_LOW:
        raise InvalidConfig(f"{key} is {value}, it must be 0 (automatic) or between {MTU_LOW} and {MTU_HIGH}")
    return value
