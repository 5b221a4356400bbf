"""Isolation of overlay networks over hosts: who is opened to whom, internal networks, sources that are made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.overlay.lab import NEAR, STORE, configuration
from tests.waiting import until

if TYPE_CHECKING:
    from tests.overlay.conftest import Trio
    from tests.overlay.lab import Host, Pod

DB = ("db", "--subnet", "10.34.0.0/16", "--subnet", "fd34::/48")


def _reaches(pod: Pod, other: Pod) -> Callable[[], bool]:
    return lambda: all(pod.pings(address) for address in other.addresses)


def _ready(network: str, *hosts: Host) -> None:
    for host in hosts:
        host.wait_ready(network)


def test_allow_opens_networks_over_hosts(trio: Trio) -> None:
    """On the host that allows it, the containers of each reach the other's on all hosts: by VXLAN, by a plain route and
    on this host. Those of other hosts do not. Answers find the way back."""
    trio.one.create(DB)
    web, other = trio.one.pod("web"), trio.two.pod("web")
    targets = [host.pod("db") for host in trio.hosts]
    for network in ("web", "db"):
        _ready(network, *trio.hosts[:2])
    _ready("db", trio.far)
    until(_reaches(targets[0], targets[2]), "db reaches itself", 20)
    assert not any(web.pings(target.address, wait=1) for target in targets)
    trio.one.cnm("network", "allow", "web", "db").ok()
    for target in targets:
        until(_reaches(web, target), f"web reaches {target.name}", 10)
        assert not other.pings(target.address, wait=1)
    assert not any(target.pings(other.address, wait=1) for target in targets[1:])
    trio.one.cnm("network", "revoke", "web", "db").ok()
    assert not any(web.pings(target.address, wait=1) for target in targets)


def test_an_internal_network(trio: Trio) -> None:
    """Its containers reach each other on all hosts, and nothing outside, whatever way leads there."""
    trio.one.create(("inside", "--subnet", "10.35.0.0/16"), "--internal")
    config = {"name": "inside", "internal": True}
    pods = [host.pod(config) for host in trio.hosts]
    _ready("inside", *trio.hosts)
    for pod in pods:
        for other in pods:
            if other is not pod:
                until(_reaches(pod, other), f"{pod.name} reaches {other.name}", 20)
        assert not pod.pings(STORE, wait=1)
        default = f"{pod.address.rsplit('.', 1)[0]}.1"
        pod.host.node.run("ip", "route", "add", "default", "via", default, netns=pod.netns).ok()
        assert not pod.pings(STORE, wait=1)


def test_a_source_of_another_network(trio: Trio) -> None:
    """A container cannot send as one of a network that it is not on: its own host drops it."""
    victim, liar = trio.two.pod("web"), trio.one.pod(configuration({**_bridge(), "name": "alone"}))
    trio.one.pod("web")
    _ready("web", trio.one, trio.two)
    block = trio.one.pod("web").address.rsplit(".", 1)[0]
    made_up = f"{block}.250"
    trio.one.node.run("ip", "address", "add", f"{made_up}/32", "dev", "eth0", netns=liar.netns).ok()
    counted = _counter(trio.two, made_up)
    trio.one.node.run("ping", "-c2", "-W1", "-I", made_up, victim.address, netns=liar.netns)
    assert counted() == 0, "no packet of the made-up source has reached the other host's bridge"
    true = trio.one.pod("web")
    until(_reaches(true, victim), "a container of the network does", 10)


def test_sources_are_kept_within_and_masqueraded_outside(trio: Trio) -> None:
    """Another host's container sees the container's own address; a machine beside the hosts sees the host's."""
    one, far = trio.one.pod("web"), trio.far.pod("web")
    _ready("web", trio.one, trio.far)
    counted = _counter(trio.far, one.address)
    until(_reaches(one, far), "the container of the other host is reached", 20)
    assert counted() > 0
    assert one.pings(STORE), "the store has no route to containers: it answers the host"


def _bridge() -> dict[str, object]:
    return {"driver": "bridge", "ipam": {"subnet": "10.99.0.0/24"}}


def _counter(host: Host, source: str) -> Callable[[], int]:
    """Packets with this source that the host forwards from now on, after its isolation."""
    table = f"count{abs(hash(source)) % 100000}"
    host.node.run("nft", "-f", "-", stdin=(
        f"add table inet {table}\n"
        f"add chain inet {table} forwarded {{ type filter hook postrouting priority 300; }}\n"
        f"add rule inet {table} forwarded ip saddr {source} counter\n"
    )).ok()  # fmt: skip

    def count() -> int:
        words = host.node.run("nft", "list", "table", "inet", table).ok().out.split()
        return int(words[words.index("packets") + 1])

    return count


def test_explain_follows_a_packet_to_another_host(trio: Trio) -> None:
    """Through the VXLAN device, with the host that gets it; of a network that is not allowed it names the cause."""
    pods = [host.pod("web") for host in trio.hosts]
    _ready("web", *trio.hosts)
    until(_reaches(pods[0], pods[2]), "web reaches itself", 20)
    explained = trio.one.cnm("explain", pods[0].name, "--to", pods[2].address).ok().out
    assert "LEAVES: it leaves the host in VXLAN by " in explained
    assert "overlay" in explained
    near = trio.one.cnm("explain", pods[0].name, "--to", pods[1].address).ok().out
    assert f"LEAVES: it leaves the host by eth0, to {NEAR.prefix}12" in near
    trio.one.create(("closed", "--subnet", "10.36.0.0/16"))
    other = trio.one.pod("closed")
    done = trio.one.cnm("explain", other.name, "--to", pods[2].address)
    assert done.code == 3
    assert "between two networks that are not allowed to each other" in done.out
