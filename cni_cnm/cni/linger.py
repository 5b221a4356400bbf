"""Starts a service that lingers: the second of two calls within 10 s leaves one behind, for the calls that follow.

Only for root, behind the relay, and where systemd has no unit for the service. It ends by itself after a minute without
calls (service/lingering.py). Not `ADD` or `DEL`: a STATUS every few seconds needs no service.

RUN_DIR/linger    its time is that of the last call without a service
"""

from __future__ import annotations

import fcntl
import os
import sys
from time import time

from cni_cnm import settings as settings_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from cni_cnm.settings import Settings

ENVIRONMENT = "CNI_CNM_LINGER"
"""`0`: this call starts none."""
WITHIN_S = 10.0
UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_UNITS = ("cni-cnm.service", "cni-cnm.socket")
_DEFAULT_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def start_if_due(environ: Mapping[str, str]) -> None:
    """Called when the call is answered. OSError if something fails, which must not matter to the caller.

    The caller's process ends next. What is started has none of its descriptors, so no pipe of the runtime stays open.
    """
    settings = settings_module.in_force()
    if not settings.linger or settings.cluster or environ.get(ENVIRONMENT) == "0" or os.geteuid() != 0:
        return
    if not _called_before(f"{settings.run_dir}/linger"):
        return
    socket = environ.get("CNI_CNM_SOCKET") or settings_module.SERVICE_SOCKET
    if _has_unit() or _is_served(socket) or _is_inside(environ.get("CNI_NETNS", "")) or _is_apart():
        return
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        _detach()
        if os.fork() == 0:
            _execute(environ, socket, settings)
    finally:
        os._exit(0)


def _called_before(marker: str) -> bool:
    """Whether another call was without a service in the last seconds. This one is noted."""
    now = time()
    try:
        before = os.stat(marker).st_mtime
        os.utime(marker, (now, now))
    except FileNotFoundError:
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        return False
    return 0 <= now - before < WITHIN_S


def _has_unit() -> bool:
    return any(os.path.lexists(f"{folder}/{unit}") for folder in UNIT_FOLDERS for unit in _UNITS)


def _is_served(socket: str) -> bool:
    """Whether a service holds the lock of this socket (service/activation.py)."""
    try:
        lock = os.open(f"{socket.removesuffix('.sock')}.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _is_inside(netns: str) -> bool:
    """Whether this process is in the container's network namespace."""
    try:
        return os.path.samefile("/proc/self/ns/net", netns)
    except OSError:  # a DEL whose container is gone
        return False


def _is_apart() -> bool:
    """Whether the runtime is in another mount namespace: it made this one for the call, and the next is in another.

    Podman without root does so. A service would keep the mounts, and answer no call.
    """
    from cni_cnm.kernel.process import parent_of

    try:
        return not os.path.samefile("/proc/self/ns/mnt", f"/proc/{parent_of(os.getppid())}/ns/mnt")
    except OSError:  # it is in another pid namespace
        return False


def _detach() -> None:
    """Leave everything of the caller: session, folder, descriptors, signal handling."""
    import signal

    os.setsid()
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of the listing
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)


def _execute(environ: Mapping[str, str], socket: str, settings: Settings) -> NoReturn:
    kept = {"PATH": environ.get("PATH", _DEFAULT_PATH)}
    if named := environ.get(settings_module.ENVIRONMENT):
        kept[settings_module.ENVIRONMENT] = named
    if getattr(sys, "frozen", False):
        program = [sys.executable]
    else:
        program = [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]]
        program[-1] = os.path.realpath(program[-1])  # by the name of another plugin it is no command line
    os.execve(program[0], [*program, "serve", "--linger", str(settings.linger), "--socket", socket], kept)  # noqa: S606
