"""A real containerd in a Node: its configuration, its one image, its life.

The image is made here, from Debian's static busybox, because a test machine has no registry.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

from tests.system.cri import Cri, CriError
from tests.system.node import BIN, Node

IMAGE = "localhost/pause:1"
APPLETS = ("sh", "sleep", "ping", "ping6", "ip", "nc", "wget", "httpd", "cat", "ls")

CONFIG = """\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
                    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true
disable_cgroup = true
disable_apparmor = true
stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{bin_dir}"
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
"""


def image_archive() -> bytes:
    """An OCI image layout, as a tar, whose only file is busybox and whose only command is `sleep`."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
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
    blobs: dict[str, bytes] = {}

    def blob(raw: bytes, media: str) -> dict[str, Any]:
        name = hashlib.sha256(raw).hexdigest()
        blobs[f"blobs/sha256/{name}"] = raw
        return {
            "mediaType": f"application/vnd.oci.image.{media}",
            "digest": f"sha256:{name}",
            "size": len(raw),
        }

    layer_blob = blob(layer.getvalue(), "layer.v1.tar")
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Cmd": ["/bin/sleep", "1000000"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer_blob["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": [layer_blob],
    }
    described = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    described["annotations"] = {"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": "1"}
    blobs["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [described]}).encode()
    blobs["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, raw in blobs.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    return out.getvalue()


class Containerd:
    """One containerd and its CRI client; `restart` starts it again over the same state."""

    def __init__(self, node: Node, *, bin_dir: Path = BIN) -> None:
        self.node = node
        node.write("/etc/containerd/config.toml", CONFIG.format(bin_dir=bin_dir))
        node.write("/etc/hosts", "127.0.0.1 localhost\n")  # pods get copies of these two
        node.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
        self._log = node.path("/run/containerd.log")
        self.cri: Cri
        self._start()
        node.path("/run/image.tar").write_bytes(image_archive())
        node.run("ctr", "--namespace", "k8s.io", "images", "import", "--snapshotter", "native", "/run/image.tar").ok()
        self._wait("the image", lambda: IMAGE in self.cri.images())

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.node.command("containerd", "--config", "/etc/containerd/config.toml"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "CNI_CNM_OWNER": "cni/containerd"},
            )  # fmt: skip
        self.cri = Cri(str(self.node.path("/run/containerd/containerd.sock")))
        self._wait("containerd", lambda: bool(self.cri.network_ready()[1]) or True)

    def _wait(self, what: str, ready: Any, limit: float = 30) -> None:
        end = time.monotonic() + limit
        while True:
            try:
                if ready():
                    return
            except CriError as error:
                last = str(error)
            else:
                last = "not yet"
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError(f"{what} did not come up in {limit:.0f} s: {last}\n{self.log()[-2000:]}")
            time.sleep(0.05)

    def wait_ready(self, limit: float = 30) -> None:
        """Until the runtime has read a network configuration and reports NetworkReady."""
        self._wait("the network", lambda: self.cri.network_ready()[0], limit)

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """containerd itself, as seen from outside (nsenter forks for the pid namespace)."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
        return int(children.split()[0])

    def kill(self) -> None:
        """kill -9. Shims and pods live on."""
        os.kill(self.pid, 9)
        self._process.wait()
        self.cri.close()

    def restart(self) -> None:
        if self._process.poll() is None:
            self.kill()
        self._start()

    def stop(self, sig: int = 15) -> None:
        """An ordinary stop; pods live on."""
        self.cri.close()
        if self._process.poll() is None:
            os.kill(self.pid, sig)
            self._process.wait(timeout=20)

    close = stop
