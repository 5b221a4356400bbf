"""Published ports through cni-cnm and through the reference bridge and `portmap`: the same lists, the same sockets.

Where ours differs on purpose, the test says so and shows the reference's fault.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.differential.paths import Party, Path, conflist
from tests.side import normal

PORTMAP: dict[str, Any] = {"type": "portmap", "capabilities": {"portMappings": True}}
KINDS = ("tcp", "udp")
Parties = tuple[Party, Party]


def ports(host: int = 8080, container: int = 80, **more: Any) -> list[dict[str, Any]]:
    return [{"hostPort": host, "containerPort": container, "protocol": kind, **more} for kind in KINDS]


def both(wanted: dict[tuple[str, str, int], str | None]) -> dict[Path, str | None]:
    """The same expected of tcp and udp."""
    return {Path(source, kind, to, port): said for (source, to, port), said in wanted.items() for kind in KINDS}


EVERYWHERE = {
    ("outside", "192.0.2.1", 8080): "192.0.2.2",
    ("outside", "192.0.2.7", 8080): "192.0.2.2",
    ("outside", "2001:db8::1", 8080): "2001:db8::2",
    ("", "192.0.2.1", 8080): "192.0.2.1",
    ("", "2001:db8::1", 8080): "2001:db8::1",
    ("", "127.0.0.1", 8080): "10.77.0.1",
    ("c1", "192.0.2.1", 8080): "10.77.0.1",
    ("c1", "2001:db8::1", 8080): "fd00:77::1",
    ("c2", "192.0.2.1", 8080): "10.77.0.1",
    ("c2", "10.77.0.1", 8080): "10.77.0.1",
    ("c2", "2001:db8::1", 8080): "fd00:77::1",
    ("c3", "192.0.2.1", 8080): "10.78.0.2",
    ("c3", "2001:db8::1", 8080): "fd00:78::2",
}
"""A published port on every path: who the container sees."""
BESIDE = {
    ("outside", "10.77.0.2", 80): "192.0.2.2",
    ("", "10.77.0.2", 80): "10.77.0.1",
    ("c2", "fd00:77::2", 80): "fd00:77::3",
    ("c2", "192.0.2.2", 8080): "10.77.0.3",
}
"""What a published port leaves as it was: the container's own address, and that port of another host."""
NOWHERE = {
    ("outside", "192.0.2.1", 80): None,
    ("outside", "192.0.2.1", 8081): None,
    ("", "127.0.0.1", 8081): None,
    ("", "::1", 8080): None,
    ("c3", "2001:db8::1", 8081): None,
}


def start(party: Party, config: dict[str, Any], mappings: list[dict[str, Any]]) -> Any:
    """c1 publishes, c2 is its neighbour, c3 on another network; c1 and the other host serve."""
    party.container("c1", "c2", "c3")
    result = party.add(config, portMappings=mappings).ok().json
    party.add(config, "c2").ok()
    party.add(conflist(name="other", number=78), "c3").ok()
    party.serve("c1", 80, 81)
    party.serve("outside", 8080)
    return result


def test_every_path(parties: Parties) -> None:
    """tcp and udp, v4 and v6: from another host, the host, 127.0.0.1, the container itself, neighbours, other networks.

    The container sees the same callers; nothing else is reached; after DEL nothing answers any more.
    """
    config, mappings = conflist(PORTMAP), ports()
    results = [normal(start(party, config, mappings)) for party in parties]
    assert results[0] == results[1]
    for party in parties:
        party.expect(both({**EVERYWHERE, **BESIDE, **NOWHERE}))
        party.delete(config, portMappings=mappings).ok()
        party.expect(both({key: None for key in EVERYWHERE if key[0] != "c1"}))
        assert "8080" not in party.rules()


