"""Whether records and leases can be written: bytes and inodes of their file systems, and how these are mounted."""

from __future__ import annotations

import os

from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture

BYTES_MIN = 8 << 20
INODES_MIN = 500
"""A container needs four files."""


def look(picture: Picture) -> Iterator[Finding]:
    settings = picture.settings
    seen: set[tuple[int, int]] = set()
    for folder in (settings.run_dir, settings.state_dir, settings.leases_dir):
        place = _existing(folder)
        status = os.statvfs(place)
        read_only = status.f_flag & os.ST_RDONLY
        of = (os.stat(place).st_dev, read_only)
        if of in seen:
            continue
        seen.add(of)
        if read_only:
            yield _read_only(place)
        elif status.f_bavail * status.f_frsize < BYTES_MIN:
            yield _full(place, f"{status.f_bavail * status.f_frsize >> 10} KiB", status)
        elif status.f_files and status.f_favail < INODES_MIN:
            yield _full(place, f"{status.f_favail} inodes", status)


def _full(place: str, left: str, status: os.statvfs_result) -> Finding:
    mount, kind = _mount(place)
    size = status.f_blocks * status.f_frsize
    repair = command("journalctl", "--vacuum-size=100M")
    if kind == "tmpfs":
        options = f"remount,size={max(size * 2, BYTES_MIN * 8) >> 10}k,nr_inodes={max(status.f_files * 2, 20_000)}"
        repair = command("mount", "-o", options, mount)
    return Finding(
        f"the file system {mount} has {left} left, and {place} is on it",
        "An ADD cannot write its record or its lease, and fails.",
        (repair,),
        about=mount,
    )


def _read_only(place: str) -> Finding:
    mount, _ = _mount(place)
    return Finding(
        f"the file system {mount} is mounted read-only, and {place} is on it",
        "An ADD cannot write its record or its lease, and fails, and a DEL cannot remove them. The kernel mounts a "
        "file system read-only after errors of its disk: `dmesg` says so.",
        (command("mount", "-o", "remount,rw", mount),),
        about=mount,
    )


def _existing(folder: str) -> str:
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder)
    return folder


def _mount(place: str) -> tuple[str, str]:
    """Where the file system is mounted, and its type; the longest mount point that the folder is in."""
    best = ("/", "")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            point = fields.split(" ")[4]
            inside = place == point or place.startswith(f"{point.rstrip('/')}/")
            if inside and len(point) >= len(best[0]):
                best = (point, rest.split(" ")[0])
    return best
