"""The service that a call has left behind (cni/linger.py): it ends by itself, and answers only what it may.

It answers as the full program would. So it answers only calls with its own settings, in its own network and mount
namespace. Others, and those of another version, get the full program from their relays. A call of another version, and
`linger = 0` in the settings, end it.
"""

from __future__ import annotations

import os
import resource
import signal

from cni_cnm import settings as settings_module
from cni_cnm.kernel import systemd_scope
from cni_cnm.service.protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.service.server import Call

_OPEN_FILES = 65536
_UNLIMITED = (
    *(resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_DATA),
    *(resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_MEMLOCK),
)
_OOM_SCORE = "-500"
"""As in the unit: other processes are killed first."""
_supervisor = 0
"""Pid of the process that has become the daemon. Its children inherit the value."""


def become_daemon() -> None:
    """Raise the limits that the runtime gives to its plugins, and leave its control group, as far as possible."""
    global _supervisor  # noqa: PLW0603 - once in a process
    _supervisor = os.getpid()
    for limit in _UNLIMITED:
        _set_limit(limit, resource.RLIM_INFINITY)
    _set_limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(_OOM_SCORE)
    except OSError:
        pass
    systemd_scope.enter("Pod networking (cni-cnm): service for the next calls")


def refuse_others(call: Call) -> None:
    """Refused for a call that the full program might answer differently."""
    if call.request.environ.get(settings_module.ENVIRONMENT, "") != os.environ.get(settings_module.ENVIRONMENT, ""):
        raise Refused("the call has other settings")
    try:
        theirs, own = os.stat(f"/proc/{call.pid}/ns/mnt"), os.stat("/proc/self/ns/mnt")
    except OSError as error:
        raise Refused("the caller is in another pid namespace, or has ended") from error
    if (theirs.st_dev, theirs.st_ino) != (own.st_dev, own.st_ino):
        raise Refused("the caller is in another mount namespace")


def end() -> None:
    """Called in a worker: the supervisor stops the service when the requests in progress are finished.

    If the supervisor was killed, the worker has another parent, such as the runtime's shim, and ends by itself.
    """
    if os.getppid() == _supervisor:
        os.kill(_supervisor, signal.SIGTERM)


def _set_limit(limit: int, value: int) -> None:
    try:
        resource.setrlimit(limit, (value, value))
    except (OSError, ValueError):  # a container may forbid more than the hard limit
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (hard, hard))
