"""The server of a network: dnsmasq, with which arguments, and which process it is.

A server is found by its arguments in /proc, in the network namespace of the caller: they are all that it was told. So
one that runs on from an earlier service is found, also if that service was killed. dnsmasq forks a process for each TCP
connection, with the same arguments, which may outlive it. A server leads its session, and such a process does not.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from errno import EPERM, ESRCH

from cni_cnm.named_tuple import NamedTuple
from cni_cnm.names import hosts_files
from cni_cnm.names.zones import reverse_zones

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.model import IPNetwork

PROGRAM = "dnsmasq"
_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin")
_LOG, _LOG_BEFORE = ".log", ".log.before"
RESOLV_CONF = "/etc/resolv.conf"
_LINKS_MAX = 10
_CACHE_NAMES = 1000
"""Answers of upstream servers that each server remembers."""


class Served(NamedTuple):
    """What the server of a network is told."""

    network: str
    domain: str
    link: str
    """The host's link with the gateways: questions by other links are not answered."""
    subnets: tuple[IPNetwork, ...]
    upstreams: tuple[str, ...] = ()
    """Addresses of the servers that other questions go to; empty: those of the host's resolv.conf."""
    internal: bool = False
    """Other questions go nowhere."""
    local: bool = True
    """No other server knows names of the domain. False for a configured one: what is not found goes upstream."""


def program() -> str:
    """Path of dnsmasq; "" if it is not installed."""
    paths = (f"{folder}/{PROGRAM}" for folder in _FOLDERS)
    return next((path for path in paths if os.access(path, os.X_OK)), "")


def arguments(served: Served, run_dir: str) -> list[str]:
    """The command line without the program's path."""
    zones = [zone for subnet in served.subnets for zone in reverse_zones(subnet)]
    local = ["", *([served.domain] if served.local or served.internal else []), *zones]  # "": names of one label
    if served.internal:
        others = ["--no-resolv", "--address=/#/"]  # "does not exist", which no resolver asks again
    elif served.upstreams:
        others = ["--no-resolv", *(f"--server={address}" for address in served.upstreams)]
    else:
        others = [f"--resolv-file={os.path.realpath(RESOLV_CONF)}"]  # dnsmasq does not see that a link was replaced
    return [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file",
        "--log-facility=/dev/null",
        "--no-hosts",
        "--bind-dynamic",
        f"--interface={served.link}",
        "--except-interface=lo",
        f"--cache-size={_CACHE_NAMES}",
        *(f"--local=/{zone}/" for zone in local),
        *others,
        f"{_folder_argument(run_dir, served.network)}",
    ]


def resolv_conf_folders() -> list[str]:
    """The folders in which a change may make /etc/resolv.conf another file: its own, and those of further links."""
    path, found = RESOLV_CONF, [os.path.dirname(RESOLV_CONF)]
    while os.path.islink(path) and len(found) < _LINKS_MAX:
        path = os.path.join(os.path.dirname(path), os.readlink(path))
        if os.path.islink(path):
            found.append(os.path.dirname(path))
    return found


def running(run_dir: str, network: str) -> tuple[int, list[str]]:
    """Pid and arguments of the server that answered last, by its file; 0 if it is not running."""
    try:
        with open(f"{hosts_files.folder_of(run_dir, network)}/.server", encoding="ascii") as file:
            pid = int(file.read())
    except (OSError, ValueError):
        return 0, []
    found = command_line(pid)
    return (pid, found[1:]) if is_server(found, run_dir, network) and _leads_its_session(pid) else (0, [])


def record(run_dir: str, network: str, pid: int) -> None:
    """Write the file that `running` reads."""
    path = f"{hosts_files.folder_of(run_dir, network)}/.server"
    with open(f"{path}.new", "w", encoding="ascii") as file:
        file.write(f"{pid}\n")
    os.rename(f"{path}.new", path)


