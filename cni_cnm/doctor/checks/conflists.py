"""Network configurations: files that a runtime does not see or cannot use, and capabilities that ours lack."""

from __future__ import annotations

import os
import re

from cni_cnm.adopt import adoption
from cni_cnm.conflists import check as conflist_check
from cni_cnm.conflists.conflist import TYPE, lists_by_name, read
from cni_cnm.conflists.folder import FOLDER, SUFFIXES, names
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding
from cni_cnm.drivers import OVERLAY
from cni_cnm.errors import CnmError
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.conflists.conflist import Conflist
    from cni_cnm.doctor.picture import Picture

_PLUGINS = (*conflist_check.BIN_FOLDERS, "/usr/local/libexec/cni", "/usr/local/lib/cni")
_PUT_ASIDE = ("~", ".bak", ".disabled", ".damaged", ".old", ".orig", ".save", ".swp", ".tmp", ".new", ".rpmsave")
"""Endings of files that were put aside on purpose."""
_KUBELET = "/var/lib/kubelet/config.yaml"
_UNUSABLE = "A runtime that reads this file fails, or has no network of this name."
_PUBLISHING = ("", "bridge", "ptp", OVERLAY)
_PORTS = '"portMappings": true'


def look(picture: Picture) -> Iterator[Finding]:
    found = []
    for path in (f"{FOLDER}/{name}" for name in names(FOLDER)):
        try:
            file = read(path)
        except CnmError as error:
            yield Finding(f"{path}: {error.msg}", _UNUSABLE, (_checked(path),), about=path)
            continue
        found.append(file)
        yield from _one(picture, file)
    yield from _unseen()
    yield from _not_first(found)
    yield from _same_name(found)


def _checked(path: str) -> str:
    """It names the line. A file that was put aside would take the network from containers that live."""
    return command("cni-cnm", "conf", "check", path)


def _aside(path: str) -> str:
    return command("mv", path, f"{path}.disabled")


def _one(picture: Picture, file: Conflist) -> Iterator[Finding]:
    if file.is_list != lists_by_name(file.path):
        right, what = ".conflist", "is a list of plugins, and its name does not end in .conflist"
        if not file.is_list:
            right, what = ".conf", "has no list of plugins, and its name ends in .conflist"
        renamed = command("mv", file.path, os.path.splitext(file.path)[0] + right)
        yield Finding(f"{file.path} {what}", _UNUSABLE, (renamed,), about=file.path)
        return
    folders = [*filter(None, os.environ.get("CNI_PATH", "").split(":")), *_PLUGINS]
    for kind in (entry.type for entry in file.entries if any(map(os.path.isdir, folders))):
        if not any(os.path.exists(f"{folder}/{kind}") for folder in folders):
            yield Finding(
                f"{file.path} names the plugin {kind}, which is in none of {', '.join(_PLUGINS)}",
                "Every container of this network fails to start. Install the plugin, or take it out of the file.",
                (command("ls", *(one for one in folders if os.path.isdir(one))),),
                about=file.path,
            )
    if file.ours is not None:
        for error in conflist_check.check(file.path, picture.host, bin_folders=folders).findings:
            if error.severity == conflist_check.ERROR and "a name stands for one network" not in error.message:
                place = f"{file.path}:{error.line}" if error.line else file.path
                yield Finding(f"{place}: {error.message}", _UNUSABLE, (_checked(file.path),), about=file.path)
        if not any(one.path == file.path for one in adoption.adoptions(picture.host.store)):
            yield from _capabilities(file)  # one that was taken over declares what its plugins did


def _capabilities(file: Conflist) -> Iterator[Finding]:
    """The change is made in the text, so that the rest of the file stays as it was written."""
    declared = [Fields(entry.given).raw("capabilities") for entry in file.entries]
    if any(isinstance(one, dict) and one.get("portMappings") is True for one in declared):
        return
    own = Fields(file.ours.given) if file.ours else Fields({})
    if own.raw("driver") not in (None, *_PUBLISHING) or own.raw("internal") is True:
        return
    text = _text(file.path)
    if "portMappings" in text:
        change = rf's/"portMappings"\s*:\s*[a-z]*/{_PORTS}/'
    elif "capabilities" in own:
        others = ", " if own.raw("capabilities") else ""
        change = rf's/"capabilities"\s*:\s*{{/&{_PORTS}{others}/'
    else:
        change = rf's/"type"\s*:\s*"{TYPE}"/&, "capabilities": {{{_PORTS}}}/'
    yield Finding(
        f"{file.path} does not declare the capability portMappings",
        "The runtime does not send published ports of containers, and no connection to them is answered.",
        (command("sed", "-i", change, file.path),),
        about=file.path,
    )


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


def _unseen() -> Iterator[Finding]:
    for name in sorted(os.listdir(FOLDER)) if os.path.isdir(FOLDER) else ():
        if name.endswith((*SUFFIXES, *_PUT_ASIDE)) or ".dpkg-" in name or name.startswith("."):
            continue
        path = f"{FOLDER}/{name}"
        if re.search(rf'"type"\s*:\s*"{TYPE}"', _text(path)):
            yield Finding(
                f"{path} has a network, and runtimes read only names that end in {', '.join(SUFFIXES)}",
                "No runtime knows the network.",
                (command("mv", path, f"{path.partition('.conf')[0]}.conflist"),),
                about=path,
            )


def _not_first(files: Sequence[Conflist]) -> Iterator[Finding]:
    """The CRI of containerd and CRI-O takes the first file alone. Others choose a network by its name."""
    if not os.path.exists(_KUBELET) or not files or files[0].ours is not None:
        return
    own = next((file for file in files if file.ours is not None), None)
    if own is not None:
        yield Finding(
            f"Kubernetes uses {files[0].path}, which comes before {own.path}",
            "Pods get their network from another plugin. If that is not intended, give ours a name that comes first.",
            (command("cat", files[0].path),),
            about=own.path,
        )


def _same_name(files: Sequence[Conflist]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for file in files:
        if file.ours is not None and first.setdefault(file.name, file.path) != file.path:
            yield Finding(
                f"{first[file.name]} and {file.path} both have a network {file.name}",
                "Which of the two a container gets depends on the runtime.",
                (_aside(file.path),),
                about=file.path,
            )
