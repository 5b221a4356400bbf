"""What explain says: steps, and how the way ended."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

DELIVERED, LEAVES, DROPPED, UNKNOWN = "delivered", "leaves", "dropped", "unknown"
HOST = "the host"
"""What this host's own namespace is called."""
OK, ENDS, NOT_KNOWN, NOTE = "ok", "ends", "unknown", "note"


class Step(NamedTuple):
    where: str
    """The namespace, for people."""
    what: str
    """`route`, `neighbour`, `bridge`, `filter`, `interface`, `socket`, …"""
    text: str
    mark: str = OK


class Verdict(NamedTuple):
    outcome: str
    """DELIVERED, LEAVES, DROPPED or UNKNOWN."""
    where: str
    reason: str
    hint: str = ""
    """The command to run next; "" for none."""


class Ended(Exception):
    """The packet goes no further."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


def dropped(where: object, reason: str, look: str = "") -> Ended:
    """`look` is a command that shows more in that namespace."""
    return Ended(Verdict(DROPPED, str(where), reason, _inside(str(where), look)))


def unknown(where: object, reason: str, look: str = "") -> Ended:
    return Ended(Verdict(UNKNOWN, str(where), reason, _inside(str(where), look)))


def _inside(where: str, look: str) -> str:
    """The command as it is run on the host."""
    return f"cni-cnm exec {where} -- {look}" if look and where != HOST and not look.startswith("cni-cnm") else look
