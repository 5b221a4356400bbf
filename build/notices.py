"""The licenses of all that a package has: python build/notices.py BUNDLE <LICENSE, to stdout.

Ours comes first. Then the interpreter's, those of the Python packages in the bundle and of its launcher, and of each
shared library that is a package of Debian, as that package has it. The relay is linked with Debian's static C library.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

PYTHON_PACKAGES = ("pyroute2", "netaddr", "rich", "pyyaml", "pyinstaller")
LICENSE_NAMES = ("LICENSE", "COPYING")


def notices(bundle: Path) -> Iterator[str]:
    """A part of text for each component."""
    yield _part(f"Python {sys.version.split()[0]}", _python())
    for name in PYTHON_PACKAGES:
        found = distribution(name)
        files = [file for file in found.files or () if file.name.startswith(LICENSE_NAMES) and "dist-info" in str(file)]
        yield _part(f"{name} {found.version}", [Path(str(found.locate_file(file))) for file in sorted(files)])
    libraries = {path.name for path in (bundle / "_internal").glob("lib*.so*") if "python" not in path.name}
    for package in sorted({"libc6", *filter(None, map(_package, libraries))}):
        yield _part(f"{package} (Debian)", [Path("/usr/share/doc") / package / "copyright"])


def _python() -> list[Path]:
    """Its license: beside the standard library, or where Debian's package has it."""
    version = sysconfig.get_python_version()
    places = (Path(sysconfig.get_path("stdlib"), "LICENSE.txt"), Path(f"/usr/share/doc/python{version}/copyright"))
    return [place for place in places if place.exists()][:1]


def _package(library: str) -> str:
    """Debian's package of a shared library, "" if it is none of Debian's."""
    done = subprocess.run(["dpkg", "--search", f"*/{library}"], capture_output=True, text=True, check=False)
    return done.stdout.partition(":")[0]


def _part(title: str, files: list[Path]) -> str:
    if not files:
        raise SystemExit(f"notices: no license of {title} is found")
    texts = (path.read_text(encoding="utf-8").strip() for path in files)
    return "\n\n".join((f"{'=' * 78}\n{title}\n{'=' * 78}", *texts))


if __name__ == "__main__":
    sys.stdout.write("\n\n".join((sys.stdin.read().strip(), *notices(Path(sys.argv[1])))) + "\n")