def test_versions(parties: Parties) -> None:
    """The integration test of the reference, for every version it knows: forwarded by host address and 127.0.0.1."""
    results: dict[str, list[Any]] = {}
    for party in parties:
        party.container("c1")
        party.serve("c1", 80)
        for version in ("0.3.0", "0.3.1", "0.4.0", "1.0.0"):
            config = conflist(PORTMAP, version=version)
            answer = party.add(config, portMappings=ports()).ok().json
            address = answer["ips"][0]["address"].partition("/")[0]
            seen: dict[tuple[str, str, int], str | None] = {
                ("", "127.0.0.1", 8080): "10.77.0.1",
                ("", address, 80): "10.77.0.1",
            }
            party.expect(both(seen))
            party.delete(config, portMappings=ports()).ok()
            assert "8080" not in party.rules()
            results.setdefault(version, []).append(normal(answer))
    assert all(one == other for one, other in results.values())


def test_passes_through_without_mappings(parties: Parties) -> None:
    """No mappings: nothing is published, CHECK passes, DEL does nothing."""
    config = conflist(PORTMAP)
    for party in parties:
        party.container("c1")
        given: tuple[dict[str, Any], ...] = ({}, {"portMappings": []})
        for runtime in given:
            party.add(config, **runtime).ok()
            party.check(config, **runtime).ok()
            party.delete(config, **runtime).ok()
        assert "dnat" not in party.rules().replace("ct status dnat", "")


def test_without_snat(parties: Parties) -> None:
    """snat false: forwarded for those whose answers come back by themselves, not for 127.0.0.1."""
    config = conflist({**PORTMAP, "snat": False})
    for party in parties:
        start(party, config, ports())
        party.expect(both({
            ("outside", "192.0.2.1", 8080): "192.0.2.2",
            ("", "192.0.2.1", 8080): "192.0.2.1",
            ("", "127.0.0.1", 8080): None,
            ("c3", "192.0.2.1", 8080): "10.78.0.2",
            ("c3", "2001:db8::1", 8080): "fd00:78::2",
        }))  # fmt: skip


def test_masquerading_all(parties: Parties) -> None:
    """masqAll, which the reference has from 1.2 on: every caller looks like the host, in both families."""
    ours = parties[0]
    config = conflist({**PORTMAP, "masqAll": True})
    start(ours, config, ports())
    ours.expect(both({
        ("outside", "192.0.2.1", 8080): "10.77.0.1",
        ("outside", "2001:db8::1", 8080): "fd00:77::1",
        ("", "127.0.0.1", 8080): "10.77.0.1",
        ("c2", "192.0.2.1", 8080): "10.77.0.1",
        ("c3", "192.0.2.1", 8080): "10.77.0.1",
        ("c3", "2001:db8::1", 8080): "fd00:77::1",
    }))  # fmt: skip
    ours.check(config, portMappings=ports()).ok()
    ours.node.run("nft", "flush", "map", "inet", "cni_cnm", "hairpin6").ok()
    assert ours.check(config, portMappings=ports()).code == 1
    ours.delete(config, portMappings=ports()).ok()
    assert "10.77.0.2" not in ours.rules()


def test_host_address(parties: Parties) -> None:
    """hostIP of either family serves that address alone; the unspecified ones serve all of their family."""
    mappings = [
        *ports(8080, 80, hostIP="192.0.2.7"), *ports(8081, 80, hostIP="2001:db8::1"),
        *ports(8082, 80, hostIP="0.0.0.0"), *ports(8083, 80, hostIP="::"), *ports(8084, 80, hostIP="127.0.0.1"),
    ]  # fmt: skip
    for party in parties:
        party.container("c1")
        party.add(conflist(PORTMAP), portMappings=mappings).ok()
        party.serve("c1", 80)
        party.expect(both({
            ("outside", "192.0.2.7", 8080): "192.0.2.2",
            ("outside", "192.0.2.1", 8080): None,
            ("outside", "2001:db8::1", 8080): None,
            ("", "127.0.0.1", 8080): None,
            ("outside", "2001:db8::1", 8081): "2001:db8::2",
            ("outside", "192.0.2.1", 8081): None,
            ("outside", "192.0.2.1", 8082): "192.0.2.2",
            ("outside", "2001:db8::1", 8082): None,
            ("outside", "2001:db8::1", 8083): "2001:db8::2",
            ("outside", "192.0.2.1", 8083): None,
            ("", "127.0.0.1", 8084): "10.77.0.1",
            ("outside", "192.0.2.1", 8084): None,
        }))  # fmt: skip
        party.delete(conflist(PORTMAP), portMappings=mappings).ok()


