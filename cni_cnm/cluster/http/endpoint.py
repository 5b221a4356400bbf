"""The address of one server of a store."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Endpoint(NamedTuple):
    url: str
    """For messages: without a user, a password or a query."""
    host: str
    port: int
    encrypted: bool


def endpoint(url: str, port: int) -> Endpoint:
    """Of a URL that was checked. `port`: where the URL has none."""
    parts = urlsplit(url)
    named = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
    return Endpoint(named, parts.hostname or "", parts.port or port, parts.scheme == "https")


def warnings(endpoints: Iterable[Endpoint]) -> Sequence[str]:
    """A sentence for each server that is asked without encryption over a network. They stand as long as that is so."""
    return [
        f"{found.url} is not encrypted: who is on the way can read and change what the hosts of the cluster agree on"
        for found in endpoints
        if not found.encrypted and not _is_loopback(found.host)
    ]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
