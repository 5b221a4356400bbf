"""What a check finds, and what it could not look at."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple


class Finding(NamedTuple):
    what: str
    """A sentence: the object, and what is wrong with it."""
    why: str
    """A sentence: what does not work because of it."""
    commands: tuple[str, ...]
    """What repairs it, in this order, each a line for a shell. Where it may be another's: what shows it."""
    about: str = ""
    """The object by its name alone: a network, the label of an endpoint, a link, a file."""
    safe: bool = False
    """`--fix` may do it: it is about what is shown to be ours, or a sysctl that our networks need."""
    key: str = ""
    """For `fix` of the check that found it."""


class Unchecked(NamedTuple):
    what: str
    """What was not looked at."""
    reason: str
    """Why, and the command that looks at it, if there is one."""


REPAIR = "cni-cnm repair"
"""The command of findings that the reconciliation puts right."""
