"""The reference `firewall` behind the reference bridge, and the block `firewall` of ours: who reaches whom.

Where ours differs on purpose, the test says so and shows the reference's fault.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.differential.paths import Party, Path, conflist
from tests.side import REFERENCE, normal

Parties = tuple[Party, Party]
POLICIES: dict[str, dict[str, Any]] = {
    "none": {},
    "open": {"ingressPolicy": "open"},
    "same-bridge": {"ingressPolicy": "same-bridge"},
    "isolated": {"ingressPolicy": "isolated"},
}
NETWORKS = ("one", 77), ("two", 78)
ADDRESS = {"c1": ("10.77.0.2", "fd00:77::2"), "c2": ("10.77.0.3", "fd00:77::3"), "c3": ("10.78.0.2", "fd00:78::2")}
OUTSIDE, HOST = ("192.0.2.2", "2001:db8::2"), ("10.77.0.1", "fd00:77::1")


def closed(party: Party) -> dict[str, Any]:
    """The strictest policy there is: the reference has isolated from 1.2 on."""
    return firewall(ingressPolicy="isolated" if party.ours else "same-bridge")


def firewall(**keys: Any) -> dict[str, Any]:
    return {"type": "firewall", "backend": "iptables", **keys}


def lists(*behind: dict[str, Any]) -> list[dict[str, Any]]:
    return [conflist(*behind, name=name, number=number) for name, number in NETWORKS]


def start(party: Party, *behind: dict[str, Any]) -> list[Any]:
    """c1 and c2 on one network, c3 on another; all of them, the host and the other host serve."""
    one, two = lists(*behind)
    party.container("c1", "c2", "c3")
    results = [party.add(config, name).ok().json for config, name in ((one, "c1"), (one, "c2"), (two, "c3"))]
    for place in ("c1", "c2", "c3", "outside", ""):
        party.serve(place, 80)
    return results


def reached(source: str, to: tuple[str, str], seen: tuple[str, str] | None) -> dict[Path, str | None]:
    """By tcp and udp over both families, which must agree."""
    return {
        Path(source, kind, address, 80): seen and seen[number]
        for kind in ("tcp", "udp")
        for number, address in enumerate(to)
    }


@pytest.mark.parametrize("policy", POLICIES)
def test_policies(parties: Parties, policy: str) -> None:
    """Each ingressPolicy: within a network, between networks, out, from the host; the same on both sides.

    (The reference has isolated from 1.2 on.)
    """
    if policy == "isolated":
        parties = parties[:1]  # type: ignore[assignment]
    results = [list(map(normal, start(party, firewall(**POLICIES[policy])))) for party in parties]
    assert results[0] == results[-1]
    within = None if policy == "isolated" else ADDRESS["c1"]
    between = ADDRESS["c1"] if policy in ("none", "open") else None
    for party in parties:
        wanted = {
            **reached("c1", ADDRESS["c2"], within),
            **reached("c1", ADDRESS["c3"], between),
            **reached("c1", OUTSIDE, ADDRESS["c1"]),
            **reached("c1", HOST, ADDRESS["c1"]),
            **reached("", ADDRESS["c1"], ("10.77.0.1", "fd00:77::1")),
        }
        party.expect(wanted)


def test_add_check_and_clean_up(parties: Parties) -> None:
    """CHECK passes after ADD; DEL takes the container's out and leaves its neighbour's, which goes on working."""
    config = conflist(firewall(ingressPolicy="same-bridge"), name="one")
    for party in parties:
        start(party, firewall(ingressPolicy="same-bridge"))
        party.check(config).ok()
        party.delete(config).ok()
        assert "10.77.0.2" not in party.rules()
        party.check(config, "c2").ok()
        party.expect(reached("c2", OUTSIDE, ADDRESS["c2"]))
        party.delete(config).ok()
        assert party.node.links("/run/netns/c1") == {"lo"}


def test_versions(parties: Parties) -> None:
    """Every version that has CHECK: the result is passed through."""
    for version in ("0.4.0", "1.0.0"):
        results = []
        for party in parties:
            if version == "0.4.0":
                party.container("c1")
            config = conflist(firewall(ingressPolicy="same-bridge"), version=version)
            results.append(normal(party.add(config).ok().json))
            party.check(config).ok()
            party.delete(config).ok()
        assert results[0] == results[1]


# where ours differs on purpose ------------------------------------------------------


def test_unknown_policy(parties: Parties) -> None:
    """The reference refuses it after its rules were added, ours before anything is made."""
    config = conflist(firewall(ingressPolicy="closed"))
    for party in parties:
        party.container("c1")
        assert party.add(config).code == 1
    ours, reference = parties
    assert "10.77.0.2" in reference.rules()
    assert ours.node.links("/run/netns/c1") == ours.made_first
    ours.delete(config).ok()
    assert ours.node.links("/run/netns/c1") == {"lo"}
    assert ours.node.files("/run/cni-cnm/endpoints") == set()


def test_result_was_lost(parties: Parties) -> None:
    """DEL without prevResult: the reference's rules stay and let the address's next owner's DEL remove them."""
    for party in parties:
        party.container("c1")
        config = conflist(closed(party))
        party.add(config).ok()
        party.delete(config, remembered=False).ok()
    ours, reference = parties
    assert "10.77.0.2" in reference.rules()
    assert "10.77.0.2" not in ours.rules()
    assert "net/c1/eth0" not in ours.rules()


