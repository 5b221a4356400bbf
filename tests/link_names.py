"""Names of links as the kernel takes them (dev_valid_name in net/core/dev.c), for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

_WHITE = b" \t\n\v\f\r\xa0"
"""isspace() of the kernel's ctype.h."""
_ALPHABET = [byte for byte in range(1, 256) if byte not in b"/:" + _WHITE]
_LIKELY = [*b"ab\"'*+!-\\{},;#$@%.", 0x1B, 0x85, 0xC3, 0xFF]


def link_names() -> st.SearchStrategy[str]:
    """As the kernel's bytes are text in Python: what is no UTF-8 has lone surrogates (PEP 383)."""
    byte = st.sampled_from(_LIKELY) | st.sampled_from(_ALPHABET)
    return (
        st.lists(byte, min_size=1, max_size=15)
        .map(bytes)
        .filter(lambda name: name not in (b".", b".."))
        .map(lambda name: name.decode(errors="surrogateescape"))
    )
