"""The Services whose rules of kube-proxy are recorded here, and the two nodes and the pods that they are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
CLUSTERS = "10.244.0.0/16,fd00:244::/48"
PORT = 8080
"""Of the pod's server."""


class SceneNode(NamedTuple):
    name: str
    addresses: tuple[str, str]
    blocks: tuple[str, str]


ONE = SceneNode("node1", ("192.0.2.11", "fd00:a::11"), ("10.244.1.0/24", "fd00:244:0:1::/64"))
TWO = SceneNode("node2", ("192.0.2.12", "fd00:a::12"), ("10.244.2.0/24", "fd00:244:0:2::/64"))
NODES = (ONE, TWO)
SERVER = ("10.244.1.10", "fd00:244:0:1::10")
"""The pod behind all Services, on node1."""


class Service(NamedTuple):
    """At port 80 of its addresses, and at the NodePort of all nodes."""

    name: str
    addresses: tuple[str, str]
    node_port: int
    local: bool = False
    """externalTrafficPolicy: Local"""

    def object(self) -> dict[str, Any]:
        return {
            "metadata": {"name": self.name},
            "spec": {
                "type": "NodePort",
                "externalTrafficPolicy": "Local" if self.local else "Cluster",
                "ipFamilyPolicy": "RequireDualStack",
                "clusterIP": self.addresses[0],
                "clusterIPs": list(self.addresses),
                "ports": [{"port": 80, "targetPort": PORT, "nodePort": self.node_port}],
            },
        }

    def slices(self) -> list[dict[str, Any]]:
        """Its EndpointSlices, as the controller makes them from a pod."""
        return [
            {
                "metadata": {
                    "name": f"{self.name}-{family.lower()}",
                    "labels": {"kubernetes.io/service-name": self.name},
                },
                "addressType": family,
                "ports": [{"name": "", "port": PORT, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address], "nodeName": ONE.name, "conditions": {"ready": True}}],
            }
            for family, address in zip(("IPv4", "IPv6"), SERVER, strict=True)
        ]


WEB = Service("web", ("10.96.0.80", "fd00:96::80"), 30080)
LOCAL = Service("local", ("10.96.0.81", "fd00:96::81"), 30081, local=True)
SERVICES = (WEB, LOCAL)


def rules(mode: str, node: SceneNode, family: int) -> Path:
    """The recorded file: for nft, or for iptables-restore and ip6tables-restore."""
    return FOLDER / mode / f"{node.name}.v{family}"
