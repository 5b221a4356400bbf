"""Where a Docker plugin listens: the files that Docker looks at, in its order (moby pkg/plugins/discovery.go).

/run/docker/plugins/NAME.sock, NAME/NAME.sock             a socket that exists
/etc/docker/plugins, /usr/lib/docker/plugins:
    NAME.spec, NAME/NAME.spec                             one line, a URL: unix:// tcp:// http:// https://
    NAME.json, NAME/NAME.json                             {"Name", "Addr", "TLSConfig": {…}}
"""

from __future__ import annotations

import os
import stat

from cni_cnm import text_file, validate
from cni_cnm.errors import InvalidConfig, IoFailed, shown
from cni_cnm.fields import Fields
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.model import Json

SOCKETS = "/run/docker/plugins"
SPECS = ("/etc/docker/plugins", "/usr/lib/docker/plugins")
_NAME_MAX = 128
_SCHEMES = ("unix", "tcp", "http", "https")


class Tls(NamedTuple):
    """Paths of PEM files. Without `ca` the server is not verified, as in Docker."""

    verify: bool = True
    ca: str = ""
    certificate: str = ""
    key: str = ""


class Location(NamedTuple):
    source: str
    """The socket or file it was found by, for messages."""
    scheme: str
    """`unix`, `tcp` or `http` (both without TLS), `https`."""
    address: str
    """Path of the socket, or `host:port`."""
    tls: Tls | None = None

    @property
    def encrypted(self) -> bool:
        return self.scheme == "https" or self.tls is not None


def find(name: str, sockets: str = SOCKETS, specs: Sequence[str] = SPECS) -> Location | None:
    """Where the plugin of that name listens, None if there is none.

    InvalidConfig if its file has no valid address, IoFailed if it cannot be read. That there is a socket does not mean
    that a plugin runs.
    """
    if not is_plugin_name(name):
        return None
    for path in (f"{sockets}/{name}.sock", f"{sockets}/{name}/{name}.sock"):
        if _is_socket(path):
            return Location(path, "unix", path)
    for folder in specs:
        for suffix, parse in (("spec", _spec), ("json", _json)):
            for path in (f"{folder}/{name}.{suffix}", f"{folder}/{name}/{name}.{suffix}"):
                text = _read(path)
                if text is not None:
                    return parse(path, text)
    return None


def hint() -> str:
    """The folders that were looked into, for messages."""
    return f"Docker plugins are looked for in {', '.join((SOCKETS, *SPECS))}"


def is_plugin_name(name: str) -> bool:
    """Whether a plugin can have that name, which becomes a file name."""
    return len(name) <= _NAME_MAX and validate.accepts(validate.name, name)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _read(path: str) -> str | None:
    try:
        return text_file.read(path).decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise IoFailed(f"the plugin's file {path} cannot be read: {error}") from error


def _spec(path: str, text: str) -> Location:
    return _location(path, text.strip(), None)


def _json(path: str, text: str) -> Location:
    import json

    try:
        raw: Json = json.loads(text)
    except ValueError as error:
        raise InvalidConfig(f"the plugin's file {path} is no JSON: {error}") from error
    if not isinstance(raw, dict):
        raise InvalidConfig(f"the plugin's file {path} is {shown(raw)}, it must be an object")
    fields = Fields(raw, f"{path}: ")
    tls = None
    if "TLSConfig" in fields:
        files = fields.object("TLSConfig")
        ca = files.text("CAFile")
        verify = bool(ca) and not files.flag("InsecureSkipVerify")
        tls = Tls(verify, ca, files.text("CertFile"), files.text("KeyFile"))
    return _location(path, fields.required("Addr", str), tls)


def _location(source: str, url: str, tls: Tls | None) -> Location:
    scheme, separator, rest = url.partition("://")
    rest = rest.rstrip("/") if scheme != "unix" else rest
    good = bool(separator) and scheme in _SCHEMES and rest.isprintable()
    if good and scheme == "unix":
        good = rest.startswith("/")
    elif good:
        host, _, port = rest.rpartition(":")
        good = bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65536
    if not good:
        raise InvalidConfig(
            f"the plugin's file {source} has the address {shown(url)}, which is none",
            hint="write unix:///PATH, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT",
        )
    if scheme == "https" and tls is None:
        tls = Tls(verify=True)
    return Location(source, scheme, rest, tls)
