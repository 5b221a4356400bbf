"""One file of a folder like /etc/cni/net.d: a list of plugins, or a single plugin, as a runtime reads it."""

from __future__ import annotations

import os
import re

from cni_cnm import text_file
from cni_cnm.cni import document as cni_document
from cni_cnm.conflists.lines import Lines
from cni_cnm.errors import DecodeFailed, InvalidConfig, IoFailed, file_hint
from cni_cnm.fields import Fields
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.model import Json

TYPE = "cni-cnm"
"""The name of this program as a plugin."""
_INDENT = re.compile(r"\n([ \t]+)\S")


class Entry(NamedTuple):
    """One plugin of a list."""

    path: str
    """Where it is in the file: `plugins[0]`; "" for the whole file."""
    given: Mapping[str, Json]
    """As it is written."""

    @property
    def type(self) -> str:
        kind = Fields(self.given).raw("type")
        return kind if isinstance(kind, str) else ""

    @property
    def is_ours(self) -> bool:
        return self.type == TYPE


class Conflist(NamedTuple):
    path: str
    document: Mapping[str, Json]
    lines: Lines
    is_list: bool
    """False for a file with a single plugin."""
    entries: Sequence[Entry]
    indent: str = "  "
    """Before the keys of the outermost object."""

    @property
    def name(self) -> str:
        """The network's name; "" if there is none, or it is no text."""
        name = Fields(self.document).raw("name")
        return name if isinstance(name, str) else ""

    @property
    def ours(self) -> Entry | None:
        """The first entry of this program."""
        return next((entry for entry in self.entries if entry.is_ours), None)

    def given_to(self, entry: Entry) -> Mapping[str, Json]:
        """What a runtime gives the plugin on stdin: its entry, with the list's name and version."""
        if not self.is_list:
            return entry.given
        listed = Fields(self.document)
        own = {key: value for key, value in entry.given.items() if key.lower() not in ("name", "cniversion")}
        version = listed.raw("cniVersion")
        return {**({} if version is None else {"cniVersion": version}), "name": listed.raw("name"), **own}


def read(path: str) -> Conflist:
    """Read a file.

    Raises:
        IoFailed: it cannot be read.
        DecodeFailed: it is no JSON; the message has the line.
        InvalidConfig: it is JSON, and neither a list of plugins nor a plugin.
    """
    try:
        raw = text_file.read(path)
    except OSError as error:
        raise IoFailed(f"{path} cannot be read: {error.strerror}", hint=file_hint(error)) from error
    return parse(path, raw)


def parse(path: str, raw: bytes) -> Conflist:
    """As `read`, of what the file has."""
    try:
        document = cni_document.decode(raw)
    except DecodeFailed as error:
        error.hint = ""  # "it is expected on stdin"
        raise
    text = raw.decode()
    fields, lines, indented = Fields(document), Lines(text), _INDENT.search(text)
    indent = indented[1] if indented else "  "
    if "plugins" not in fields:
        return Conflist(path, document, lines, False, [Entry("", document)], indent)
    entries = [Entry(f"plugins[{at}]", one.spelled) for at, one in enumerate(fields.objects("plugins"))]
    if not entries:
        raise InvalidConfig("plugins is an empty list", hint='a plugin is an object such as {"type": "cni-cnm"}')
    return Conflist(path, document, lines, True, entries, indent)


def lists_by_name(path: str) -> bool:
    """Whether runtimes read a file of this name as a list. Other names are of files with a single plugin."""
    return os.path.splitext(path)[1] == ".conflist"
