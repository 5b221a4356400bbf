"""The real server around a scripted engine: python -m tests.system.scripted_service SOCKET LOG [--width N].

CNI_ARGS says what the engine does: `sleep=S` waits S seconds, `die` kills the process, `refuse` is
"not mine", `raise` is a defect. It writes `begin ID` and `end ID` lines to LOG, ID being CNI_ARGS' `id`.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from cni_cnm.service.activation import Listener, notify
from cni_cnm.service.protocol import Refused
from cni_cnm.service.server import Answer, Call, Server


def main(path: str, log: str, width: int) -> None:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def answer(call: Call) -> Answer:
        asked = dict(part.partition("=")[::2] for part in call.request.environ.get("CNI_ARGS", "").split(";"))
        name = asked.get("id", "?")
        os.write(target, f"begin {name}\n".encode())
        time.sleep(float(asked.get("sleep", "0")))
        if "die" in asked:
            os.kill(os.getpid(), signal.SIGKILL)
        if "refuse" in asked:
            raise Refused("it is not mine")
        if "raise" in asked:
            raise ZeroDivisionError("a defect")
        os.write(target, f"end {name}\n".encode())
        return Answer(0, b"service " + call.request.stdin)

    server = Server(Listener(path, os.environ), answer, width=width)
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    notify(os.environ, "READY=1")
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[4]) if len(sys.argv) > 4 else 16)
