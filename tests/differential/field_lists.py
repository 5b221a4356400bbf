"""Lists as programs in the field ship or write them, in our own words: their keys and values, not their files."""

from __future__ import annotations

from typing import Any

DEFAULT4, DEFAULT6 = {"dst": "0.0.0.0/0"}, {"dst": "::/0"}
PORTMAP: dict[str, Any] = {"type": "portmap", "capabilities": {"portMappings": True}}
FIREWALL: dict[str, Any] = {"type": "firewall"}


def local(*subnets: str, **more: Any) -> dict[str, Any]:
    return {"type": "host-local", "ranges": [[{"subnet": subnet}] for subnet in subnets], **more}


def listed(first: dict[str, Any], *behind: dict[str, Any], version: str = "1.0.0") -> dict[str, Any]:
    return {"cniVersion": version, "name": "field", "plugins": [{"type": "bridge", **first}, *behind]}


LISTS: dict[str, dict[str, Any]] = {
    "CRI-O": listed(
        {
            "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
            "ipam": local("10.85.0.0/16", "fd00:85::/64", routes=[DEFAULT4, DEFAULT6]),
        },
    ),
    "containerd": listed(
        {
            "bridge": "cni0", "isGateway": True, "ipMasq": True, "promiscMode": True,
            "ipam": local("10.88.0.0/16", "2001:4860:4860::/64", routes=[DEFAULT4, DEFAULT6]),
        },
        PORTMAP,
    ),
    "podman": listed(
        {
            "bridge": "cni-podman0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
            "ipam": {
                "type": "host-local", "routes": [DEFAULT4],
                "ranges": [[{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}]],
            },
        },
        PORTMAP, FIREWALL, {"type": "tuning"}, version="0.4.0",
    ),
    "nomad": listed(
        {
            "bridge": "nomad", "ipMasq": True, "isGateway": True, "forceAddress": True, "hairpinMode": False,
            "ipam": local("172.26.64.0/20", routes=[DEFAULT4]),
        },
        {**FIREWALL, "backend": "iptables", "iptablesAdminChainName": "NOMAD-ADMIN"}, {**PORTMAP, "snat": True},
        version="0.4.0",
    ),
    "buildkit": listed(
        {
            "bridge": "buildkit0", "isDefaultGateway": True, "forceAddress": False, "ipMasq": True, "hairpinMode": True,
            "ipam": {
                "type": "host-local", "subnet": "10.10.0.0/16", "rangeStart": "10.10.0.10", "rangeEnd": "10.10.255.250",
            },
        },
        {**FIREWALL, "ingressPolicy": "same-bridge"},
    ),
    "apptainer": listed(
        {
            "bridge": "sbr0", "isGateway": True, "ipMasq": True, "capabilities": {"ipRanges": True},
            "ipam": {"type": "host-local", "subnet": "10.22.0.0/16", "routes": [DEFAULT4]},
        },
        FIREWALL, {**PORTMAP, "snat": True},
    ),
    "faasd": listed(
        {
            "bridge": "openfaas0", "isGateway": True, "ipMasq": True,
            "ipam": {
                "type": "host-local", "subnet": "10.62.0.0/16", "dataDir": "/var/run/cni", "routes": [DEFAULT4],
            },
        },
        FIREWALL, version="0.4.0",
    ),
    "kubenet": listed(
        {
            "bridge": "cbr0", "mtu": 1460, "addIf": "eth0", "isGateway": True, "ipMasq": False, "hairpinMode": False,
            "promiscMode": True,
            "ipam": {"type": "host-local", "subnet": "10.64.3.0/24", "routes": [DEFAULT4]},
        },
        version="0.3.1",
    ),
    "minikube": listed(
        {
            "bridge": "bridge", "addIf": "true", "isDefaultGateway": True, "forceAddress": False, "ipMasq": True,
            "hairpinMode": True, "ipam": {"type": "host-local", "subnet": "10.244.0.0/16"},
        },
        PORTMAP, FIREWALL, version="0.4.0",
    ),
    "flannel": listed(
        {
            "bridge": "cni0", "mtu": 1450, "isGateway": True, "isDefaultGateway": True, "hairpinMode": True,
            "forceAddress": True, "ipMasq": False,
            "ipam": local("10.42.3.0/24", routes=[{"dst": "10.42.0.0/16"}]),
        },
        PORTMAP,
    ),
    "kube-router": listed(
        {
            "bridge": "kube-bridge", "isDefaultGateway": True, "hairpinMode": True, "mtu": 1400,
            "ipam": {"type": "host-local", "subnet": "10.1.4.0/24"},
        },
        {**PORTMAP, "snat": True}, version="0.3.1",
    ),
    "concourse": listed(
        {
            "bridge": "concourse0", "isGateway": True, "ipMasq": True,
            "ipam": {"type": "host-local", "subnet": "10.80.0.0/16", "routes": [DEFAULT4]},
        },
        {**FIREWALL, "iptablesAdminChainName": "CONCOURSE-OPERATOR"}, version="0.4.0",
    ),
    "mesos": listed(
        {
            "bridge": "mesos-cni0", "isGateway": True, "ipMasq": True,
            "ipam": {"type": "host-local", "subnet": "192.168.96.0/20", "routes": [DEFAULT4]},
        },
        version="0.3.1",
    ),
}  # fmt: skip