def has_begun(pid: int) -> bool:
    """Whether it has all its sockets. dnsmasq makes them before it makes the inotify(7) descriptor for its folder.

    Until the process executes dnsmasq it has the descriptors of the process that starts it.
    """
    folder = f"/proc/{pid}/fd"
    try:
        if [os.path.basename(word) for word in command_line(pid)[:1]] != [PROGRAM]:
            return False
        return any(os.readlink(f"{folder}/{name}") == "anon_inode:inotify" for name in os.listdir(folder))
    except OSError:
        return False  # it has ended, or closes a descriptor now


def last_words(run_dir: str, network: str) -> str:
    """Why the server has ended, or the one before it if it said nothing. "" if neither said why, or if it runs."""
    folder = hosts_files.folder_of(run_dir, network)
    last = _last_line(f"{folder}/{_LOG}") or _last_line(f"{folder}/{_LOG_BEFORE}")
    return "".join(character if character.isprintable() else "?" for character in last)


def keep_last_words(run_dir: str, network: str) -> str:
    """The file for what the next server says. What the one before said stays known while the next one starts."""
    folder = hosts_files.folder_of(run_dir, network)
    if _last_line(f"{folder}/{_LOG}"):
        os.rename(f"{folder}/{_LOG}", f"{folder}/{_LOG_BEFORE}")
    return f"{folder}/{_LOG}"


def forget_last_words(run_dir: str, network: str) -> None:
    """Those of servers before the one that runs. No error if absent."""
    try:
        os.unlink(f"{hosts_files.folder_of(run_dir, network)}/{_LOG_BEFORE}")
    except FileNotFoundError:
        pass


def _last_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            lines = [line.strip() for line in log.read(4096).split("\n")]
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line), "")


def find(run_dir: str, network: str = "") -> dict[int, list[str]]:
    """The servers of this network namespace, by pid, with their arguments: of one network, or of all."""
    return {pid: words for pid, words in _processes(run_dir, network) if _leads_its_session(pid)}


def kill_connections(run_dir: str, network: str) -> None:
    """End what a server that was killed has left: its processes for TCP connections, which keep its port."""
    for pid, _ in _processes(run_dir, network):
        if not _leads_its_session(pid):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped it (SIGSTOP), so that it answers nothing."""
    return _state_and_session(pid)[0] in ("T", "t")


def _processes(run_dir: str, network: str) -> Iterator[tuple[int, list[str]]]:
    try:
        own = os.stat("/proc/thread-self/ns/net")
    except OSError:
        return
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and is_server(words := command_line(int(entry)), run_dir, network):
            try:
                there = os.stat(f"/proc/{entry}/ns/net")
            except OSError:
                continue
            if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino):
                yield int(entry), words[1:]


def _leads_its_session(pid: int) -> bool:
    return _state_and_session(pid)[1] == str(pid)


def _state_and_session(pid: int) -> tuple[str, str]:
    """Empty for a process that has ended. The name before them may have blanks and parentheses: proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[3]


def is_server(words: Sequence[str], run_dir: str, network: str = "") -> bool:
    """Whether a command line is that of a server of ours: of this network, or with "" of any."""
    if not words or os.path.basename(words[0]) != PROGRAM:
        return False
    wanted = _folder_argument(run_dir, network)
    return words[-1] == wanted if network else words[-1].startswith(wanted)


def network_of(words: Sequence[str]) -> str:
    """The network of a server's command line."""
    return words[-1].rpartition("/")[2]


def command_line(pid: int) -> list[str]:
    """Empty for a process that has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def end(pid: int) -> bool:
    """Send SIGTERM. False if it has ended already, or is not ours to end."""
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError as error:
        if error.errno not in (ESRCH, EPERM):
            raise
        return False
    return True


def _folder_argument(run_dir: str, network: str) -> str:
    return f"--hostsdir={hosts_files.folder_of(run_dir, network)}"