def test_late_delete_of_an_address_s_earlier_owner(parties: Parties) -> None:
    """A runtime repeats a DEL after the address was given to another: the reference removes the new owner's rules."""
    ranges = [[{"subnet": "10.77.0.0/30"}]]
    for party in parties:
        config = conflist(closed(party), ipam={"type": "host-local", "ranges": ranges})
        party.container("c1", "c2")
        party.add(config).ok()
        party.delete(config).ok()
        if party.side.names:  # Debian's, which is asked to take down what is not on record, does not know isolated
            party.side.path = str(party.side.names)
        party.add(config, "c2").ok()
        assert "10.77.0.2/30" in party.node.addresses("eth0", netns="/run/netns/c2")
        party.delete(config).ok()
    ours, reference = parties
    assert "10.77.0.2" not in reference.rules()
    ours.check(conflist(closed(ours), ipam={"type": "host-local", "ranges": ranges}), "c2").ok()
    assert "net/c2/eth0" in ours.rules()


def test_check_writes_nothing(parties: Parties) -> None:
    """After everything was flushed: the reference's CHECK makes chains and finds no fault with the policy's."""
    config = conflist(firewall(ingressPolicy="same-bridge"))
    for party in parties:
        party.container("c1")
        party.add(config).ok()
        party.node.run("nft", "flush", "ruleset").ok()
        assert party.check(config).code == 1
    ours, reference = parties
    assert "CNI-FORWARD" in reference.rules()
    assert "cni_cnm" not in ours.rules()


def test_policy_is_checked(parties: Parties) -> None:
    """The isolation alone is gone: the reference's CHECK passes, ours names what is missing."""
    ours, reference = parties
    for party in parties:
        party.container("c1")
        party.add(conflist(closed(party))).ok()
    for family in ("iptables", "ip6tables"):
        reference.node.run(family, "-F", "CNI-ISOLATION-STAGE-1").ok()
    reference.check(conflist(closed(reference))).ok()
    ours.node.run("nft", "flush", "set", "bridge", "cni_cnm", "closed").ok()
    missed = ours.check(conflist(closed(ours)))
    assert missed.code == 1
    assert "closed" in missed.json["msg"]


def test_isolation_goes_with_the_network(parties: Parties) -> None:
    """After the last container and the network: nothing of ours; the reference's isolation stays for ever."""
    config = conflist(firewall(ingressPolicy="same-bridge"))
    for party in parties:
        party.container("c1")
        party.add(config).ok()
        party.delete(config).ok()
    ours, reference = parties
    reference.node.run("ip", "link", "del", "cni77").ok()
    assert "cni77" in reference.rules()
    ours.node.run(ours.side.command, "network", "rm", "net").ok()
    assert "cni77" not in ours.rules()


def test_published_port_of_an_isolated_network(parties: Parties) -> None:
    """A published port crosses isolated networks, as CNM has it; the reference drops it."""
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    mappings = [{"hostPort": 8080, "containerPort": 80, "protocol": kind} for kind in ("tcp", "udp")]
    for party, crosses in zip(parties, (True, False), strict=True):
        party.container("c1", "c2", "c3")
        config = conflist(portmap, firewall(ingressPolicy="same-bridge"), name="one")
        party.add(config, portMappings=mappings).ok()
        party.add(conflist(firewall(ingressPolicy="same-bridge"), name="two", number=78), "c3").ok()
        party.serve("c1", 80)
        wanted: dict[Path, str | None] = {}
        for kind in ("tcp", "udp"):
            wanted[Path("outside", kind, "192.0.2.1", 8080)] = "192.0.2.2"
            wanted[Path("outside", kind, "2001:db8::1", 8080)] = "2001:db8::2"
            wanted[Path("c3", kind, "192.0.2.1", 8080)] = "10.78.0.2" if crosses else None
            wanted[Path("c3", kind, "2001:db8::1", 8080)] = "fd00:78::2" if crosses else None
            wanted[Path("c3", kind, "10.77.0.2", 80)] = None
        if not crosses:
            wanted = {path: said for path, said in wanted.items() if path.source == "c3"}
        party.expect(wanted)


def test_repeated_add_of_the_reference_is_cleaned_by_ours(parties: Parties) -> None:
    """A pod of the whole reference chain: our DEL under the same name removes its rules, and not its neighbour's."""
    ours = parties[0]
    ours.container("c1", "c2")
    first, behind = conflist()["plugins"][0], firewall()
    for name in ("c1", "c2"):
        base = {"cniVersion": "1.0.0", "name": "net"}
        made = ours.side.call("ADD", {**base, **first}, name, executable=REFERENCE / "bridge").ok().json
        ours.side.call("ADD", {**base, **behind, "prevResult": made}, name, executable=REFERENCE / "firewall").ok()
    ours.delete(conflist(behind)).ok()
    assert "10.77.0.2" not in ours.rules()
    assert "10.77.0.3" in ours.rules()
