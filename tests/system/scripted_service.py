"""The real server around a scripted engine: python -m tests.system.scripted_service SOCKET LOG [--threads N].

CNI_ARGS says what the engine does: `until=WORD` waits for the file LOG.WORD, `meet=N` until N requests have begun,
`sleep=S` works for S seconds, `die` kills the process, `refuse` is "not mine", `raise` is a defect. LOG gets a line
`queued` for each request that is left for another thread, and `begin ID` and `end ID`, ID being CNI_ARGS' `id`.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from cni_cnm.service import server as service_server
from cni_cnm.service.activation import Listener, notify
from cni_cnm.service.places import Places
from cni_cnm.service.protocol import Refused
from cni_cnm.service.server import Answer, Call, Server
from cni_cnm.service.supervisor import Role, Supervisor
from cni_cnm.waiting import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 30.0


def main(path: str, log: str, threads: int) -> None:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def answer(call: Call) -> Answer:
        asked = dict(part.partition("=")[::2] for part in call.request.environ.get("CNI_ARGS", "").split(";"))
        name = asked.get("id", "?")
        os.write(target, f"begin {name}\n".encode())
        if "until" in asked:
            with waiting():
                _wait(lambda: os.path.exists(f"{log}.{asked['until']}"))
        if "meet" in asked:
            with waiting():
                _wait(lambda: _lines(log, "begin") >= int(asked["meet"]))
        time.sleep(float(asked.get("sleep", "0")))
        if "die" in asked:
            os.kill(os.getpid(), signal.SIGKILL)
        if "refuse" in asked:
            raise Refused("it is not mine")
        if "raise" in asked:
            raise ZeroDivisionError("a defect")
        os.write(target, f"end {name}\n".encode())
        return Answer(0, b"service " + call.request.stdin)

    class Logging(Places):
        def submit(self, task: Callable[[], None]) -> None:
            os.write(target, b"queued\n")
            super().submit(task)

    setattr(service_server, "Places", Logging)  # noqa: B010 - mypy lets no class be replaced
    listener = Listener(path, os.environ)
    server = Server(listener.socket, answer, places=1, threads=threads)
    supervisor = Supervisor([Role("worker", server.serve)], listener.close, [listener.lock] * (not listener.passed))
    supervisor.start()
    notify(os.environ, "READY=1")
    supervisor.run()


def _wait(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError("what the test promised did not happen")
        time.sleep(0.005)


def _lines(log: str, word: str) -> int:
    with open(log, encoding="utf-8") as file:
        return sum(line.startswith(word) for line in file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[4]) if len(sys.argv) > 4 else 16)