def test_many_mappings(parties: Parties) -> None:
    """More ports than one multiport rule holds, mixed protocols: the first and the last answer, and nothing stays."""
    mappings = [each for number in range(17) for each in ports(8000 + number, 80 + number % 2)]
    for party in parties:
        party.container("c1")
        party.add(conflist(PORTMAP), portMappings=mappings).ok()
        party.serve("c1", 80, 81)
        party.expect(both({
            ("outside", "192.0.2.1", 8000): "192.0.2.2",
            ("outside", "192.0.2.1", 8015): "192.0.2.2",
            ("outside", "2001:db8::1", 8016): "2001:db8::2",
            ("outside", "192.0.2.1", 8017): None,
        }))  # fmt: skip
        party.delete(conflist(PORTMAP), portMappings=mappings).ok()
        assert "8016" not in party.rules()


WRONG = (
    {"hostPort": 0, "containerPort": 80, "protocol": "tcp"},
    {"hostPort": 8080, "containerPort": 0, "protocol": "tcp"},
    {"hostPort": -1, "containerPort": 80, "protocol": "tcp"},
    {"hostPort": "8080", "containerPort": 80, "protocol": "tcp"},
)
HALF = (
    {"hostPort": 70000, "containerPort": 80, "protocol": "tcp"},
    {"hostPort": 8081, "containerPort": 70000, "protocol": "tcp"},
    {"hostPort": 8081, "containerPort": 80, "protocol": "icmp"},
)


def test_refused(parties: Parties) -> None:
    """What the reference refuses is refused, ours before anything was made.

    Beyond 65535 and an unknown protocol the reference fails with half of the ports set up.
    """
    ours, reference = parties
    for party in parties:
        party.container("c1")
        for wrong in WRONG:
            assert party.add(conflist(PORTMAP), portMappings=[wrong]).code == 1
            assert party.node.links("/run/netns/c1") == party.made_first
            party.delete(conflist()).ok()
        assert "8080" not in party.rules()
        for wrong in HALF:
            assert party.add(conflist(PORTMAP), portMappings=[*ports(), wrong]).code == 1
            party.delete(conflist()).ok()
    assert "CNI-DN-" in reference.rules()
    assert "8080" not in ours.rules()
    assert ours.node.links("/run/netns/c1") == {"lo"}


@pytest.mark.parametrize(
    ("keys", "reference_code"),
    [({"conditionsV4": ["!", "-d", "192.0.2.0/24"]}, 0), ({"externalSetMarkChain": "KUBE-MARK-MASQ"}, 1)],
)
def test_options_of_iptables(parties: Parties, keys: dict[str, Any], reference_code: int) -> None:
    """What is written for iptables is refused with the reason, as the reference refuses it for its nftables backend."""
    ours, reference = parties
    for party in parties:
        party.container("c1")
    refused = ours.add(conflist({**PORTMAP, **keys}), portMappings=ports())
    assert (refused.code, refused.json["code"]) == (1, ours.refusal(7))
    assert "nftables" in refused.json["msg"]
    assert ours.node.links("/run/netns/c1") == ours.made_first
    assert reference.add(conflist({**PORTMAP, **keys}), portMappings=ports()).code == reference_code


