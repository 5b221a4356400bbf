"""Random configurations and pods of the real reference plugins: what is read of them renders to what they made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cni_cnm.kernel.stack import KernelStack
from cni_cnm.reference import change
from cni_cnm.reference.attachment import Attachment
from cni_cnm.reference.rule import Rule
from cni_cnm.reference.rules import rules_of, shared_rules_of
from tests.reference.pods import Pod, Pods
from tests.reference.test_pods import read, without_order

HOST_IPS = ("", "0.0.0.0", "127.0.0.1", "192.0.2.7", "::", "::1", "2001:db8::7")
MAKES = ("iptables", "legacy", "nftables")


def network(random: Random, form: str, number: int) -> list[dict[str, Any]]:
    """Two IPv4 addresses are not masqueraded: the bridge plugin's DEL fails with those."""
    nft = form == "nftables"
    v4, v6, more = ([{"subnet": subnet.format(number)}] for subnet in ("10.{}.0.0/24", "fd00:{}::/64", "10.{}.1.0/28"))
    ranges = random.choice([[v4], [v6], [v4, v6], [v6, v4, more]])
    plugins: list[dict[str, Any]] = [
        {
            "type": "bridge", "bridge": f"cni{number}", "isGateway": len(ranges) < 3 and random.random() < 0.8,
            "ipMasq": len(ranges) < 3 and random.random() < 0.8, **({"ipMasqBackend": "nftables"} if nft else {}),
            "macspoofchk": random.random() < 0.3, "ipam": {"type": "host-local", "ranges": ranges},
        },
    ]  # fmt: skip
    portmap: dict[str, Any] = {"type": "portmap", "capabilities": {"portMappings": True}}
    portmap |= {"backend": "nftables"} if nft else {}
    marked: dict[str, Any] = {"markMasqBit": random.randrange(32)} if form != "legacy" else {}
    portmap |= random.choice([{}, {}, {"snat": False}, {"masqAll": True}, marked])
    firewall = {"type": "firewall", **random.choice([{}, {"ingressPolicy": "same-bridge"}, {"ingressPolicy": "open"}])}
    firewall |= random.choice([{}, {"iptablesAdminChainName": "ADMIN"}])
    attributes: list[dict[str, Any]] = [{}, {"mtu": 1400}, {"promisc": True}, {"allmulti": False, "txQLen": 5}]
    tuning = {"type": "tuning", **random.choice(attributes)}
    bandwidth = {"type": "bandwidth", "capabilities": {"bandwidth": True}}
    return plugins + [one for one in (portmap, firewall, bandwidth, tuning) if random.random() < 0.75]


def ports(random: Random, form: str, first: int) -> list[dict[str, Any]]:
    """One with legacy: `ip6tables-legacy -C`, which portmap asks, takes rules with other ports for the same."""
    return [
        {
            "hostPort": first + number, "containerPort": random.randint(1, 65535),
            "protocol": random.choice(("tcp", "udp", "sctp")), "hostIP": random.choice(HOST_IPS),
        }
        for number in range(random.choice((0, 1, 1) if form == "legacy" else (0, 1, 3, 17)))
    ]  # fmt: skip


def limits(random: Random) -> dict[str, int]:
    way = random.choice(("ingress", "egress"))
    one = {f"{way}Rate": random.randint(8_000, 10**10), f"{way}Burst": random.randint(8_000, 2**32 - 1)}
    return random.choice([{}, one, {**one, "ingressRate": 10**6, "ingressBurst": 10**6}])


def rendered(rules: Iterable[Rule]) -> Counter[str]:
    """As `made` has them."""
    return Counter(f"{rule.table} {rule.chain} {rule.text}" for rule in rules)


def own(attachments: Iterable[Attachment]) -> Counter[str]:
    return rendered(rule for one in attachments for rule in rules_of(one))


def shared(attachments: Iterable[Attachment]) -> Counter[str]:
    """Each once."""
    return rendered({rule.same(): rule for one in attachments for rule in shared_rules_of(one)}.values())


def made(pods: Pods) -> Counter[str]:
    state = pods.state()
    lines = (f"{name} {line}" for name in ("iptables", "ip6tables") for line in state[name] if " -A " in line)
    found = Counter(line.replace(" -A ", " ", 1) for line in lines)
    table = chain = ""
    for line in state["nft"]:
        if line.startswith("table "):
            table = line.removeprefix("table ").removesuffix(" {")
        elif line.startswith("\tchain "):
            chain = line.removeprefix("\tchain ").removesuffix(" {")
        elif line.startswith("\t\t") and not line.startswith(("\t\ttype ", "\t\tcomment ")):
            found[f"{table} {chain} {line.strip()}"] += 1
    return found


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.quick("8")
def test_what_is_read_renders_to_what_was_made(
    make_pods: Callable[[Path, str], Pods], request: pytest.FixtureRequest, host: KernelStack, seed: int
) -> None:
    """A pod that is removed leaves the others. Put back, CHECK answers as before, and DEL leaves nothing."""
    random = Random(seed)
    version, form = ("newest", "debian")[seed % 2], MAKES[seed // 2 % 3]
    pods = make_pods(request.getfixturevalue(version), form)
    lists = [pods.conflist(network(random, form, number), f"net{number}") for number in (1, 2)]
    added: list[Pod] = []
    for number in range(3):
        chosen, published = random.choice(lists), ports(random, form, 8000 + 100 * number)
        added.append(pods.add(f"pod{number}", chosen, portMappings=published, bandwidth=limits(random)))
    attachments = read(pods)
    everyone = list(attachments.values())
    assert own(everyone) + shared(everyone) == made(pods)
    before, failing = pods.state(), [pods.check(pod) for pod in added]
    one = attachments[random.choice(added).key.container_id]
    change.remove(one, host)
    assert own(other for other in everyone if other is not one) + shared(everyone) == made(pods)
    change.write(one, host)
    assert without_order(pods.state()) == without_order(before)
    assert [pods.check(pod) for pod in added] == failing
    for pod in added:
        pods.delete(pod)
    assert made(pods) == shared(everyone)
