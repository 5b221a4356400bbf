"""The files of /etc/cni/net.d, read once: what runtimes make networks of."""

from __future__ import annotations

import json
import os

from cni_cnm import text_file
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.model import Json

FOLDER = "/etc/cni/net.d"
SUFFIXES = (".conf", ".conflist", ".json")
"""Of files that libcni reads (libcni/conf.go, ConfFiles)."""
TYPE = "cni-cnm"


class ConflistFile(NamedTuple):
    path: str
    text: str
    document: Mapping[str, Json]
    """{} if it is no JSON object."""
    error: str = ""
    """Why it is none."""

    @property
    def is_list(self) -> bool:
        return "plugins" in self.document

    @property
    def plugins(self) -> Sequence[Mapping[str, Json]]:
        listed = self.document.get("plugins") if self.is_list else [self.document]
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []

    @property
    def types(self) -> Sequence[str]:
        return [one["type"] for one in self.plugins if isinstance(one.get("type"), str)]

    @property
    def own(self) -> Sequence[Mapping[str, Json]]:
        """The parts that this program serves."""
        return [one for one in self.plugins if one.get("type") == TYPE]

    @property
    def name(self) -> str:
        name = self.document.get("name")
        return name if isinstance(name, str) else ""


def read_all() -> Sequence[ConflistFile]:
    """Those that runtimes read, in their order: by name. None if there is no such folder."""
    return [_read(name) for name in names() if name.endswith(SUFFIXES)]


def names() -> Sequence[str]:
    """Of all files of the folder."""
    try:
        return sorted(os.listdir(FOLDER))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(name: str) -> ConflistFile:
    path = f"{FOLDER}/{name}"
    try:
        text = text_file.read(path).decode()
    except OSError as error:
        return ConflistFile(path, "", {}, error.strerror or "it cannot be read")
    except ValueError as error:
        return ConflistFile(path, "", {}, str(error))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return ConflistFile(path, text, {}, f"it is not JSON: {error}")
    if not isinstance(document, dict):
        return ConflistFile(path, text, {}, "it is no JSON object")
    return ConflistFile(path, text, document)
