"""File-to-file moves of a warm ADD: how often a reader of the call changes the file. Run by scripts/measure.

Counted are calls whose caller and callee are in different files of the package, in the second ADD of a bare bridge. The
kernel is the one in memory, which is no part of the package: what is below the stack's interface is not counted.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from typing import TYPE_CHECKING

import cni_cnm
from cni_cnm.cni.plugin import handle
from cni_cnm.cnm.controller import Controller
from tests.bench.pairs import BARE, environ
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft

if TYPE_CHECKING:
    from types import FrameType

PACKAGE = os.path.dirname(os.path.abspath(cni_cnm.__file__)) + "/"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        moves = measure(folder)
    print(f"{sum(moves.values())} moves between files in a warm ADD; the most frequent:")
    for (caller, callee), count in moves.most_common(15):
        print(f"{count:4}  {caller} → {callee}")
    return 0


def measure(folder: str) -> Counter[tuple[str, str]]:
    namespaces, nft, moves = MemoryNamespaces(), MemoryNft(), Counter[tuple[str, str]]()

    def controller() -> Controller:
        return Controller(memory_host(folder, namespaces, nft))

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_back is not None:
            caller, callee = _file(frame.f_back), _file(frame)
            if caller and callee and caller != callee:
                moves[caller, callee] += 1

    for number in range(2):
        netns = f"/run/netns/{number}"
        namespaces.create(netns)
        call = {**environ("ADD"), "CNI_CONTAINERID": f"{number:064d}", "CNI_NETNS": netns}
        sys.setprofile(profile if number else None)
        reply = handle(call, json.dumps(BARE).encode, controller)
        sys.setprofile(None)
        if reply.code:
            sys.exit(f"measure: ADD ended with {reply.code}: {reply.out!r}")
    return moves


def _file(frame: FrameType) -> str:
    """Its file in the package; "" for other code."""
    path = os.path.abspath(frame.f_code.co_filename)
    return path.removeprefix(PACKAGE) if path.startswith(PACKAGE) else ""


if __name__ == "__main__":
    sys.exit(main())
