"""Runs something in a child process, beside this one: on a host with thousands of endpoints for half of the checks."""

from __future__ import annotations

import os
import pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def start(work: Callable[[], T]) -> Callable[[], T]:
    """Begin `work` in a child, which has a copy of everything here. The result is picked up by what is returned.

    `work` uses no socket that is open here: two processes would read each other's answers. If the child ends without
    a result, `work` is done here.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            with open(writing, "wb") as pipe:
                pickle.dump(work(), pipe)
        finally:
            os._exit(0)
    os.close(writing)

    def result() -> T:
        with open(reading, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        try:
            found: T = pickle.loads(answer)  # noqa: S301 - from our own child
        except (EOFError, pickle.UnpicklingError):
            return work()
        return found

    return result
