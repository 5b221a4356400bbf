"""libcni's cache: what a runtime keeps of every ADD, and hands to CHECK and DEL (libcni/api.go).

    /var/lib/cni/results/NETWORK-CONTAINER-IFNAME     JSON; `config` is the list's own text, in base64

It is written when the whole list of plugins has succeeded, and removed by DEL. containerd's DEL uses the configuration
of now and the cached result; CRI-O's uses the cached configuration, too.
"""

from __future__ import annotations

import os
from binascii import Error, a2b_base64, b2a_base64

from cni_cnm.errors import DamagedRecord, IoFailed, file_hint
from cni_cnm.fields import Fields
from cni_cnm.json_text import decoder, encoder
from cni_cnm.model import EndpointKey
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state import small_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json

FOLDER = "/var/lib/cni/results"
KIND = "cniCacheV1"
_decode = decoder()
_encode = encoder((",", ":"))


class Cached(NamedTuple):
    """The content of one file."""

    key: EndpointKey
    config: bytes
    """The network's list as the runtime read it, or a single plugin's configuration."""
    netns: str = ""
    cni_args: tuple[tuple[str, str], ...] = ()
    capability_args: Mapping[str, Json] = {}
    """What the runtime offers to plugins that ask for it: `portMappings`, `bandwidth`, …"""
    result: Mapping[str, Json] = {}
    """The last plugin's, as JSON."""


def parse(content: bytes) -> Cached:
    """DamagedRecord for what libcni would not read either."""
    try:
        raw = _decode(content)
    except ValueError as error:
        raise DamagedRecord(f"it is no JSON: {error}") from error
    fields = Fields(raw, error=DamagedRecord)
    if fields.text("kind") != KIND:
        raise DamagedRecord(f"its kind is {fields.text('kind')!r}, not {KIND}")
    try:
        config = a2b_base64(fields.text("config"), strict_mode=True)
    except (Error, ValueError) as error:
        raise DamagedRecord(f"its configuration is not in base64: {error}") from error
    key = EndpointKey(fields.text("networkName"), fields.text("containerId"), fields.text("ifName"))
    if not all(key):
        raise DamagedRecord("it names no network, container or interface")
    return Cached(
        key, config, fields.text("netns"), _pairs(fields), fields.mapping("capabilityArgs"), fields.mapping("result")
    )


def render(cached: Cached) -> bytes:
    """As libcni writes it. Nested keys stay in the order that they were read in."""
    document: dict[str, Json] = {
        "kind": KIND,
        "containerId": cached.key.container_id,
        "config": b2a_base64(cached.config, newline=False).decode(),
        "ifName": cached.key.ifname,
        "networkName": cached.key.network,
    }
    if cached.netns:
        document["netns"] = cached.netns
    if cached.cni_args:
        document["cniArgs"] = [list(pair) for pair in cached.cni_args]
    if cached.capability_args:
        document["capabilityArgs"] = cached.capability_args
    if cached.result:
        document["result"] = cached.result
    text = _encode(document)
    for sign in "<>&":  # as Go's encoder
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode()


def path(key: EndpointKey, folder: str = FOLDER) -> str:
    return f"{folder}/{key.network}-{key.container_id}-{key.ifname}"


def read_all(folder: str = FOLDER) -> tuple[list[Cached], list[str]]:
    """All of the folder, in the order of their names, and a sentence for each file that is not understood."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise IoFailed(f"libcni's cache {folder} cannot be read: {error.strerror}") from error
    found, wrong = [], []
    for name in names:
        try:
            found.append(parse(small_files.read(f"{folder}/{name}")))
        except FileNotFoundError:  # a DEL, meanwhile
            continue
        except OSError as error:
            wrong.append(f"{folder}/{name} cannot be read: {error.strerror}")
        except DamagedRecord as error:
            wrong.append(f"{folder}/{name} is not understood: {error.msg}")
    return found, wrong


def write(cached: Cached, folder: str = FOLDER) -> None:
    """IoFailed if the disk refuses it. A reader sees the old content or the new one."""
    place = path(cached.key, folder)
    try:
        small_files.replace(place, render(cached), durable=True)
    except OSError as error:
        raise IoFailed(f"{place} cannot be written: {error.strerror}", hint=file_hint(error)) from error


def _pairs(fields: Fields) -> tuple[tuple[str, str], ...]:
    pairs = []
    for pair in fields.items("cniArgs"):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise fields.wrong("cniArgs", "a list of pairs")
        pairs.append((pair[0], pair[1]))
    return tuple(pairs)
