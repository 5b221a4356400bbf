from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from cni_cnm.service.protocol import MAGIC, REPLY, encode_reply
from tests.system.relay import Relay, Service, read_request

if TYPE_CHECKING:
    import socket
    from pathlib import Path


def mutate(data: bytes, dice: random.Random) -> bytes:
    """A few bytes changed, inserted or cut, here and there."""
    changed = bytearray(data)
    for _ in range(dice.randint(0, 4)):
        at = dice.randrange(len(changed) + 1)
        match dice.randrange(4):
            case 0:
                changed[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                changed[at:at] = dice.randbytes(dice.choice((1, 4, 200)))
            case 2:
                del changed[at:]
            case 3:
                changed[at : at + 4] = dice.choice((bytes(4), b"\xff" * 4, b"\x01\0\0\0", b"\0\0\x40\0"))
    return bytes(changed)


def fuzz(sanitized_relay: Path, folder: Path, rounds: int, seed: int) -> None:
    relay = Relay(sanitized_relay, folder)
    dice = random.Random(seed)

    def script(connection: socket.socket) -> None:
        if dice.random() < 0.9:
            read_request(connection)
        whole = encode_reply(dice.randrange(256), dice.randbytes(dice.choice((0, 10, 5000))), b"e" * dice.randrange(9))
        connection.sendall(mutate(dice.choice((whole, dice.randbytes(40), REPLY.pack(MAGIC, 1, 2, 3, 4))), dice))

    with Service(relay.socket, script):
        for number in range(rounds):
            extra = {f"{dice.choice('ABC')}{i}": "v" * dice.choice((0, 1, 3000)) for i in range(dice.randrange(20))}
            ran = relay.run(
                dice.randbytes(dice.choice((0, 1, 700, 100_000))),
                args=tuple("a" * dice.choice((0, 1, 500)) for _ in range(dice.randrange(5))),
                environ={
                    **relay.environ(
                        CNI_COMMAND=dice.choice(("ADD", "DEL", "CHECK", "GC", "nonsense")),
                        CNI_NETNS=dice.choice(("/proc/self/ns/net", "/", "/dev/null", "x" * 5000, "/nowhere")),
                        CNI_CNM_TIMEOUT=dice.choice(("1", "", "-5", "99999999999999999999", "x")),
                    ),
                    **extra,
                },
            )
            assert b"Sanitizer" not in ran.err, f"seed {seed}, round {number}: {ran.err.decode()}"
            assert b"runtime error" not in ran.err, f"seed {seed}, round {number}: {ran.err.decode()}"
            assert 0 <= ran.code <= 255, f"seed {seed}, round {number}: killed by signal {-ran.code}"


def test_mutated_answers_never_break_the_relay(sanitized_relay: Path, tmp_path: Path) -> None:
    """Whatever a service sends, the relay answers or becomes the full program, without a fault."""
    fuzz(sanitized_relay, tmp_path, 150, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_mutated_answers_never_break_the_relay(sanitized_relay: Path, tmp_path: Path, seed: int) -> None:
    """The same, for longer, from other seeds."""
    fuzz(sanitized_relay, tmp_path, 1000, seed=seed)
