"""A kubeconfig: the current context's server, and a token or a certificate.

What needs another program (exec, auth-provider), sends a password, or does not verify the server, is refused with a
sentence. The file is YAML, and the library for it is loaded here only.
"""

from __future__ import annotations

import os
from base64 import b64decode

from cni_cnm import text_file
from cni_cnm.cluster.http.endpoint import endpoint
from cni_cnm.cluster.http.tls import Tls, refuse_readable
from cni_cnm.cluster.kubernetes.access import PORT, Access, require_token, token_of
from cni_cnm.cluster.kubernetes.memory_file import MemoryFile
from cni_cnm.errors import InvalidConfig, IoFailed, shown
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.model import Json

_REFUSED_OF_CLUSTER = ("insecure-skip-tls-verify", "proxy-url", "tls-server-name")
_REFUSED_OF_USER = ("exec", "auth-provider", "username", "password", "as", "as-groups", "as-uid", "as-user-extra")


def load(path: str) -> Access:
    """InvalidConfig or IoFailed names the file, the key and what is wrong."""
    refuse_readable(path)
    fields = Fields(_decoded(path), f"{path}: ")
    context = _named(fields, "contexts", "context", fields.required("current-context", str))
    cluster = _named(fields, "clusters", "cluster", context.required("cluster", str))
    _refuse(cluster, _REFUSED_OF_CLUSTER)
    who = context.text("user")
    user = _named(fields, "users", "user", who) if who else Fields({}, f"{path}: ")
    _refuse(user, _REFUSED_OF_USER)
    folder = os.path.dirname(path)
    if "@" in cluster.text("server"):
        raise InvalidConfig(f"{cluster.name('server')} has a user or a password in it: this is not supported")
    url = cluster.required("server", _server)
    found = endpoint(url, PORT)
    parts = url.split("/", 3)
    cert, key = _file(user, "client-certificate", folder), _file(user, "client-key", folder)
    if bool(cert) != bool(key):
        raise InvalidConfig(f"{user.name('client-certificate')} and client-key belong together: one is missing")
    return Access(
        found,
        f"/{parts[3].rstrip('/')}" if len(parts) > 3 and parts[3].strip("/") else "",
        Tls(_file(cluster, "certificate-authority", folder), cert, key),
        _token(user, folder),
        f"the user {who or 'without a name'} of {path}",
    )


def _decoded(path: str) -> Json:
    try:
        text = text_file.read(path).decode()
    except (OSError, ValueError) as error:
        raise IoFailed(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" in line {line + 1}"
        raise InvalidConfig(f"{path} is not YAML{where}") from None


def _named(fields: Fields, many: str, one: str, name: str) -> Fields:
    for each in fields.objects(many):
        if each.text("name") == name:
            return each.object(one)
    raise InvalidConfig(f"{fields.name(many)} has none called {shown(name)}")


def _refuse(fields: Fields, keys: tuple[str, ...]) -> None:
    for key in keys:
        if key in fields and fields.raw(key) not in (False, ""):
            raise InvalidConfig(
                f"{fields.name(key)} is not supported",
                hint="give the server's CA, and a token, a tokenFile or a client certificate with its key",
            )


def _server(text: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.query
    except ValueError:
        right = False
    if not right or not text.isprintable() or " " in text:
        raise ValueError("a URL, such as https://192.0.2.1:6443")
    return text.rstrip("/")


def _file(fields: Fields, key: str, folder: str) -> str | MemoryFile:
    """The path of a file in PEM; data of the kubeconfig is kept in memory. "" if there is neither."""
    if data := fields.text(f"{key}-data"):
        try:
            content = b64decode(data, validate=True)
        except ValueError:
            raise InvalidConfig(f"{fields.name(f'{key}-data')} is not base64") from None
        return MemoryFile(key, content)
    path = fields.text(key)
    return os.path.join(folder, path) if path else ""


def _token(user: Fields, folder: str) -> Callable[[], str]:
    """As kubectl: a file comes before a token in the kubeconfig."""
    if path := user.text("tokenFile"):
        place = os.path.join(folder, path)
        return lambda: token_of(place)
    if given := user.text("token"):
        token = require_token(given, user.name("token"))
        return lambda: token
    return str
