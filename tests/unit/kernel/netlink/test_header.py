"""The walk through the messages of a datagram."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.errors import KernelError
from cni_cnm.kernel.netlink.header import HEADER, messages

BODIES = st.lists(st.binary(max_size=40), max_size=6)


def packed(bodies: list[bytes]) -> bytes:
    """Each message padded to four bytes, as the kernel sends them."""
    heads = [HEADER.pack(HEADER.size + len(body), 100 + n, 2, n, 0) for n, body in enumerate(bodies)]
    return b"".join(head + body + bytes(-len(body) % 4) for head, body in zip(heads, bodies, strict=True))


@given(BODIES)
def test_every_message_is_found(bodies: list[bytes]) -> None:
    data = packed(bodies)
    found = [(data[at + HEADER.size : end], kind, flags, number) for at, end, kind, flags, number in messages(data)]
    assert found == [(body, 100 + n, 2, n) for n, body in enumerate(bodies)]


@pytest.mark.parametrize("length", [0, HEADER.size - 1, HEADER.size + 1, 0xFFFFFFFF])
def test_a_message_of_a_wrong_length_is_an_error(length: int) -> None:
    """No endless loop, and no byte from outside of the message."""
    data = packed([b"whole"]) + HEADER.pack(length, 1, 0, 1, 0)
    with pytest.raises(KernelError, match="cut off") as raised:
        list(messages(data))
    assert raised.value.errno == errno.EINVAL


@given(st.binary(max_size=200))
def test_any_bytes_end(data: bytes) -> None:
    try:
        found = list(messages(data))
    except KernelError:
        return
    assert all(0 <= at < end <= len(data) for at, end, *_ in found)
