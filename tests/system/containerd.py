"""A real containerd in a Node: its configuration, its one image, its life.

The image is made here, from Debian's static busybox, because a test machine has no registry.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.system.busybox import root_file_system
from tests.system.cri import Cri, CriError
from tests.system.daemon import Daemon
from tests.system.node import BIN, Node

DEBIAN = Path("/usr/bin")
IMAGE = "localhost/pause:1"

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


SLEEP = ("/bin/sleep", "1000000")
PAUSE = ("/bin/sh", "-c", "trap exit TERM; sleep 1000000 & wait")
"""The same for a runtime that ends pods by SIGTERM, which a first process has no default action for."""


def image_archive(command: tuple[str, ...] = SLEEP) -> bytes:
    """An OCI image layout, as a tar, whose only file is busybox, with the command of its containers."""
    blobs: dict[str, bytes] = {}

    def blob(raw: bytes, media: str) -> dict[str, Any]:
        name = hashlib.sha256(raw).hexdigest()
        blobs[f"blobs/sha256/{name}"] = raw
        return {
            "mediaType": f"application/vnd.oci.image.{media}",
            "digest": f"sha256:{name}",
            "size": len(raw),
        }

    layer_blob = blob(root_file_system(), "layer.v1.tar")
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Cmd": list(command), "Env": ["PATH=/bin"]},
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
    """One containerd and its CRI client; `restart` starts it again over the same state.

    `programs` is the folder of containerd and its shim; None: Debian's. `store` is a folder for root and state; "" is
    the first one, at the usual places. Another one of either counts from the next start on.
    """

    def __init__(self, node: Node, *, bin_dir: Path = BIN) -> None:
        self.node = node
        self.programs: Path | None = None
        self.store = ""
        self._bin_dir = bin_dir
        node.write("/etc/hosts", "127.0.0.1 localhost\n")  # pods get copies of these two
        node.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
        self.cri: Cri
        node.path("/run/image.tar").write_bytes(image_archive())
        self._start()
        self.take_image()

    def take_image(self) -> None:
        """Into the store at hand."""
        self.node.run(
            "ctr", "--namespace", "k8s.io", "images", "import", "--snapshotter", "native", "/run/image.tar"
        ).ok()
        self._wait(lambda: IMAGE in self.cri.images())

    def _start(self) -> None:
        config = CONFIG.format(bin_dir=self._bin_dir)
        for folder in ("/var/lib/containerd", "/run/containerd") if self.store else ():
            config = config.replace(f'"{folder}"', f'"{folder}/{self.store}"')
        self.node.write("/etc/containerd/config.toml", config)
        environ = {"CNI_CNM_OWNER": "cni/containerd"}
        if self.programs is not None:
            environ["PATH"] = f"{self.programs}:{os.environ['PATH']}"
        self._daemon = Daemon(
            self.node, str((self.programs or DEBIAN) / "containerd"), "--config", "/etc/containerd/config.toml",
            log="/run/containerd.log", env=environ,
        )  # fmt: skip
        self.cri = Cri(str(self.node.path("/run/containerd/containerd.sock")))
        self._wait(lambda: bool(self.cri.network_ready()[1]) or True)

    def _wait(self, ready: Callable[[], bool], limit: float = 60) -> None:
        """Until `ready` is true; containerd may refuse the question meanwhile."""

        def answered() -> bool:
            try:
                return ready()
            except CriError:
                return False

        self._daemon.wait(answered, limit)

    def wait_ready(self, limit: float = 60) -> None:
        """Until the runtime has read a network configuration and reports NetworkReady."""
        self._wait(lambda: self.cri.network_ready()[0], limit)

    def log(self) -> str:
        return self._daemon.log()

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def freeze(self, seconds: float) -> None:
        self._daemon.freeze(seconds)

    def kill(self) -> None:
        """kill -9. Shims and pods live on."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        if self._daemon.running:
            self.kill()
        self._start()

    def stop(self, sig: int = signal.SIGTERM) -> None:
        """An ordinary stop; pods live on."""
        self.cri.close()
        self._daemon.stop(sig)

    close = stop
