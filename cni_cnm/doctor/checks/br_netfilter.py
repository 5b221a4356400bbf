"""What iptables sees of frames inside a bridge. kube-proxy needs it, and one IP version without the other is a trap."""

from __future__ import annotations

import os

from cni_cnm.doctor.commands import command, sysctl
from cni_cnm.doctor.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture

_KUBELET = "/var/lib/kubelet/config.yaml"
_KEYS = {4: "net/bridge/bridge-nf-call-iptables", 6: "net/bridge/bridge-nf-call-ip6tables"}
_WHY = "A pod gets no answer from a Service whose pod is on the same bridge."


def look(picture: Picture) -> Iterator[Finding]:
    """Only on a node of Kubernetes: nothing else of ours needs it."""
    if not os.path.exists(_KUBELET) or not any(network.driver == "bridge" for network in picture.networks):
        return
    values = {version: picture.stack.sysctl(key) for version, key in _KEYS.items()}
    if values[4] is None:
        yield Finding("the kernel module br_netfilter is not loaded", _WHY, (command("modprobe", "br_netfilter"),))
        return
    for version in picture.versions or (4,):
        if values[version] == "0":
            key = _KEYS[version]
            yield Finding(f"{key} is 0", _WHY, (sysctl(key, "1"),), about=key)
