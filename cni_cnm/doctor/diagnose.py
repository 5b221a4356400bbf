"""Runs the checks over one picture of the host, and repairs what is safe to repair."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from cni_cnm.doctor import aside
from cni_cnm.doctor.finding import Finding, Unchecked
from cni_cnm.errors import CnmError
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.doctor.picture import Picture

CHECKS = (
    *(
        "kernel",
        "tools",
        "space",
        "clock",
        "conntrack",
        "service",
        "managers",
        "br_netfilter",
        "forwarding",
        "firewalls",
    ),
    *("conflists", "overlaps", "networks", "bridges", "mtu", "packet_filter", "leases", "links", "modes", "cluster"),
    *("names", "adoptions", "reach", "records", "endpoints", "duplicates", "inside"),
)
"""In the order in which they are printed: first the host, then what is ours on it, then containers."""

_APART = ("packet_filter", "leases", "modes")
"""Checks that take as long as all others together, once the records are read."""
MANY = 500


class Check(Protocol):
    """A module of `checks/`."""

    def look(self, picture: Picture, /) -> Iterator[Finding | Unchecked]:
        """Writes nothing, and locks an endpoint to look again. A CnmError or OSError ends the check, and is said."""

    def fix(self, host: Host, finding: Finding, /) -> str:
        """Look again, repair it, and return what was done; "" if nothing had to be done any more.

        Only checks with safe findings have it. CnmError if it is not possible.
        """


class Diagnosis(NamedTuple):
    """By the name of the check, in order."""

    findings: Sequence[tuple[str, Finding]]
    unchecked: Sequence[tuple[str, Unchecked]]


def check_of(name: str) -> Check:
    return cast("Check", import_module(f"cni_cnm.doctor.checks.{name}"))


def diagnose(picture: Picture, names: Collection[str] = CHECKS) -> Diagnosis:
    """Where there are many endpoints, a second process has a part of the checks: it has the records from this one."""
    chosen = [name for name in CHECKS if name in names]
    apart = [name for name in chosen if name in _APART]
    if len(apart) in (0, len(chosen)) or len(picture.every_endpoint) < MANY:
        found = _looked(picture, chosen)
    else:
        others = aside.start(lambda: _looked(picture.reopened(), apart))
        found = {**_looked(picture, [name for name in chosen if name not in apart]), **others()}
    pairs = [(name, one) for name in chosen for one in found[name]]
    return Diagnosis(
        [(name, one) for name, one in pairs if isinstance(one, Finding)],
        [(name, one) for name, one in pairs if isinstance(one, Unchecked)],
    )


def _looked(picture: Picture, names: Sequence[str]) -> dict[str, list[Finding | Unchecked]]:
    """What each check has found, by its name."""
    found: dict[str, list[Finding | Unchecked]] = {}
    for name in names:
        found[name] = []
        try:
            for one in check_of(name).look(picture):
                found[name].append(one)
        except (CnmError, OSError) as error:
            found[name].append(Unchecked("the rest of this check", str(error)))
    return found


def fix(host: Host, diagnosis: Diagnosis) -> Iterator[str]:
    """Repair the safe findings, each after another look. A sentence for each that was repaired, or could not be."""
    for name, finding in diagnosis.findings:
        if not finding.safe:
            continue
        try:
            done = check_of(name).fix(host, finding)
        except CnmError as error:
            yield f"{finding.what}; this was not repaired: {error}"
            continue
        if done:
            yield f"{finding.what}; {done}"
