"""Record kube-proxy's rules for the Services of tests/kubernetes/kube_proxy/scene.py: one run for a new release.

    python -m tests.kubernetes.real.record_kube_proxy

A real kube-apiserver has the Nodes, the Services and their endpoints. kube-proxy runs once in each mode for each node.
ipvs is not among them: it needs a kernel with IPVS. Its rules are written by hand (kube_proxy/ipvs).
"""

from __future__ import annotations

import re
from pathlib import Path
from time import sleep

from tests.kubernetes.kube_proxy.scene import NODES, SERVICES, SceneNode, rules
from tests.kubernetes.real.api_client import ApiClient
from tests.kubernetes.real.lab import Lab
from tests.waiting import until

MODES = ("iptables", "nftables")


def fill(api: ApiClient) -> None:
    """Nodes, Services and endpoints."""
    for node in NODES:
        api.create(
            "nodes",
            {
                "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name}},
                "spec": {"podCIDR": node.blocks[0], "podCIDRs": list(node.blocks)},
                "status": {"addresses": [{"type": "InternalIP", "address": each} for each in node.addresses]},
            },
        )
    for service in SERVICES:
        api.create("services", service.object())
        for each in service.slices():
            api.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", each)


def record(lab: Lab, node: SceneNode, mode: str) -> dict[Path, str]:
    """The rules as text by the file they belong to."""
    there = lab.nodes[node.name]
    there.proxy(mode)

    def listed() -> list[str]:
        if mode == "nftables":
            return [there.node.run("nft", "-s", "list", "table", family, "kube-proxy").out for family in ("ip", "ip6")]
        return [_plain(there.node.run(f"{command}-save").out) for command in ("iptables", "ip6tables")]

    wanted = [f"default/{service.name}" for service in SERVICES]
    until(
        lambda: all(name in text for name in wanted for text in listed()),
        f"kube-proxy of {node.name} has written its rules for {mode}", 60, lab.log,
    )  # fmt: skip
    before: list[str] = []
    while (found := listed()) != before:  # it writes them in several steps
        before = found
        sleep(2)
    return {rules(mode, node, family): text for family, text in zip((4, 6), found, strict=True)}


def _plain(text: str) -> str:
    """Without comments and counters, which differ each time, and without the match `nfacct`, which only counts."""
    text = re.sub(r"^#.*\n", "", re.sub(r"\[\d+:\d+\]", "[0:0]", text), flags=re.MULTILINE)
    return re.sub(r"-m nfacct --nfacct-name +\S+ ", "", text)


def main() -> None:
    with Lab() as lab:
        fill(lab.api)
        for node in NODES:
            for mode in MODES:
                for path, text in record(lab, node, mode).items():
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(text)
                    print(path)


if __name__ == "__main__":
    main()
