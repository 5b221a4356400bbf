"""An image in OCI's layout, as a tar: python build/image.py STAGE SECONDS OUTPUT, called by scripts/package.

Each package of Debian is a layer, which is the package's own file system tar, unmodified, with its copyright file. The
last layer has the program (STAGE/usr/lib/cni-cnm), busybox's commands for scripts/install, and the packages' control
files in /var/lib/dpkg/status.d, where scanners look for them. All that is made here has the time SECONDS.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PACKAGES = (
    "busybox-static", "iptables", "libbsd0", "libc6", "libedit2", "libgmp10", "libip4tc2", "libip6tc2", "libjansson4",
    "libmd0", "libmnl0", "libnetfilter-conntrack3", "libnfnetlink0", "libnftables1", "libnftnl11", "libssl3",
    "libtinfo6", "libxtables12", "netbase", "nftables", "zlib1g",
)  # fmt: skip
"""nft and libnftables; iptables for the node's legacy tables; OpenSSL for the API server; what they and the program are
linked with; a shell."""
COMMANDS = (
    "basename", "cat", "chmod", "chown", "cmp", "cp", "cut", "diff", "dirname", "env", "find", "grep", "head", "id",
    "ls", "mkdir", "mktemp", "mv", "readlink", "rm", "rmdir", "sed", "sh", "sleep", "sort", "tail", "tr", "true",
)  # fmt: skip
"""Links to busybox: what scripts/install calls."""
MERGED = ("bin", "lib", "lib64", "sbin")
"""Folders at the top that are links into /usr where no package has files in them."""
TYPE = "application/vnd.oci.image"


class Layer(NamedTuple):
    tar: bytes
    made_by: str


def image(stage: Path, seconds: int) -> bytes:
    """The archive."""
    archives = _downloaded()
    layers = [Layer(_run("dpkg-deb", "--fsys-tarfile", archive), f"Debian {archive.stem}") for archive in archives]
    return archive_of([*layers, Layer(_own(stage, archives, layers, seconds), "cni-cnm")], stage, seconds)


def archive_of(layers: list[Layer], stage: Path, seconds: int, compression: int = 6) -> bytes:
    """An archive in OCI's layout with these layers. STAGE has the version."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    version = os.readlink(stage / "usr/lib/cni-cnm/dist/lib/cni-cnm/current")
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": f"{TYPE}.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    config = {
        "created": created,
        "architecture": _run("dpkg", "--print-architecture").decode().strip(),
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/cni-cnm"],
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "Labels": {"org.opencontainers.image.version": version, "org.opencontainers.image.title": "cni-cnm"},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(one.tar).hexdigest()}" for one in layers]},
        "history": [{"created": created, "created_by": one.made_by} for one in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{TYPE}.manifest.v1+json",
        "config": blob(_json(config), "config.v1+json"),
        "layers": [blob(gzip.compress(one.tar, compression, mtime=0), "layer.v1.tar+gzip") for one in layers],
    }
    name = {"io.containerd.image.name": f"localhost/cni-cnm:{version}", "org.opencontainers.image.ref.name": version}
    index = {"schemaVersion": 2, "manifests": [{**blob(_json(manifest), "manifest.v1+json"), "annotations": name}]}
    blobs["index.json"] = _json(index)
    blobs["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    return _tar(((_entry(path, 0o644, seconds), content) for path, content in sorted(blobs.items())))


def _own(stage: Path, archives: list[Path], layers: list[Layer], seconds: int) -> bytes:
    """The layer with the program, commands and control files."""
    below = {name.removeprefix("./") for layer in layers for name in _names(layer.tar)}
    busybox = next(name for name in ("usr/bin/busybox", "bin/busybox") if name in below)
    links = {f"{os.path.dirname(busybox)}/{command}": "busybox" for command in COMMANDS}
    links |= {top: f"usr/{top}" for top in MERGED if not any(name.startswith(f"{top}/") for name in below)}
    links["var/run"] = "../run"  # runtimes name network namespaces by /var/run/netns
    links["usr/bin/cni-cnm"] = "../lib/cni-cnm/dist/lib/cni-cnm/current/relay"
    files = {path.relative_to(stage).as_posix(): path for path in (stage / "usr/lib/cni-cnm").rglob("*")}
    files["usr/share/doc/cni-cnm/copyright"] = stage / "usr/share/doc/cni-cnm/copyright"
    entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for name, path in files.items():
        if path.is_symlink():
            links[name] = os.readlink(path)
        elif path.is_file():
            entries[name] = _entry(name, path.stat().st_mode & 0o777, seconds), path.read_bytes()
    for archive in archives:
        name = f"var/lib/dpkg/status.d/{archive.name.partition('_')[0]}"
        entries[name] = _entry(name, 0o644, seconds), _run("dpkg-deb", "--field", archive)
    for name, target in links.items():
        entry = _entry(name, 0o777, seconds)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        entries[name] = entry, b""
    return _tar(entries[name] for name in sorted(entries))


def _downloaded() -> list[Path]:
    """The packages' archives, in a cache, in the order of PACKAGES."""
    cache = Path(os.environ.get("CNI_CNM_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "cni-cnm"))
    folder = cache.expanduser() / "debian"
    folder.mkdir(parents=True, exist_ok=True)
    if not _run("apt-cache", "show", "--no-all-versions", "libnftables1", check=False):
        _run("apt-get", "update", "-q")
    found = []
    for package in PACKAGES:
        fields = _run("apt-cache", "show", "--no-all-versions", package).decode()
        of = dict(line.partition(": ")[::2] for line in fields.splitlines() if line[:1].strip())
        archive = folder / f"{package}_{of['Version'].replace(':', '%3a')}_{of['Architecture']}.deb"
        if not archive.exists():
            _run(
                "apt-get",
                "-q",
                "-o",
                "APT::Sandbox::User=root",
                "download",
                f"{package}={of['Version']}",
                folder=folder,
            )
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != of["SHA256"]:
            archive.unlink()
            raise SystemExit(f"image: {archive.name} has the SHA-256 {digest}, the package list says {of['SHA256']}")
        found.append(archive)
    return found


def _run(*command: str | Path, folder: Path | None = None, check: bool = True) -> bytes:
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"image: {' '.join(map(str, command))}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _names(raw: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return tar.getnames()


def _entry(name: str, mode: int, seconds: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = mode, seconds
    return entry


def _tar(entries: Iterator[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode()


if __name__ == "__main__":
    Path(sys.argv[3]).write_bytes(image(Path(sys.argv[1]), int(sys.argv[2])))
