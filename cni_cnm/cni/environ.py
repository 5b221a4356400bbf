"""The environment of a call: which variables a verb needs and what they may be (SPEC "Parameters")."""

from __future__ import annotations

import re
from typing import NamedTuple

from cni_cnm.errors import InvalidEnvironment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_IDS = ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")
REQUIRED = {
    "ADD": _IDS,
    "CHECK": _IDS,
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": ("CNI_PATH",),
    "STATUS": (),
    "VERSION": (),
}
"""The specification's. Its reference library wants CNI_PATH always, which only a delegated IPAM needs."""

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
"""Container ids and network names (to be used with fullmatch: `$` would let a trailing newline pass)."""

IFNAME_BYTES = 15


class Call(NamedTuple):
    """One call, its variables valid. Those a verb does not need are taken as they are."""

    verb: str
    container_id: str
    ifname: str
    netns: str
    args: str
    cni_path: str
    own_namespace: bool
    """CNI_NETNS_OVERRIDE: the namespace may be the plugin's own."""
    environ: Mapping[str, str]


def verb(environ: Mapping[str, str]) -> str:
    """The verb, its required variables all given (an empty one counts as missing)."""
    command = environ.get("CNI_COMMAND", "")
    if not command:
        raise InvalidEnvironment("required env variables [CNI_COMMAND] missing", hint=f"one of {', '.join(REQUIRED)}")
    if command not in REQUIRED:
        raise InvalidEnvironment(f"unknown CNI_COMMAND: {command[:40]}", hint=f"one of {', '.join(REQUIRED)}")
    missing = [name for name in REQUIRED[command] if not environ.get(name)]
    if missing:
        raise InvalidEnvironment(f"required env variables [{','.join(missing)}] missing")
    return command


def read(environ: Mapping[str, str]) -> Call:
    """The call; InvalidEnvironment for ids that are malformed and needed."""
    command = verb(environ)
    container_id = environ.get("CNI_CONTAINERID", "")
    ifname = environ.get("CNI_IFNAME", "")
    if "CNI_CONTAINERID" in REQUIRED[command] and not NAME.fullmatch(container_id):
        raise InvalidEnvironment(
            f"invalid characters in CNI_CONTAINERID {container_id[:80]!r}",
            hint="letters, digits, '_', '.' and '-', beginning with a letter or digit",
        )
    if "CNI_IFNAME" in REQUIRED[command]:
        _check_ifname(ifname)
    return Call(
        verb=command,
        container_id=container_id,
        ifname=ifname,
        netns=environ.get("CNI_NETNS", ""),
        args=environ.get("CNI_ARGS", ""),
        cni_path=environ.get("CNI_PATH", ""),
        own_namespace=environ.get("CNI_NETNS_OVERRIDE", "").lower() in ("1", "true"),
        environ=environ,
    )


def _check_ifname(name: str) -> None:
    """The kernel's rule (dev_valid_name in net/core/dev.c)."""
    if len(name.encode(errors="surrogateescape")) > IFNAME_BYTES:
        raise InvalidEnvironment(f"CNI_IFNAME {name[:80]!r} is too long", hint=f"at most {IFNAME_BYTES} bytes")
    if name in (".", "..") or any(character in "/:" or character.isspace() for character in name):
        raise InvalidEnvironment(
            f"CNI_IFNAME {name!r} is no interface name", hint="no '/', ':' or white space, not '.' or '..'"
        )
