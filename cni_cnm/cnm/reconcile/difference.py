"""What differs from the records, and what became of it."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple


class Difference(NamedTuple):
    """`key` is for the part that found it."""

    object: str
    """What it is about, such as `the network web`."""
    found: str
    """What is missing or wrong, such as `cni0 is down`. "": nothing is known yet, and `repair` has to look."""
    key: str

    @property
    def sentence(self) -> str:
        return f"{self.object}: {self.found}"


class Outcome(NamedTuple):
    """Of one difference."""

    sentence: str
    """The object, what was missing, and what was done. Of a failure: and why nothing was."""
    repaired: bool
