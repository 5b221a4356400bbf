"""What differs from the records, and what became of it."""

from __future__ import annotations

from typing import Literal

from cni_cnm.named_tuple import NamedTuple


class Difference(NamedTuple):
    """`key` is for the part that found it."""

    object: str
    """What it is about, such as `the network web`. "": what was found names it."""
    found: str
    """What is missing or wrong, such as `cni0 is down`. "": nothing is known yet, and `repair` has to look."""
    key: str
    stays: bool = False
    """It is not ours to change. It is only said, and `repair` is not called."""

    @property
    def sentence(self) -> str:
        return f"{self.object}: {self.found}" if self.object else self.found


class Outcome(NamedTuple):
    """Of one difference."""

    sentence: str
    """The object, what was missing, and what was done. Of a failure: and why nothing was."""
    result: Literal["repaired", "failed", "noted"]
    """`noted`: there is nothing to repair."""
