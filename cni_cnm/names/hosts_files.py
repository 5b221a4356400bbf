"""The files that the server reads: one for each endpoint, in the folder of each network that answers its names.

Root alone writes. The folder belongs to the server's group, and other users do not get in.
"""

from __future__ import annotations

import os

from cni_cnm.errors import IoFailed, file_hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni_cnm.model import IPAddress

FOLDER_MODE, FILE_MODE = 0o750, 0o644
USER = "dnsmasq"
"""The user that Debian's package of the server makes. Where it is absent, the user without rights is used."""
_WITHOUT_RIGHTS = 65534


def root_of(run_dir: str) -> str:
    return f"{run_dir}-names"


def folder_of(run_dir: str, network: str) -> str:
    return f"{root_of(run_dir)}/{network}"


def text(addresses: Iterable[IPAddress], names: Sequence[str]) -> str:
    """A line for each address. A PTR is answered with the first name."""
    return "".join(f"{address} {' '.join(names)}\n" for address in addresses) if names else ""


def write(folder: str, endpoint_id: str, content: str) -> None:
    """The server's next answer has what the file says. IoFailed if it cannot be written; the old one stays then."""
    path, new = f"{folder}/{endpoint_id}", f"{folder}/.{endpoint_id}"
    try:
        try:
            _write(new, content)
        except FileNotFoundError:
            make_folder(folder)
            _write(new, content)
        os.rename(new, path)
    except OSError as error:
        raise IoFailed(f"the names of an endpoint cannot be written to {path}: {error.strerror}") from error


def remove(folder: str, endpoint_id: str) -> None:
    """No error if absent."""
    try:
        os.unlink(f"{folder}/{endpoint_id}")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise IoFailed(f"{folder}/{endpoint_id} cannot be removed: {error.strerror}", hint=file_hint(error)) from error


def read_all(folder: str) -> dict[str, str]:
    """The content of each file, by the endpoint's id; empty if there is no folder."""
    found = {}
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return {}
    for entry in entries:
        if not entry.startswith(".") and (content := read(folder, entry)) is not None:
            found[entry] = content
    return found


def read(folder: str, endpoint_id: str) -> str | None:
    """None if absent."""
    try:
        with open(f"{folder}/{endpoint_id}", encoding="ascii", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


def networks(run_dir: str) -> list[str]:
    """The networks that have a folder."""
    try:
        return sorted(os.listdir(root_of(run_dir)))
    except FileNotFoundError:
        return []


def identity(folder: str) -> tuple[int, int]:
    """Device and inode of the folder; zeros if there is none. One that was removed and made again is another one."""
    try:
        found = os.stat(folder)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


def make_folder(folder: str) -> None:
    """Make the folder of a network, and the one above it, for the server's group. No error if they are there; their
    group is set again."""
    _make(os.path.dirname(folder), folder)


def make_root(run_dir: str) -> str:
    """The folder above those of the networks. No error if it is there."""
    root = root_of(run_dir)
    _make(root)
    return root


def _make(*folders: str) -> None:
    group = server_user()[1]
    for path in folders:
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:
            pass
        if os.stat(path).st_gid != group and os.geteuid() == 0:  # a test without root has no server
            os.chown(path, 0, group)
            os.chmod(path, FOLDER_MODE)


def remove_folder(folder: str) -> None:
    """With all that is in it. No error if absent."""
    try:
        for entry in os.listdir(folder):
            os.unlink(f"{folder}/{entry}")
        os.rmdir(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise IoFailed(f"{folder} cannot be removed: {error.strerror}", hint=file_hint(error)) from error


def server_user() -> tuple[int, int]:
    """User and group of the server."""
    import pwd

    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        return _WITHOUT_RIGHTS, _WITHOUT_RIGHTS
    return found.pw_uid, found.pw_gid


def _write(path: str, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)  # whatever the umask is
        os.write(descriptor, content.encode("ascii"))
    finally:
        os.close(descriptor)
