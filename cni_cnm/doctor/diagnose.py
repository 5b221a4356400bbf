"""Runs the checks over one picture of the host, and repairs what is safe to repair."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

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
    *("reach", "records", "endpoints", "duplicates", "inside"),
)
"""In the order in which they are printed: first the host, then what is ours on it, then containers."""


class Check(Protocol):
    """A module of `checks/`."""

    def look(self, picture: Picture, /) -> Iterator[Finding | Unchecked]:
        """Takes no lock and writes nothing. A CnmError or OSError ends the check, and is said."""

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
    findings, unchecked = [], []
    for name in CHECKS:
        if name not in names:
            continue
        try:
            for found in check_of(name).look(picture):
                if isinstance(found, Finding):
                    findings.append((name, found))
                else:
                    unchecked.append((name, found))
        except (CnmError, OSError) as error:
            unchecked.append((name, Unchecked("the rest of this check", str(error))))
    return Diagnosis(findings, unchecked)


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
