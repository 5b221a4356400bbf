"""Where the Kubernetes API is, and how it is asked.

The token is read again for each request: the kubelet replaces the file when the token's time is about to end. A token
that is kept would be refused an hour later.
"""

from __future__ import annotations

from cni_cnm import text_file
from cni_cnm.errors import IoFailed
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.cluster.http.endpoint import Endpoint
    from cni_cnm.cluster.http.tls import Tls

PORT = 443
"""Of a URL without one."""


class Access(NamedTuple):
    """How to ask."""

    endpoint: Endpoint
    path: str
    """Before the paths of the API, without a slash at the end; "" for none."""
    tls: Tls
    token: Callable[[], str]
    """"" if there is none. IoFailed if it cannot be read."""
    who: str
    """For messages."""


def token_of(path: str) -> str:
    """The token in a file. IoFailed if it cannot be read or is none."""
    try:
        found = text_file.read(path).decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise IoFailed(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no token'}") from error
    return require_token(found, path)


def require_token(text: str, where: str) -> str:
    """IoFailed if it is no token that a header can carry (RFC 6750, 2.1)."""
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise IoFailed(f"{where} has no token")
    return text