def test_conditions(parties: Parties) -> None:
    """The same condition in either's language: from the other host no, from the host yes; IPv6 has its own."""
    conditions = (["ip", "saddr", "!=", "192.0.2.2"], ["!", "-s", "192.0.2.2/32"])
    for party, words in zip(parties, conditions, strict=True):
        party.container("c1")
        config = conflist({**PORTMAP, "conditionsV4": words})
        party.add(config, portMappings=ports()).ok()
        party.serve("c1", 80)
        party.expect(both({
            ("outside", "192.0.2.1", 8080): None,
            ("outside", "2001:db8::1", 8080): "2001:db8::2",
            ("", "192.0.2.1", 8080): "192.0.2.1",
        }))  # fmt: skip
        party.delete(config, portMappings=ports()).ok()


def test_deleted_again_and_at_once(parties: Parties) -> None:
    """DEL twice, and DELs of several containers at once: all succeed, the last one's port still answers."""
    for party in parties:
        names = [f"c{number}" for number in range(1, 6)]
        party.container(*names)
        for number, name in enumerate(names):
            party.add(conflist(PORTMAP), name, portMappings=ports(8080 + number)).ok()
        party.serve("c5", 80)
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(party.delete, conflist(PORTMAP), name, portMappings=ports()) for name in names[:4]]
        for answer in answers:
            answer.result().ok()
        party.delete(conflist(PORTMAP), "c1", portMappings=ports()).ok()
        party.expect(both({
            ("outside", "192.0.2.1", 8080): None,
            ("outside", "192.0.2.1", 8084): "192.0.2.2",
        }))  # fmt: skip


def test_udp_to_the_next_container(parties: Parties) -> None:
    """A client that keeps sending from one port is forwarded to the second container as it was to the first."""
    mapping = [{"hostPort": 8080, "containerPort": 80, "protocol": "udp"}]
    for party in parties:
        party.container("c1", "c2")
        for name in ("c1", "c2"):
            party.add(conflist(PORTMAP), name, portMappings=mapping).ok()
            party.serve(name, 80)
            assert streams(party) == "answered", name
            party.delete(conflist(PORTMAP), name, portMappings=mapping).ok()


# where ours differs on purpose ------------------------------------------------------

STREAM = r"""
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.0.2.2", 4444))
s.settimeout(0.2)
deadline = time.monotonic() + float(sys.argv[1])
while time.monotonic() < deadline:
    s.sendto(b"?", ("192.0.2.1", 8080))
    try:
        s.recv(100)
    except OSError:
        continue
    sys.exit("answered")
"""


def streams(party: Party, seconds: int = 10) -> str:
    """A UDP stream of one client, always from the same port."""
    import sys

    return party.node.run(sys.executable, "-Ic", STREAM, str(seconds), netns="/run/netns/outside").err.strip()


def test_stream_to_a_port_that_is_gone(parties: Parties) -> None:
    """After DEL the host's own service gets the stream; the reference keeps sending it to the former address."""
    mapping = [{"hostPort": 8080, "containerPort": 80, "protocol": "udp"}]
    for party, expected in zip(parties, ("answered", ""), strict=True):
        party.container("c1")
        party.add(conflist(PORTMAP), portMappings=mapping).ok()
        party.serve("c1", 80)
        assert streams(party) == "answered"
        party.delete(conflist(PORTMAP), portMappings=mapping).ok()
        party.serve("", 8080, address="192.0.2.1")
        assert streams(party, 10 if expected else 2) == expected


def test_port_that_another_container_has(parties: Parties) -> None:
    """A second container for one host port: the reference says yes and never forwards to it, ours names the owner."""
    for party, code in zip(parties, (1, 0), strict=True):
        party.container("c1", "c2")
        party.add(conflist(PORTMAP), portMappings=ports()).ok()
        answer = party.add(conflist(PORTMAP), "c2", portMappings=ports(8080, 81))
        assert answer.code == code
        party.serve("c1", 80)
        party.expect(both({("outside", "192.0.2.1", 8080): "192.0.2.2"}))
    ours = parties[0]
    ours.delete(conflist(PORTMAP), "c2").ok()
    refused = ours.add(conflist(PORTMAP), "c2", portMappings=ports())
    assert refused.json["code"] == ours.refusal(100)
    assert "net/c1/eth0" in refused.json["msg"]
    assert ours.node.links("/run/netns/c2") == ours.made_first


