"""TLS to the servers of a store. Files that have changed are read again: a renewed certificate needs no restart.

Servers are always verified, also their names. A file with a secret must not be readable by others: it is refused, not
warned of. The refusal is seen at once, when a host is set up; a warning is seen when the secret is known already.
"""

from __future__ import annotations

import os
import stat

from cni_cnm import text_file
from cni_cnm.errors import InvalidConfig, IoFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from ssl import SSLContext
    from typing import TypeAlias

    Place: TypeAlias = str | os.PathLike[str]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Tls:
    """Makes the context of connections from files in PEM: who signs servers' certificates, the own one, its key.

    "" for none.
    """

    def __init__(self, ca: Place = "", cert: Place = "", key: Place = "") -> None:
        self._ca, self._cert, self._key = ca, cert, key
        self._stamp: Sequence[object] = ()
        self._context: SSLContext | None = None

    def context(self) -> SSLContext:
        """InvalidConfig or IoFailed names the file that cannot be used."""
        stamp = self._stamp_of_files()
        if self._context is None or stamp != self._stamp:
            self._context, self._stamp = self._read(), stamp
        return self._context

    def _stamp_of_files(self) -> Sequence[object]:
        found: list[object] = []
        for path in (self._ca, self._cert, self._key):
            if path:
                state = _state(path)
                found += [state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size, state.st_mode]
        return found

    def _read(self) -> SSLContext:
        try:
            import ssl
        except ImportError as error:
            raise InvalidConfig(
                "an endpoint is https, and the library for it cannot be loaded",
                hint="install OpenSSL 3 (libssl.so.3)",
            ) from error
        ca, cert, key = self._ca, self._cert, self._key
        try:
            context = ssl.create_default_context(cafile=ca or None)
        except (OSError, ValueError) as error:
            raise InvalidConfig(f"{ca or 'the system'} has no certificates of a CA in PEM: {error}") from error
        if cert:
            refuse_readable(key)
            try:
                # A key with a passphrase would be asked for on the terminal.
                context.load_cert_chain(cert, key, password="")
            except (OSError, ValueError) as error:
                raise InvalidConfig(
                    f"{cert} and {key} are no certificate and its key: {error}",
                    hint="both are PEM, the key has no passphrase and belongs to the certificate",
                ) from error
        return context


def refuse_readable(path: Place) -> None:
    """InvalidConfig if others than the file's owner may read or change a file with a secret."""
    mode = _state(path).st_mode
    if mode & _OTHERS:
        raise InvalidConfig(
            f"{path} can be read or changed by others than its owner: its mode is {stat.S_IMODE(mode):04o}",
            hint=f"run: chmod 0600 {path}",
        )


def secret(path: str) -> str:
    """The first line of a file that only its owner can read."""
    refuse_readable(path)
    try:
        text = text_file.read(path).decode()
    except (OSError, ValueError) as error:
        raise IoFailed(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return text.splitlines()[0] if text else ""


def _state(path: Place) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise IoFailed(f"{path} cannot be read: {error.strerror}") from error
