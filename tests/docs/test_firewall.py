"""docs/firewall.md shows the ruleset as it is."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

from cni_cnm.cluster.accepted_hosts import AcceptedHosts
from cni_cnm.cluster.remote_blocks import RemoteBlocks
from cni_cnm.cluster.underlay import Peer, Port, Route
from cni_cnm.firewall import Policy, isolation, masquerade, names, overlay, portmap, reflection, spoof
from cni_cnm.firewall.portmap_options import parse_mappings
from cni_cnm.firewall.remote_blocks import OwnSide
from cni_cnm.kernel import Transaction, merge
from cni_cnm.kernel.nft import KernelNft
from tests.docs.pages import blocks
from tests.kernel.lab import Lab, lab

__all__ = ["lab"]

ID, LABEL = "4f1c09aa7be2", "podnet/8d2e51/eth0"
CLOSED_ID, CLOSED_LABEL = "b20e4d7716fa", "backend/77ce02/eth0"
PODNET, BACKEND = "br-91d0c7ba3e55", "br-77aa01bc9d10"
WEB_ID, WEB = "a1e6e1b2bc4f", "br-a1e6e1b2bc4f"
"""A network of several hosts. Its block on this host is a quarter of the subnet, so that the page shows few parts."""
PODS_ID = "049c287ed3e2"
"""The network of a Kubernetes cluster: its subnet is not known."""
EDGE_ID, EDGE = "c5e1f00d9a77", 1304562337
"""A network of the driver ptp, by the group of its links."""


def _build(nft: KernelNft) -> None:
    """The example of the document.

    A pod with ports in podnet; an internal, isolated network that podnet reaches; a ptp network that reaches podnet;
    an overlay network; a block of another node of Kubernetes.
    """
    addresses = (ip_interface("10.88.0.5/16"), ip_interface("fd00:88::5/64"))
    ports = parse_mappings(
        [
            {"hostPort": 8080, "containerPort": 80},
            {"hostPort": 9000, "containerPort": 9000, "range": 100},
            {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"},
        ]
    )
    web = Policy(
        bridge=WEB,
        ingress="same-bridge",
        published_only=(4,),
        outside="cnm-vx4096",
        cluster=(ip_network("10.32.0.0/16"),),
    )
    parts = [
        masquerade.add(ID, LABEL, addresses),
        masquerade.add_exceptions(PODNET[3:], "podnet", [addresses[0].network], [ip_network("10.244.0.0/16")]),
        portmap.publish(ID, LABEL, addresses, ports),
        isolation.add_network(PODNET[3:], "podnet", PODNET, isolation.SAME_BRIDGE, published_only=(4, 6)),
        names.add_network(PODNET[3:], "podnet", PODNET, [ip_interface("10.88.0.1/16"), ip_interface("fd00:88::1/64")]),
        isolation.change_foreign(["docker0"], ()),
        isolation.add_network(BACKEND[3:], "backend", BACKEND, isolation.ISOLATED, internal=True),
        isolation.allow(PODNET[3:], "podnet", [PODNET], [BACKEND]),
        isolation.add_network(EDGE_ID, "edge", EDGE, isolation.SAME_BRIDGE, published_only=(4, 6)),
        isolation.allow(EDGE_ID, "edge", [EDGE], [PODNET]),
        overlay.add_network(WEB_ID, "web", web, [ip_interface("10.32.64.1/18")]),
        spoof.add(ID, LABEL, "veth8d2e51", "02:42:0a:58:00:05"),
        isolation.add_endpoint(CLOSED_ID, CLOSED_LABEL, "veth77ce02", "02:42:0a:63:00:07"),
        Transaction(reflection.DECLARE),
    ]
    nft.commit(merge(*parts))
    pods = OwnSide(PODS_ID, "pods", web._replace(cluster=()), (ip_interface("10.244.1.1/24"),))
    block = ip_network("10.244.2.0/24")
    RemoteBlocks(nft).whole([Route(block, "cnm-vx4096", block[0], None, True, pods)], [])
    AcceptedHosts(nft).whole([Peer(ip_address("192.0.2.12"), "node2"), Port(4799)])


def test_ruleset_of_the_document(lab: Lab) -> None:
    """Loaded as written, it lists like what the code makes."""
    _build(KernelNft(lab.host.fd))
    ours = lab.host.run("nft", "list", "ruleset")
    beside = lab.namespace()
    beside.run("nft", "-f", "-", text="".join(block.text for block in blocks("nft")))
    assert sorted(beside.run("nft", "list", "ruleset").splitlines()) == sorted(ours.splitlines())