def test_added_again_with_another_address(parties: Parties) -> None:
    """A lost DEL, then ADD again, with a new address: the reference's old rule stays first, ours is the new one's."""
    for party, said in zip(parties, ("192.0.2.2", None), strict=True):
        party.container("c1")
        party.add(conflist(PORTMAP), portMappings=ports()).ok()
        party.node.run("ip", "netns", "del", "c1").ok()
        party.container("c1")
        if not party.ours:  # its lease must go for its ADD to be possible at all
            party.side.call("DEL", {**conflist()["plugins"][0], "cniVersion": "1.0.0", "name": "net"}, netns="").ok()
        party.add(conflist(PORTMAP), portMappings=ports()).ok()
        assert "10.77.0.3/24" in party.node.addresses("eth0", netns="/run/netns/c1") or party.ours
        party.serve("c1", 80)
        party.expect(both({("outside", "192.0.2.1", 8080): said}))


def test_two_networks_of_one_container(parties: Parties) -> None:
    """Ports on two networks: leaving one leaves the other's. (The reference's later nftables loses them.)"""
    other = conflist(PORTMAP, name="other", number=78)
    for party in parties:
        party.container("c1")
        party.add(conflist(PORTMAP), portMappings=ports()).ok()
        party.add(other, ifname="net1", portMappings=ports(8090, 80)).ok()
        party.serve("c1", 80)
        party.delete(conflist(PORTMAP), portMappings=ports()).ok()
        party.expect(both({
            ("outside", "192.0.2.1", 8080): None,
            ("", "192.0.2.1", 8090): "192.0.2.1",
        }))  # fmt: skip


def test_check(parties: Parties) -> None:
    """CHECK right after ADD: the reference looks for IPv4's rules in IPv6's chain and fails, ours passes.

    A removed element is noticed, and named.
    """
    ours, reference = parties
    for party, code in ((ours, 0), (reference, 1)):
        party.container("c1")
        party.add(conflist(PORTMAP), portMappings=ports()).ok()
        assert party.check(conflist(PORTMAP), portMappings=ports()).code == code
    ours.node.run("nft", "delete", "element", "inet", "cni_cnm", "ports6", "{ udp . 8080 }").ok()
    missed = ours.check(conflist(PORTMAP), portMappings=ports())
    assert missed.code == 1
    assert "8080" in missed.json["msg"]


def test_loopback_from_a_neighbour(parties: Parties) -> None:
    """route_localnet opens 127.0.0.1 to all that is on the bridge: a pod reaches it with the reference only."""
    for party, said in zip(parties, (None, "10.77.0.3"), strict=True):
        party.container("c1", "c2")
        party.add(conflist(PORTMAP), portMappings=ports()).ok()
        party.add(conflist(PORTMAP), "c2").ok()
        party.serve("", 9000, address="127.0.0.1")
        for command in ("addr flush dev lo", "route add 127.0.0.1 via 10.77.0.1 src 10.77.0.3"):
            party.node.run("ip", *command.split(), netns="/run/netns/c2").ok()
        party.node.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet", netns="/run/netns/c2").ok()
        party.expect(both({("c2", "127.0.0.1", 9000): said}))


def test_other_loopback_addresses(parties: Parties) -> None:
    """127.0.0.53 and its like are services of the host: the reference takes their ports, ours leaves them."""
    for party, said in zip(parties, ("127.0.0.1", "10.77.0.1"), strict=True):
        party.container("c1")
        party.add(conflist(PORTMAP), portMappings=ports()).ok()
        party.serve("c1", 80)
        party.serve("", 8080, address="127.0.0.53")
        party.expect(both({("", "127.0.0.53", 8080): said}))
