"""As much of a kubelet as one pod of a DaemonSet takes, in a Node with a real containerd.

    pod = Kubelet(containerd).start(objects("cni-cnm"))     its init container, and when that has ended, its container
    pod.probe("readinessProbe")                             a probe's exit code and output
    pod.stop()                                              as kubelet ends a pod, with its grace period

The messages are those that kubelet sends (pkg/kubelet/kuberuntime/kuberuntime_container.go): the defaults of masked and
read-only paths are its own, too (pkg/securitycontext/util.go).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.system.cri import Message, decode
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.kubernetes.manifests import Object
    from tests.system.containerd import Containerd

NODE_MODE, POD_MODE, CONTAINER_MODE = 2, 0, 1
RUNNING, EXITED = 1, 2
PROPAGATION = {"None": 0, "HostToContainer": 1, "Bidirectional": 2}
SECCOMP = {"RuntimeDefault": 0, "Unconfined": 1}
MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
VOLUMES = "/var/lib/kubelet/pods/cni-cnm/volumes"
LOGS = "/run/log/pods"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class Kubelet:
    """Of one node. `account` are the files of the service account, `environ` what a kubelet adds to each container."""

    def __init__(
        self, containerd: Containerd, name: str = "node1", account: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.containerd = containerd
        self.node = containerd.node
        self.name = name
        self.account = account or {}
        self.environ = environ or {}
        self._pods = 0
        self.node.run("mount", "--make-rshared", "/").ok()  # as systemd has it; containerd requires it for propagation

    def start(self, manifest: Sequence[Object]) -> DaemonPod:
        """The pod of the one DaemonSet in `manifest`. AssertionError with its log if an init container fails."""
        pod = self.begin(manifest)
        pod.wait_initialized()
        return pod

    def begin(self, manifest: Sequence[Object]) -> DaemonPod:
        """The same, whose one init container has just been started."""
        (daemon_set,) = (one for one in manifest if one["kind"] == "DaemonSet")
        maps = {one["metadata"]["name"]: one["data"] for one in manifest if one["kind"] == "ConfigMap"}
        spec = daemon_set["spec"]["template"]["spec"]
        self._pods += 1
        sources = {volume["name"]: self._source(volume, maps) for volume in spec["volumes"]}
        return DaemonPod(self, f"{daemon_set['metadata']['name']}-{self._pods}", spec, sources)

    def _source(self, volume: Object, maps: Mapping[str, Mapping[str, str]]) -> str:
        """The folder or file of the node that a volume is."""
        if "configMap" in volume:
            folder = f"{VOLUMES}/{volume['name']}"
            for name, text in maps[volume["configMap"]["name"]].items():
                self.node.write(f"{folder}/{name}", text)
            return folder
        path, kind = volume["hostPath"]["path"], volume["hostPath"]["type"]
        if kind == "DirectoryOrCreate":
            self.node.path(path).mkdir(parents=True, exist_ok=True)
        if kind == "FileOrCreate":
            self.node.path(path).touch()
        assert self.node.path(path).is_file() == kind.startswith("File"), f"{path} is not a {kind}"
        return str(path)


class DaemonPod:
    """A pod in the host's network, and its containers."""

    def __init__(self, kubelet: Kubelet, name: str, spec: Object, sources: Mapping[str, str]) -> None:
        self.spec = spec
        self.container = ""
        """Id of the one container that is no init container."""
        self._kubelet = kubelet
        self._node = kubelet.node
        self._cri = kubelet.containerd.cri
        self._sources = sources
        self._logs = f"{LOGS}/{name}"
        self._node.path(self._logs).mkdir(parents=True, exist_ok=True)
        self._namespaces: Message = {
            1: NODE_MODE if spec.get("hostNetwork") else POD_MODE,
            2: NODE_MODE if spec.get("hostPID") else CONTAINER_MODE,
            3: POD_MODE,
        }
        self._config: Message = {
            1: {1: name, 2: f"uid-{name}", 3: "cni-cnm"}, 3: self._logs, 8: {2: {1: self._namespaces}},
        }  # fmt: skip
        self.id = self._cri.call("RunPodSandbox", {1: self._config})[1][0].decode()
        (self._init,) = spec["initContainers"]
        self._started = self.run(self._init)

    @property
    def initialized(self) -> bool:
        """Whether the init container has ended."""
        return self.state(self._started)[0] == EXITED

    def wait_initialized(self, limit: float = 60) -> None:
        """Until it has. Then the container is started. AssertionError with its log if it has failed."""
        name = self._init["name"]
        until(lambda: self.initialized, f"the container {name} ends", limit, lambda: self.log(name))
        assert self.state(self._started)[1] == 0, self.log(name)
        (container,) = self.spec["containers"]
        self.container = self.run(container)

    def run(self, container: Object) -> str:
        """Create and start a container: its id."""
        given = container.get("securityContext", {})
        capabilities = given.get("capabilities", {})
        profile = self.spec.get("securityContext", {}).get("seccompProfile", {}).get("type", "Unconfined")
        context: Message = {
            1: {1: capabilities.get("add", []), 2: capabilities.get("drop", [])},
            2: int(given.get("privileged", False)),
            3: self._namespaces,
            7: int(given.get("readOnlyRootFilesystem", False)),
            11: int(given.get("allowPrivilegeEscalation") is False),
            13: list(MASKED), 14: list(READ_ONLY), 15: {1: SECCOMP[profile]},
        }  # fmt: skip
        config: Message = {
            1: {1: container["name"]}, 2: {1: container["image"]}, 3: container.get("command", []),
            4: container.get("args", []), 6: [{1: key, 2: value} for key, value in self._environ(container).items()],
            7: self._mounts(container), 11: f"{container['name']}.log", 15: {2: context},
        }  # fmt: skip
        made = self._cri.call("CreateContainer", {1: self.id, 2: config, 3: self._config})[1][0].decode()
        self._cri.call("StartContainer", {1: made})
        return str(made)

    def _environ(self, container: Object) -> dict[str, str]:
        stated = {}
        for variable in container.get("env", ()):
            field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            assert field in ("", "spec.nodeName")
            stated[variable["name"]] = self._kubelet.name if field else variable["value"]
        return {**self._kubelet.environ, **stated}

    def _mounts(self, container: Object) -> list[Message]:
        mounts: list[Message] = [
            {1: mount["mountPath"], 2: self._sources[mount["name"]], 3: int(mount.get("readOnly", False)),
             5: PROPAGATION[mount.get("mountPropagation", "None")]}
            for mount in container.get("volumeMounts", ())
        ]  # fmt: skip
        if self._kubelet.account:
            folder = f"{VOLUMES}/account"
            for name, text in self._kubelet.account.items():
                self._node.write(f"{folder}/{name}", text)
            mounts.append({1: ACCOUNT, 2: folder, 3: 1})
        return mounts

    def state(self, container: str) -> tuple[int, int]:
        """Its state and exit code."""
        status = decode(self._cri.call("ContainerStatus", {1: container})[1][0])
        return (status.get(3) or [0])[0], (status.get(7) or [0])[0]

    def log(self, container: str = "cni-cnm") -> str:
        """What a container has written, as the runtime keeps it for `kubectl logs`."""
        path = self._node.path(f"{self._logs}/{container}.log")
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def probe(self, kind: str) -> tuple[int, str]:
        """Run a probe of the container: exit code and output."""
        (container,) = self.spec["containers"]
        return self.execute(*container[kind]["exec"]["command"])

    def execute(self, *command: str) -> tuple[int, str]:
        """`kubectl exec` in the container."""
        return self._cri.execute(self.container, list(command))

    @property
    def pid(self) -> int:
        """Of the container's first process, as seen from outside; 0 if it has ended."""
        for entry in os.listdir("/proc"):
            if entry.isdigit() and self._is_ours(entry):
                return int(entry)
        return 0

    def _is_ours(self, pid: str) -> bool:
        try:
            with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
                return self.container in file.read()
        except OSError:
            return False

    def stop(self, timeout_s: int | None = None) -> None:
        """SIGTERM, and SIGKILL after the grace period; then the pod is removed."""
        grace = self.spec["terminationGracePeriodSeconds"] if timeout_s is None else timeout_s
        self._cri.call("StopContainer", {1: self.container, 2: grace}, timeout=grace + 30)
        self._cri.stop(self.id)
        self._cri.remove(self.id)
