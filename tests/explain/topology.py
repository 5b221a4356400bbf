"""Random hosts: networks of both profiles, pods, what is allowed and published, other programs' rules, and faults."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.explain.lab import HOST_ADDRESSES, OUTSIDE_HOSTS, PORT, ExplainLab, Flow

_NETWORKS: dict[str, dict[str, Any]] = {
    "own": {},
    "isolated": {"firewall": {"ingressPolicy": "isolated"}},
    "open": {"firewall": {"ingressPolicy": "open"}},
    "routed": {"firewall": {"ingressPolicy": "routed"}},
    "internal": {"internal": True},
    "reference": {"isGateway": True, "ipMasq": True},
    "reference-same-bridge": {"isGateway": True, "ipMasq": True, "firewall": {"ingressPolicy": "same-bridge"}},
    "ptp": {"driver": "ptp"},
}
_REFERENCE_ROUTES = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def network(kind: str, number: int) -> dict[str, Any]:
    ranges = [[{"subnet": f"10.{number}.0.0/24"}], [{"subnet": f"fd00:{number}::/64"}]]
    conf = {"name": f"{kind}{number}", "ipam": {"type": "host-local", "ranges": ranges}, **_NETWORKS[kind]}
    if kind.startswith("reference"):
        conf["bridge"] = f"cni{number}"
        conf["ipam"]["routes"] = _REFERENCE_ROUTES
    return conf


def build(lab: ExplainLab, random: Random) -> list[str]:
    """Networks, pods and pairs. Gives the names of the pods."""
    kinds = random.sample(sorted(_NETWORKS), 3)
    networks = [network(kind, number + 1) for number, kind in enumerate(kinds)]
    pods = []
    for number, conf in enumerate(networks):
        for letter in "ab":
            name = f"pod{number + 1}{letter}"
            ports = (
                [{"hostPort": 8000 + number, "containerPort": PORT, "protocol": "udp"}]
                if letter == "a" and not conf.get("internal")
                else None
            )
            lab.attach(name, conf, ports)
            pods.append(name)
    if random.random() < 0.5:
        lab.allow(networks[0]["name"], networks[1]["name"])
    return pods


def flow(lab: ExplainLab, random: Random, pods: list[str]) -> Flow:
    """One of the ways that packets take on such a host."""
    version = random.choice((4, 6))
    one, other = random.sample(pods, 2)
    to, port = lab.addresses[other, version], 8000 + random.randrange(3)
    host, outside = HOST_ADDRESSES[version], OUTSIDE_HOSTS[version]
    shown = "[{}]:{}" if version == 6 else "{}:{}"
    udp: dict[str, Any] = {"protocol": "udp", "version": version}
    ways = (
        Flow(one, to, PORT, one, {"to": shown.format(to, PORT), **udp}),
        Flow(one, to, PORT, one, {"to": shown.format(to, PORT), **udp}),
        Flow(one, host, PORT, one, {"to": shown.format(host, PORT), **udp}),
        Flow(one, host, port, one, {"to": shown.format(host, port), **udp}),
        Flow(one, outside, PORT, one, {"to": shown.format(outside, PORT), **udp}),
        Flow("host", to, PORT, other, {"sender": f"host:{PORT}", **udp}),
        Flow("host", host, port, str(port), {"sender": "host", **udp}),
        Flow("outside", to, PORT, other, {"sender": shown.format(outside, PORT), **udp}),
        Flow("outside", host, port, str(port), {"sender": outside, **udp}),
    )
    return random.choice(ways)
