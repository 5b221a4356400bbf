"""The listening sockets, from systemd (sd_listen_fds(3)) or our own, and readiness (sd_notify(3)).

RUN_DIR/               0700 root
RUN_DIR/service.sock   0600 root
RUN_DIR/service.lock   held while a service listens on a socket of its own

systemd names the sockets it passes (FileDescriptorName=): `docker` is for Docker's requests, any other for pods.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat

from cni_cnm import settings
from cni_cnm.errors import Conflict, IoFailed
from cni_cnm.state.small_files import make_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_PATH = settings.SERVICE_SOCKET
DOCKER_SOCKET_PATH = "/run/docker/plugins/cni-cnm.sock"
DOCKER = "docker"
_FIRST_PASSED = 3
"""SD_LISTEN_FDS_START: the first descriptor that systemd passes."""
_BACKLOG = 1024


class Listener:
    """A listening socket. `close` removes its file if systemd did not pass it."""

    def __init__(self, path: str, environ: Mapping[str, str], *, docker: bool = False) -> None:
        """IoFailed if the socket cannot be made, Conflict if another service listens there."""
        self._path = os.path.abspath(path)
        self.lock = -1
        """Descriptor of the lock file, which no child may keep."""
        self._inode = 0
        """Of the file that was made for the socket."""
        descriptor = passed(environ, docker=docker)
        self.passed = descriptor is not None
        self.socket = self._listen() if descriptor is None else socket.socket(fileno=descriptor)
        os.set_inheritable(self.socket.fileno(), False)

    def close(self) -> None:
        """Stop accepting. Connections in the kernel's queue are refused; those on a socket of systemd stay queued."""
        if not self.passed:
            try:
                if os.lstat(self._path).st_ino == self._inode:
                    os.unlink(self._path)
            except FileNotFoundError:
                pass  # its folder was removed; then another service may have made both again
        self.socket.close()
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def _listen(self) -> socket.socket:
        lock = f"{self._path.removesuffix('.sock')}.lock"
        try:
            make_folder(os.path.dirname(self._path), 0o700)
            self.lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self.lock)
                raise Conflict(
                    f"another service listens on {self._path}", hint=f"`fuser -v {lock}` shows the process"
                ) from None
            if os.path.lexists(self._path):
                self._remove_old()
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            mask = os.umask(0o177)
            try:
                listener.bind(self._path)
            finally:
                os.umask(mask)
            self._inode = os.lstat(self._path).st_ino
            listener.listen(_BACKLOG)
        except OSError as error:
            raise IoFailed(
                f"the service cannot listen on {self._path}: {error.strerror}", hint="it needs to run as root"
            ) from error
        return listener

    def _remove_old(self) -> None:
        """Remove the socket of a service that was killed. Any other kind of file stays: the path may be a mistake."""
        if not stat.S_ISSOCK(os.lstat(self._path).st_mode):
            raise Conflict(f"the service cannot listen on {self._path}: the path is taken by a file that is no socket")
        os.unlink(self._path)


def passed(environ: Mapping[str, str], *, docker: bool = False) -> int | None:
    """Descriptor of the socket that systemd passed to this process for pods, or for Docker; None if there is none."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
        return None
    names = [*environ.get("LISTEN_FDNAMES", "").split(":"), *([""] * int(count))][: int(count)]
    found = [_FIRST_PASSED + number for number, name in enumerate(names) if (name == DOCKER) is docker]
    return found[0] if found else None


def notify(environ: Mapping[str, str], state: str) -> None:
    """Send `READY=1` or `STOPPING=1` to the service manager. Does nothing where none runs."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        try:
            manager.sendto(state.encode(), address)
        except OSError:
            pass  # the manager has ended
