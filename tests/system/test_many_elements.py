"""What a call asks of the kernel does not grow with the elements of the packet filter: nothing is listed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from typing import Any

import pytest

from tests.program import form
from tests.side import Side

NETWORK: dict[str, Any] = {
    "cniVersion": "1.1.0", "name": "net", "type": "cni-cnm", "bridge": "br0", "isGateway": True, "ipMasq": True,
    "ipam": {"type": "host-local", "subnet": "10.90.0.0/24"}, "firewall": {"ingressPolicy": "same-bridge"},
    "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
}  # fmt: skip
ELEMENTS = 2000
"""A dump of so many takes dozens of messages."""


@pytest.fixture
def side(side: Side) -> Side:
    if form() == "service":
        pytest.skip("only a process that is started here can be traced from its start")
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    return side


def traced(side: Side, verb: str, prev_result: object) -> tuple[int, int]:
    """Netlink messages that the call sends, and bytes that it receives of them."""
    config = {**NETWORK, **({"prevResult": prev_result} if prev_result else {})}
    env = {"CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
           "CNI_PATH": side.path}  # fmt: skip
    trace = ("strace", "-f", "-qq", "-e", "trace=sendto,sendmsg,recvfrom,recvmsg", "-o", "/run/trace")
    side.node.run(*trace, str(side.executable), stdin=json.dumps(config), env=env).ok()
    return counted(side.node.path("/run/trace").read_text(errors="replace").splitlines())


def counted(lines: Iterable[str]) -> tuple[int, int]:
    sent = received = 0
    for line in lines:
        if "nlmsg_len" not in line:
            continue
        if "recv" in line:
            received += int(re.findall(r"= (\d+)$", line)[0])
        else:
            sent += line.count("nlmsg_type=")
    return sent, received


def test_a_call_beside_thousands_of_elements(side: Side) -> None:
    """STATUS and CHECK send as many messages, and receive as many bytes, as beside none."""
    result = side.add(NETWORK).ok().json
    before = {verb: traced(side, verb, result) for verb in ("STATUS", "CHECK")}
    for name, value in (("masquerade4", "accept"), ("hairpin4", "accept")):
        others = ", ".join(f"10.200.{n >> 8}.{n & 255} : {value}" for n in range(ELEMENTS))
        side.node.run("nft", "-f", "-", stdin=f"add element inet cni_cnm {name} {{ {others} }}").ok()
    assert {verb: traced(side, verb, result) for verb in ("STATUS", "CHECK")} == before
    assert all(sent and received for sent, received in before.values())
