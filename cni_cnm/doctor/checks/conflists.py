"""Network configurations: files that a runtime does not see or cannot use, and capabilities that ours lack."""

from __future__ import annotations

import os
import re

from cni_cnm.doctor import conflist_files
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.conflist_files import FOLDER, SUFFIXES, TYPE
from cni_cnm.doctor.finding import Finding
from cni_cnm.drivers import OVERLAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.doctor.conflist_files import ConflistFile
    from cni_cnm.doctor.picture import Picture

_PLUGINS = ("/opt/cni/bin", "/usr/libexec/cni", "/usr/lib/cni", "/usr/local/libexec/cni", "/usr/local/lib/cni")
_PUT_ASIDE = ("~", ".bak", ".disabled", ".damaged", ".old", ".orig", ".save", ".swp", ".tmp", ".rpmsave", ".rpmnew")
"""Endings of files that somebody has put aside on purpose."""
_KUBELET = "/var/lib/kubelet/config.yaml"
_UNUSABLE = "A runtime that reads this file fails, or has no network of this name."
_PUBLISHING = ("", "bridge", "ptp", OVERLAY)
_PORTS = '"portMappings": true'


def look(picture: Picture) -> Iterator[Finding]:
    files = picture.conflists
    for file in files:
        yield from _one(file)
    yield from _unseen()
    yield from _not_first(files)
    yield from _same_name(files)


def _one(file: ConflistFile) -> Iterator[Finding]:
    aside = command("mv", file.path, f"{file.path}.disabled")
    if file.error:
        yield Finding(f"{file.path}: {file.error}", _UNUSABLE, (aside,), about=file.path)
        return
    stem, ending = os.path.splitext(file.path)
    if file.is_list != (ending == ".conflist"):
        right = ".conflist" if file.is_list else ".conf"
        what = "is a list of plugins, and its name does not end in .conflist"
        if not file.is_list:
            what = "has no list of plugins, and its name ends in .conflist"
        yield Finding(f"{file.path} {what}", _UNUSABLE, (command("mv", file.path, stem + right),), about=file.path)
        return
    folders = [*filter(None, os.environ.get("CNI_PATH", "").split(":")), *_PLUGINS]
    for name in file.types:
        if any(map(os.path.isdir, folders)) and not any(os.path.exists(f"{folder}/{name}") for folder in folders):
            yield Finding(
                f"{file.path} names the plugin {name}, which is in none of {', '.join(_PLUGINS)}",
                "Every container of this network fails to start.",
                (aside,),
                about=file.path,
            )
    yield from _capabilities(file)


def _capabilities(file: ConflistFile) -> Iterator[Finding]:
    declared = [one.get("capabilities") for one in file.plugins]
    if any(isinstance(one, dict) and one.get("portMappings") is True for one in declared):
        return
    own = [one for one in file.own if one.get("driver", "") in _PUBLISHING and one.get("internal") is not True]
    if not own:
        return
    if "portMappings" in file.text:
        change = rf's/"portMappings"\s*:\s*[a-z]*/{_PORTS}/'
    elif "capabilities" in own[0]:
        others = ", " if own[0]["capabilities"] else ""
        change = rf's/"capabilities"\s*:\s*{{/&{_PORTS}{others}/'
    else:
        change = rf's/"type"\s*:\s*"{TYPE}"/&, "capabilities": {{{_PORTS}}}/'
    yield Finding(
        f"{file.path} does not declare the capability portMappings",
        "The runtime does not send published ports of containers, and no connection to them is answered.",
        (command("sed", "-i", change, file.path),),
        about=file.path,
    )


def _unseen() -> Iterator[Finding]:
    for name in conflist_files.names():
        if name.endswith((*SUFFIXES, *_PUT_ASIDE)) or ".dpkg-" in name or name.startswith("."):
            continue
        path = f"{FOLDER}/{name}"
        try:
            with open(path, encoding="utf-8", errors="replace") as text:
                ours = re.search(rf'"type"\s*:\s*"{TYPE}"', text.read(1 << 20)) is not None
        except OSError:
            continue
        if ours:
            yield Finding(
                f"{path} has a network, and runtimes read only names that end in {', '.join(SUFFIXES)}",
                "No runtime knows the network.",
                (command("mv", path, f"{path.partition('.conf')[0]}.conflist"),),
                about=path,
            )


def _not_first(files: Sequence[ConflistFile]) -> Iterator[Finding]:
    """The CRI of containerd and CRI-O takes the first file alone. Others choose a network by its name."""
    if not os.path.exists(_KUBELET) or not files or files[0].own:
        return
    ours = next((file for file in files if file.own), None)
    if ours is not None:
        yield Finding(
            f"Kubernetes uses {files[0].path}, which comes before {ours.path}",
            "Pods get their network from another plugin.",
            (command("mv", files[0].path, f"{files[0].path}.disabled"),),
            about=ours.path,
        )


def _same_name(files: Sequence[ConflistFile]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for file in files:
        if file.own and first.setdefault(file.name, file.path) != file.path:
            yield Finding(
                f"{first[file.name]} and {file.path} both have a network {file.name}",
                "Which of the two a container gets depends on the runtime.",
                (command("mv", file.path, f"{file.path}.disabled"),),
                about=file.path,
            )
