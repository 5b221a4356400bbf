"""The kernel's file of link counters."""

from __future__ import annotations

from cni_cnm.kernel.link_traffic import Traffic, parse, read

HEAD = "Inter-|   Receive          |  Transmit\n face |bytes packets errs drop … |bytes packets errs drop …\n"
TEXT = f"""{HEAD}\
    lo:     100 2 0 0 0 0 0 0      100 2 0 0 0 0 0 0
a:b\udcff: {2**64 - 1} 7 0 3 0 0 0 0   200 9 0 4 0 0 0 0
"""


def test_parse() -> None:
    """A name may have a colon and any byte, and counters have 64 bits."""
    assert parse(TEXT) == {
        "lo": Traffic(100, 2, 100, 2, 0),
        "a:b\udcff": Traffic(2**64 - 1, 7, 200, 9, 7),
    }


def test_read() -> None:
    """Loopback is in every namespace."""
    assert isinstance(read()["lo"], Traffic)
