"""A node of a real cluster: containerd 2, kubelet and kube-proxy in namespaces of their own, and our service.

node = KubernetesNode(name, …)      kubelet registers; no network yet
node.serve()                        our service with `[cluster] store = "kubernetes"`
node.proxy("nftables")              kube-proxy in that mode, in place of the one before
node.pod_netns("a")                 the path of a pod's network namespace
node.reboot()                       all but the disk is gone
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.kubernetes.real.programs import programs
from tests.program import built
from tests.system.containerd import IMAGE, image_archive
from tests.system.cri import Cri, CriError, decode
from tests.system.daemon import Daemon
from tests.system.node import Node
from tests.waiting import until

CONFLIST = "/etc/cni/net.d/10-cni-cnm.conflist"
_DISK = (
    "/var/lib/cni-cnm", "/var/lib/cni", "/etc/cni/net.d", "/etc/cni-cnm", "/etc/kubernetes", "/etc/containerd",
    "/etc/hosts", "/etc/resolv.conf", "/opt/cni", "/var/lib/containerd", "/var/lib/kubelet",
)  # fmt: skip
"""What is there after a reboot."""
_CGROUPS = Path("/sys/fs/cgroup")
_CONTAINERD = """\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{image}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{bin_dir}"]
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
"""
_TUNED = (
    "vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops "
    "kernel/keys/root_maxkeys kernel/keys/root_maxbytes"
)
"""Sysctls of the whole machine that kubelet changes. In a node it finds files in their place."""
_TUNE = f"""
mkdir /run/sysctl
for key in {_TUNED}; do
    copy=/run/sysctl/${{key##*/}}
    cat /proc/sys/$key >$copy
    mount --bind $copy /proc/sys/$key
done
mount -t tmpfs -o mode=0755 node /var/log
mount --make-rshared /
"""


class KubernetesNode:
    def __init__(
        self, name: str, addresses: tuple[str, ...], kubeconfig: Path, proxy_kubeconfig: Path, clusters: str
    ) -> None:
        """`addresses`: of the underlay, IPv4 first. `clusters`: the cluster's pod CIDRs, for kube-proxy."""
        self.name = name
        self.addresses = addresses
        self._kubeconfig, self._proxy_kubeconfig, self._clusters = kubeconfig, proxy_kubeconfig, clusters
        self.node: Node
        self.service: Daemon | None = None
        self._proxy: Daemon | None = None
        self._containerd: Daemon | None = None
        self._kubelet: Daemon | None = None
        self.cri: Cri
        self.cgroup = ""
        self._boot()

    def _boot(self) -> None:
        self.node = Node()
        self.cgroup = f"cni-cnm-{self.node.pid}"
        self.node.run("sh", "-ec", _TUNE).ok()

    # the programs ---------------------------------------------------------------

    def start(self, *, bin_dir: str = "") -> None:
        """containerd and kubelet. `bin_dir`: where containerd finds plugins; the built ones if empty."""
        self.node.write("/etc/hosts", "127.0.0.1 localhost\n")
        self.node.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
        self.node.write(
            "/etc/containerd/config.toml",
            _CONTAINERD.format(image=IMAGE, bin_dir=bin_dir or built(), runc=runc()),
        )
        self.start_containerd()
        self.load(image_archive())
        self.start_kubelet()

    def start_containerd(self) -> None:
        self._containerd = self._daemon("containerd", "--config", "/etc/containerd/config.toml")
        self.cri = Cri(str(self.node.path("/run/containerd/containerd.sock")))

        def answers() -> bool:
            with suppress(CriError):
                self.cri.network_ready()
                return True
            return False

        self._containerd.wait(answers, 120)

    def load(self, archive: bytes) -> None:
        """Import an image."""
        self.node.path("/run/image.tar").write_bytes(archive)
        self.node.run("ctr", "--namespace", "k8s.io", "images", "import", "/run/image.tar", timeout=120).ok()
        self.node.path("/run/image.tar").unlink()

    def start_kubelet(self) -> None:
        self.node.write("/etc/kubernetes/kubelet.json", json.dumps(self._kubelet_settings()))
        self._kubelet = self._daemon(
            "kubelet", "--config", "/etc/kubernetes/kubelet.json", "--kubeconfig", str(self._kubeconfig),
            "--hostname-override", self.name, "--node-ip", ",".join(self.addresses), "--cert-dir", "/run/kubelet",
        )  # fmt: skip

    def _kubelet_settings(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False,
            "cgroupRoot": f"/{self.cgroup}",
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "localStorageCapacityIsolation": False,
            "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "2s",
            "syncFrequency": "5s",
            "shutdownGracePeriod": "0s",
        }

    def proxy(self, mode: str) -> None:
        """kube-proxy in that mode. The rules of the one before are removed, as its own --cleanup does."""
        if self._proxy is not None:
            self._proxy.stop()
            self.node.run(programs().path("kube-proxy"), "--cleanup", env=programs().environ)
        settings = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": mode,
            "clientConnection": {"kubeconfig": str(self._proxy_kubeconfig)},
            "hostnameOverride": self.name,
            "clusterCIDR": self._clusters,
            # These are of the whole machine.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
        self.node.write("/etc/kubernetes/kube-proxy.json", json.dumps(settings))
        self._proxy = self._daemon("kube-proxy", "--config", "/etc/kubernetes/kube-proxy.json", "-v", "2")

    def serve(self, settings: str = "") -> None:
        """Our service. `settings`: further lines of `[cluster]`."""
        self.node.write(
            "/etc/cni-cnm/config.toml",
            f'[cluster]\nstore = "kubernetes"\nnode = "{self.name}"\nconflist = "{CONFLIST}"\n{settings}\n',
        )
        self.service = Daemon(self.node, str(built() / "cni-cnm"), "serve", log="/run/service.log")
        self.service.wait(self.node.path("/run/cni-cnm/service.sock").exists)

    def _daemon(self, name: str, *arguments: str) -> Daemon:
        return Daemon(
            self.node, programs().path(name), *arguments,
            log=f"/run/{name}.log", env=programs().environ | {"CNI_CNM_OWNER": "cni/containerd"},
        )  # fmt: skip

    # what is there ----------------------------------------------------------------

    def log(self) -> str:
        """The last lines of each program."""
        return "\n".join(
            f"--- {self.name} {path.name}\n{path.read_text(errors='replace')[-2500:]}"
            for path in sorted(self.node.path("/run").glob("*.log"))
        )

    def status(self) -> dict[str, Any]:
        """What our agent wrote last; empty if there is nothing."""
        try:
            raw: dict[str, Any] = json.loads(self.node.path("/run/cni-cnm/cluster/status.json").read_text())
        except (OSError, ValueError):
            return {}
        return raw

    def pods(self) -> set[str]:
        """Names of the pods that run."""
        return {self.cri.pod(each).name for each in self._ready_sandboxes()}

    def pod_netns(self, name: str) -> str:
        """The path of the namespace of the running pod of this name."""
        found = [self.cri.pod(each) for each in self._ready_sandboxes()]
        return next(pod.netns for pod in found if pod.name == name)

    def _ready_sandboxes(self) -> list[str]:
        answer = self.cri.call("ListPodSandbox", {})
        sandboxes = [decode(item) for item in answer.get(1, ())]
        return [each[1][0].decode() for each in sandboxes if not each.get(3, [0])[0]]  # state 0: ready

    def ask(self, url: str, *, netns: str = "", source: str = "", wait: int = 2) -> str:
        """What an HTTP server answers, asked from the node or from a pod's namespace; "" if nothing."""
        bound = ["--interface", source] if source else []
        done = self.node.run(
            "curl", "--silent", "--globoff", "--max-time", str(wait), *bound, url, netns=netns, timeout=30
        )
        return done.out.strip() if done.code == 0 else ""

    def links(self) -> set[str]:
        """The host's ends of pods."""
        return {name for name in self.node.links() if name.startswith("veth")}

    # its life -----------------------------------------------------------------------

    def stop_kubelet(self, sig: int = signal.SIGTERM) -> None:
        assert self._kubelet is not None
        self._kubelet.stop(sig)

    def restart_containerd(self) -> None:
        """Killed and started again. Shims and pods live on."""
        assert self._containerd is not None
        self.cri.close()
        self._containerd.stop(signal.SIGKILL)
        self.start_containerd()

    def stop(self) -> None:
        """Service, kubelet and containerd end, as when the machine is taken away. The disk stays."""
        self.cri.close()
        for daemon in (self.service, self._kubelet, self._containerd):
            if daemon is not None:
                daemon.stop(signal.SIGKILL)

    def reboot(self, plug: Callable[[], None]) -> None:
        """All but the disk is gone: links, processes, /run. `plug` makes the uplink. No program is started."""
        disk = self.node.run("mktemp", "/dev/shm/disk.XXXXXX").ok().out.strip()
        folders = [each for each in _DISK if self.node.path(each).exists()]
        self.node.run("tar", "-C", "/", "-cf", disk, "--exclude=*.sock", *(each[1:] for each in folders)).ok()
        self.close()
        self._boot()
        plug()
        self.node.run("tar", "-C", "/", "-xf", disk).ok()
        os.unlink(disk)

    def close(self) -> None:
        """All of it ends, and its cgroups are removed."""
        with suppress(AttributeError):  # containerd was not started
            self.cri.close()
        self.node.close()
        for daemon in (self.service, self._proxy, self._kubelet, self._containerd):
            if daemon is not None:
                daemon.stop()
        self.service = self._proxy = self._kubelet = self._containerd = None
        until(self._without_cgroups, f"{self.name}: cgroups are removed", 30)

    def _without_cgroups(self) -> bool:
        """Remove those of the node. False while processes end in them."""
        left = False
        for top in (_CGROUPS / self.cgroup, *_CGROUPS.glob(f"*/{self.cgroup}")):
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    left = True
        return not left


def runc() -> str:
    """The machine's: the one of `scripts/reference docker` is built without seccomp."""
    return shutil.which("runc") or programs().path("runc")


def needed_tools() -> str:
    """What of the machine's is missing for a node; "" if nothing."""
    absent = [name for name in ("busybox", "curl", "conntrack", "iptables", "nft") if shutil.which(name) is None]
    return f"needs {', '.join(absent)}" if absent else ""
