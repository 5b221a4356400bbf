from __future__ import annotations

import os
import socket
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.service.protocol import (
    REPLY_MAX,
    STDIN_MAX,
    Incoming,
    Refused,
    Request,
    decode_reply,
    encode_reply,
    encode_request,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = st.binary(max_size=30).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
KEYS = TEXT.filter(lambda key: key and "=" not in key)
REQUESTS = st.builds(
    Request,
    environ=st.dictionaries(KEYS, TEXT, max_size=8),
    argv=st.lists(TEXT, max_size=5),
    stdin=st.binary(max_size=500),
)


def receive(pieces: Sequence[bytes], descriptors: int) -> Request | None:
    """What arrives when a relay sends these pieces, the descriptors with the first."""
    ours, theirs = socket.socketpair()
    null = os.open("/dev/null", os.O_RDONLY)
    incoming = Incoming(ours)
    with theirs:
        try:
            socket.send_fds(theirs, [pieces[0]], [null] * descriptors)
            request = incoming.receive()
            for piece in pieces[1:]:
                theirs.sendall(piece)
                request = incoming.receive()
            return request
        finally:
            os.close(null)
            incoming.close()


@given(REQUESTS, st.integers(1, 2), st.lists(st.integers(1, 600), max_size=4))
def test_a_request_arrives_as_it_was_sent(request: Request, descriptors: int, cuts: list[int]) -> None:
    """Any environment, arguments and stdin, in whatever pieces."""
    data = encode_request(request, descriptors)
    bounds = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    pieces = [data[start:end] for start, end in pairwise(bounds)]
    assert receive(pieces, descriptors) == request


@given(REQUESTS, st.data())
def test_a_changed_head_never_becomes_another_request(request: Request, data: st.DataObject) -> None:
    """A changed byte in magic, version or counts is refused; in a length, it is refused or waits for more."""
    whole = bytearray(encode_request(request, 1))
    at = data.draw(st.integers(0, 55))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        received = receive([bytes(whole)], 1)
    except Refused:
        return
    assert 40 <= at < 52, "only the three lengths may pass unnoticed"
    assert received is None or received != request


@given(st.integers(0, 255), st.binary(max_size=300), st.binary(max_size=300))
def test_a_reply_is_read_as_it_was_written(code: int, out: bytes, err: bytes) -> None:
    """Exit code, stdout and stderr."""
    assert decode_reply(encode_reply(code, out, err)) == (code, out, err)


@given(st.binary(max_size=100), st.data())
def test_a_reply_cut_off_is_refused(out: bytes, data: st.DataObject) -> None:
    """At any byte."""
    whole = encode_reply(0, out, b"e")
    with pytest.raises(Refused):
        decode_reply(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_stderr_gives_way_to_the_result() -> None:
    """More than a relay has room for: the words for people are cut, the result is not."""
    out = b"o" * (REPLY_MAX - 5)
    assert decode_reply(encode_reply(0, out, b"e" * 100)) == (0, out, b"e" * 5)


def test_a_request_that_is_too_large_is_refused_by_its_header() -> None:
    """Before any of its body is kept."""
    with pytest.raises(Refused, match="too large"):
        receive([encode_request(Request({}, [], b"x" * (STDIN_MAX + 1)), 1)[:60]], 1)
