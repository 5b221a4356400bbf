"""The image that the manifests name, as an archive.

shipped()        that of `scripts/package image`, with Debian's packages
light(folder)    the same last layer, on this machine's own libraries: made in a second, and nothing is downloaded
"""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from cni_cnm import __version__
from tests.program import ROOT, built
from tests.system import packages

NAME = f"localhost/cni-cnm:{__version__}"
_LIBRARIES = ("libnftables.so.1", "libssl.so.3")
"""What the program loads at run time."""
_LEGACY = tuple(f"{family}-legacy{verb}" for family in ("iptables", "ip6tables") for verb in ("-save", "-restore"))


def shipped() -> bytes:
    return packages.built("image")[0].read_bytes()


def light(folder: Path, version: str = __version__) -> bytes:
    """`version`: what the image calls itself. Its program is this one."""
    program = built().parent / "lib/cni-cnm" / __version__
    stage = folder / version
    home = stage / "usr/lib/cni-cnm"
    shutil.copytree(program, home / "dist/lib/cni-cnm" / version, symlinks=True, copy_function=os.link)
    (home / "dist/lib/cni-cnm/current").symlink_to(version)
    (home / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/install", home / "scripts")
    shutil.copytree(ROOT / "conf", home / "conf")
    notices = stage / "usr/share/doc/cni-cnm/copyright"
    notices.parent.mkdir(parents=True)
    shutil.copy(ROOT / "LICENSE", notices)
    builder = _builder()
    below = builder.Layer(_machine(program), "libraries of this machine")
    own = builder.Layer(builder._own(stage, [], [below], 0), "cni-cnm")
    archive: bytes = builder.archive_of([below, own], stage, 0, compression=1)
    return archive


@cache
def _builder() -> ModuleType:
    """build/image.py, which is a script of scripts/package."""
    spec = importlib.util.spec_from_file_location("image_builder", ROOT / "build/image.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["image_builder"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _machine(program: Path) -> bytes:
    """busybox, nft, iptables, and the libraries that these and the program need, as a tar."""
    commands = {name: shutil.which(name) or "" for name in ("busybox", "nft", *_LEGACY)}
    if not all(commands.values()):
        pytest.skip(f"needs {', '.join(commands)}")
    files = {f"usr/sbin/{name}": path for name, path in commands.items()}
    files["bin/busybox"] = files.pop("usr/sbin/busybox")
    asked = [*commands.values(), str(program / "cni-cnm"), *map(str, program.glob("_internal/**/*.so*")), *_found()]
    done = subprocess.run(["ldd", *asked], capture_output=True, text=True, check=False).stdout
    for line in done.splitlines():
        path = next((word for word in line.split() if word.startswith("/") and not word.endswith(":")), "")
        if path and str(program) not in path:
            files[path.lstrip("/")] = path
    files.update({path.lstrip("/"): path for path in (*_found(), *_extensions())})
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, path in sorted(files.items()):
            tar.add(os.path.realpath(path), name)
    return out.getvalue()


def _extensions() -> list[str]:
    """The libraries of iptables' matches and targets."""
    return [str(path) for path in Path("/usr/lib").glob("*/xtables/*.so")]


def _found() -> list[str]:
    """The paths of the libraries that are loaded at run time."""
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in listed.splitlines()]
    return [line[-1] for line in lines if line and line[0] in _LIBRARIES]
