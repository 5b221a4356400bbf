"""Rules for values that all hosts agree on. Nothing is imported here: the driver needs them for every pod."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cluster.values import Direct

LAST_VNI = 0xFFFFFF
"""A VXLAN network identifier has 24 bits (RFC 7348)."""
DIRECT: tuple[Direct, ...] = ("auto", "always", "never")
ID_DIGITS = 32
_HEX = frozenset("0123456789abcdef")


def direct(text: str) -> Direct:
    """ValueError if it is no value of `direct`."""
    for known in DIRECT:
        if text == known:
            return known
    raise ValueError(f"{', '.join(DIRECT[:-1])} or {DIRECT[-1]}")


def hex_id(text: str) -> str:
    """The id of a network, or the instance of a host. ValueError if it is none."""
    if len(text) != ID_DIGITS or not _HEX.issuperset(text):
        raise ValueError(f"{ID_DIGITS} hex digits in lower case")
    return text
