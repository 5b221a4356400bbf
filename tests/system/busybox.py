"""A root file system of Debian's static busybox and nothing else: test machines have no registry of images."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

APPLETS = (
    "sh", "sleep", "ping", "ping6", "ip", "nc", "wget", "httpd", "cat", "ls", "arping", "nslookup", "echo", "true",
)  # fmt: skip


def root_file_system() -> bytes:
    """As a tar: busybox under the names of its applets, and empty folders for what a runtime mounts."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        busybox = Path("/bin/busybox").read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(busybox), 0o755
        tar.addfile(entry, io.BytesIO(busybox))
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder in ("etc", "proc", "sys", "dev", "tmp"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(made)
    return out.getvalue()
