"""The gate of scripts/bench: which differences from the recorded counts are said."""

from __future__ import annotations

from typing import Any

from tests.bench.gate import compared

VERSIONS = {"python": "3.11.7", "libc": "glibc 2.36", "valgrind": "valgrind-3.19.0"}


def counted(calls: float = 217, messages: float = 13, million: float = 6.0, **versions: str) -> dict[str, Any]:
    return {
        "versions": {**VERSIONS, **versions},
        "counts": {"bare": {"system calls": calls, "netlink messages": messages}},
        "million instructions": {"bare": million},
    }


def said(found: dict[str, Any]) -> list[str]:
    return [sentence.partition(" ")[2].partition(" a pair")[0] for sentence in compared(counted(), found)]


def test_counts_are_compared_exactly_and_instructions_by_a_part() -> None:
    """One more or one less is a difference; 3 % of the instructions are none."""
    assert said(counted()) == []
    assert said(counted(calls=218)) == ["218 system calls"]
    assert said(counted(calls=216, messages=14)) == ["216 system calls", "14 netlink messages"]
    assert said(counted(million=6.17)) == []
    assert said(counted(million=6.2)) == ["6.2 million instructions"]
    assert said(counted(million=5.8)) == ["5.8 million instructions"]


def test_what_depends_on_a_version_is_compared_with_that_version_only() -> None:
    """Messages always are. Without valgrind there are no instructions."""
    assert said(counted(calls=300, messages=14, million=7, python="3.12.1")) == ["14 netlink messages"]
    assert said(counted(calls=300, million=7, libc="glibc 2.38")) == ["300 system calls"]
    assert said({**counted(valgrind=""), "million instructions": {}}) == []
