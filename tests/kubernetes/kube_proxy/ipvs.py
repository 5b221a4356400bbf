"""kube-proxy's mode ipvs, as far as a kernel without IPVS can have it.

The rules follow pkg/proxy/ipvs/proxier.go of Kubernetes 1.36: writeIptablesRules, acceptIPVSTraffic and
ipsetWithIptablesChain. They are in the same chains, with an address and a port for each element of an ipset. The link
kube-ipvs0 has the Services' addresses, as there, and is down. IPVS itself is missing: DNAT redirects the connections in
its place. So a packet to a pod passes the hook forward here, and the hooks input and output with IPVS.
"""

from __future__ import annotations

from tests.kubernetes.kube_proxy.scene import CLUSTERS, ONE, PORT, SERVICES, SceneNode
from tests.system.node import Node


def start(node: Node, scene: SceneNode, server: tuple[str, str]) -> None:
    """Make the link and the rules. `server`: the addresses of the pod."""
    node.run("ip", "link", "add", "kube-ipvs0", "type", "veth", "peer", "name", "ipvs-peer").ok()
    for address in (each for service in SERVICES for each in service.addresses):
        length = 128 if ":" in address else 32
        node.run("ip", "address", "add", f"{address}/{length}", "dev", "kube-ipvs0").ok()
    for family, command in enumerate(("iptables", "ip6tables")):
        node.run(f"{command}-restore", "--noflush", stdin=_iptables(family, server[family])).ok()
        node.run("nft", "-f", "-", stdin=_balancing(scene, family, server[family])).ok()


def stop(node: Node) -> None:
    node.run("ip", "link", "delete", "kube-ipvs0").ok()
    for family in ("ip", "ip6"):
        node.run("nft", "delete", "table", family, "ipvs").ok()


def _iptables(family: int, server: str) -> str:
    nat, cluster = [], CLUSTERS.split(",")[family]
    services = [f"-d {service.addresses[family]} -p tcp --dport 80" for service in SERVICES]
    for service in SERVICES:
        target = "RETURN" if service.local else "KUBE-MARK-MASQ"
        nat.append(f"-A KUBE-NODE-PORT -p tcp --dport {service.node_port} -j {target}")
    nat += [f"-A KUBE-SERVICES {each} ! -s {cluster} -j KUBE-MARK-MASQ" for each in services]
    nat.append("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT")
    nat += [f"-A KUBE-SERVICES {each} -j ACCEPT" for each in services]
    allowed = [f"-A KUBE-IPVS-FILTER {each} -j RETURN" for each in services]
    refused = [
        f"-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -d {service.addresses[family]} -j REJECT"
        for service in SERVICES
    ]
    return "\n".join(
        [
            "*nat",
            *(f":{name} - [0:0]" for name in ("KUBE-SERVICES", "KUBE-NODE-PORT", "KUBE-POSTROUTING", "KUBE-MARK-MASQ")),
            "-A PREROUTING -j KUBE-SERVICES",
            "-A OUTPUT -j KUBE-SERVICES",
            "-A POSTROUTING -j KUBE-POSTROUTING",
            f"-A KUBE-SERVICES -s {('127.0.0.0/8', '::1/128')[family]} -j RETURN",
            f"-A KUBE-POSTROUTING -s {server} -d {server} -p tcp --dport {PORT} -j MASQUERADE",  # KUBE-LOOP-BACK
            *nat,
            "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
            "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000",
            "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
            "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000",
            "COMMIT",
            "*filter",
            *(f":{name} - [0:0]" for name in ("KUBE-FORWARD", "KUBE-IPVS-FILTER")),
            "-A FORWARD -j KUBE-FORWARD",
            "-A INPUT -j KUBE-IPVS-FILTER",
            "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
            "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            *allowed,
            *refused,
            "COMMIT",
            "",
        ]
    )


def _balancing(node: SceneNode, family: int, server: str) -> str:
    """What IPVS has as virtual servers: a Service's address, and its NodePort on the node's address."""
    name, target = ("ip", f"{server}:{PORT}") if family == 0 else ("ip6", f"[{server}]:{PORT}")
    rules = []
    for service in SERVICES:
        rules.append(f"{name} daddr {service.addresses[family]} tcp dport 80 dnat to {target}")
        if node == ONE or not service.local:
            rules.append(f"{name} daddr {node.addresses[family]} tcp dport {service.node_port} dnat to {target}")
    chains = [
        f"chain {hook} {{ type nat hook {hook} priority -99;\n" + "\n".join(rules) + "\n}"
        for hook in ("prerouting", "output")
    ]
    return f"table {name} ipvs {{\n" + "\n".join(chains) + "\n}\n"
