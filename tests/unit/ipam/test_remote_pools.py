"""Pools of an IPAM plugin: what a configuration asks for, what is kept of the answer, and the choice that ends."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_interface, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.docker_protocol import ipam_messages as messages
from cni_cnm.errors import AddressesExhausted, InvalidConfig
from cni_cnm.ipam import remote_config
from cni_cnm.ipam import remote_pools as pools
from cni_cnm.ipam.remote_config import WantedPool
from cni_cnm.ipam.remote_leases import RemoteLease
from cni_cnm.ipam.remote_pools import Allocated, Pool
from cni_cnm.model import IpamSpec

texts = st.text(max_size=8)
networks = st.ip_addresses(v=4).map(lambda ip: ip_network(f"{ip}/24", strict=False)) | st.ip_addresses(v=6).map(
    lambda ip: ip_network(f"{ip}/64", strict=False)
)
interfaces = st.ip_addresses(v=4).map(lambda ip: ip_interface(f"{ip}/24")) | st.ip_addresses(v=6).map(
    lambda ip: ip_interface(f"{ip}/64")
)
kept = st.builds(
    Pool, texts, networks, st.none() | networks, st.none() | interfaces, texts,
    st.dictionaries(texts, interfaces.map(str), max_size=2),
)  # fmt: skip


@given(st.builds(Allocated, st.lists(kept, max_size=2).map(tuple), st.dictionaries(texts, texts), st.booleans()))
def test_what_is_kept_of_a_network(allocated: Allocated) -> None:
    assert Allocated.from_json(allocated.to_json()) == allocated


@given(texts, texts, st.lists(st.tuples(texts, interfaces), max_size=2).map(tuple))
def test_what_is_kept_of_an_endpoint(plugin: str, epoch: str, held: Any) -> None:
    leased = RemoteLease("id", "net", plugin, epoch, held)
    assert RemoteLease.from_json(leased.to_json()) == leased


@given(st.lists(networks, max_size=3), st.sampled_from([(4,), (4, 6)]))
def test_a_pool_a_family(subnets: list[Any], families: tuple[int, ...]) -> None:
    """IPv4 first; those named, IPv6 also if it is asked for alone, and never two of a family."""
    versions = [subnet.version for subnet in subnets]
    spec = IpamSpec("p", {"ranges": [[{"subnet": str(subnet)}] for subnet in subnets]})
    if len(set(versions)) < len(versions):
        with pytest.raises(InvalidConfig, match="two subnets of the same IP version"):
            remote_config.parse(spec, families)
        return
    found = remote_config.parse(spec, families)
    wanted = set(versions or families) | ({6} if 6 in families else set())
    assert [one.version for one in found] == sorted(wanted)
    assert {one.pool for one in found if one.pool} == set(subnets)


def test_names_stay_as_they_are_written() -> None:
    """Keys in any case; the names of options and of auxiliary addresses as the user has them."""
    conf = {
        "IPAM": {
            "Type": "p", "Subnet": "10.0.0.0/16", "iprange": "10.0.5.0/24", "Gateway": "10.0.0.1",
            "AuxAddresses": {"Printer": "10.0.0.7"}, "Options": {"Zone": "A"},
        }
    }  # fmt: skip
    spec = IpamSpec("p", {}, conf)
    assert remote_config.parse(spec, (4,)) == [
        WantedPool(4, ip_network("10.0.0.0/16"), ip_network("10.0.5.0/24"), ip_address("10.0.0.1"),
               {"Printer": ip_address("10.0.0.7")})
    ]  # fmt: skip
    assert remote_config.options(spec) == {"Zone": "A"}


class Chooser:
    """A plugin that gives the pools of a list, one after the other, and the last one again and again."""

    name = "p"

    def __init__(self, given: list[IPv4Network]) -> None:
        self.given = given
        self.requested: list[str] = []
        self.released: list[str] = []

    def send(self, message: Any, limit_s: float = 0) -> Any:
        if isinstance(message, messages.ReleasePool):
            self.released.append(message.pool_id)
            return {}
        pool = self.given[min(len(self.requested), len(self.given) - 1)]
        self.requested.append(str(pool))
        return {"PoolID": str(pool), "Pool": str(pool)}


blocks = st.integers(0, 40).map(lambda n: IPv4Network((10 << 24 | n << 8, 24)))


@given(st.lists(blocks, min_size=1, max_size=30), st.sets(blocks, max_size=30))
def test_the_choice_ends(given: list[IPv4Network], used: set[IPv4Network]) -> None:
    """With the first pool that is free here, or when one comes twice or too many were looked at. All others, and each
    once, are released."""
    plugin: Any = Chooser(given)
    request = messages.RequestPool("space")
    looked_at = list(dict.fromkeys(given))[: pools.TRIES]
    ends = next((n for n in range(len(given)) if given[n] in given[:n] or given[n] not in used), len(given))
    free = ends < pools.TRIES and ends < len(given) and given[ends] not in used
    if free:
        found = pools._choose(plugin, request, sorted(used))
        assert found.pool == given[ends]
        assert set(plugin.released) == set(plugin.requested) - {str(found.pool)}
    else:
        with pytest.raises(AddressesExhausted, match="which this host uses"):
            pools._choose(plugin, request, sorted(used))
        assert set(plugin.released) == set(plugin.requested) <= set(map(str, looked_at))
    assert len(plugin.released) == len(set(plugin.released))
    assert len(plugin.requested) <= pools.TRIES
