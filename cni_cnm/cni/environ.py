"""The environment of a call: which variables a verb needs and what they may be (SPEC "Parameters")."""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.errors import InvalidEnvironment
from cni_cnm.named_tuple import NamedTuple

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
    if "CNI_CONTAINERID" in REQUIRED[command]:
        validate.require(validate.name, container_id, "CNI_CONTAINERID", InvalidEnvironment)
    if "CNI_IFNAME" in REQUIRED[command]:
        # A DEL may be about an interface of version 0.1.0, which took other names.
        rule = validate.new_interface_name if command == "ADD" else validate.interface_name
        validate.require(rule, ifname, "CNI_IFNAME", InvalidEnvironment)
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
