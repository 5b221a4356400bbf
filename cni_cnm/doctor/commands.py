"""Commands for people, quoted for a shell."""

from __future__ import annotations

from shlex import quote
from shutil import which

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.find.endpoint_names import NamedEndpoint


def command(*words: str) -> str:
    return " ".join(map(quote, words))


def sysctl(key: str, value: str) -> str:
    """`key` as `Stack.sysctl` has it. With slashes: a link's name may have dots."""
    return command("sysctl", "-w", f"{key}={value}")


def inside(netns: str, *words: str) -> str:
    """In a network namespace given by path."""
    return command("nsenter", f"--net={netns}", "--", *words)


def make_again(endpoint: NamedEndpoint, *, joined: bool = False) -> tuple[str, ...]:
    """Let the runtime make a container's network again; without a runtime that is known, remove what is left.

    `joined`: its link is there, and the container may use it. Without a known runtime it is shown, and not removed.
    """
    record, runtime = endpoint.record, endpoint.record.owner.removeprefix("cni/")
    if record.docker_network and endpoint.container_id:
        return (command("docker", "restart", endpoint.docker.name or endpoint.container_id),)
    if record.pod.name and runtime in ("containerd", "crio"):
        return (command("crictl", "stopp", record.container_id),)  # the kubelet makes the pod's sandbox again
    if runtime in ("podman", "netavark"):
        return (command("podman", "restart", record.container_id),)
    if runtime == "nerdctl" and "-" in record.container_id:
        namespace, _, container = record.container_id.rpartition("-")  # as its OCI hook names the sandbox
        return (command("nerdctl", "--namespace", namespace, "restart", container),)
    verb = ("inspect",) if joined else ("rm", "--force")
    return (command("cni-cnm", "endpoint", *verb, record.id[:12]),)


def install(package: str) -> str:
    """By the package manager of this host."""
    for manager, words in _MANAGERS.items():
        if which(manager):
            return command(manager, *words, package)
    return command("apt-get", "install", "-y", package)


_MANAGERS = {
    "apt-get": ("install", "-y"),
    "dnf": ("install", "-y"),
    "zypper": ("install", "-y"),
    "apk": ("add",),
    "pacman": ("-S", "--noconfirm"),
}
