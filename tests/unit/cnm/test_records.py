"""Records say the same after a round through JSON."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cnm.records import EndpointRecord, NetworkRecord, PoolRecord, SandboxRecord
from cni_cnm.drivers.bridge_options import BridgeOptions
from cni_cnm.model import (
    Address,
    Bandwidth,
    Device,
    Dns,
    Interface,
    IPAddress,
    IPInterface,
    Lease,
    PortmapOptions,
    PortMapping,
    Route,
    Tuning,
)

texts = st.text("abcxyz09.-", max_size=8)
addresses = st.builds(
    lambda ip, length, gateway: Address(_interface(ip, length), gateway),
    st.ip_addresses(),
    st.integers(1, 30),
    st.none() | st.ip_addresses(),
)
routes = st.builds(
    Route,
    st.sampled_from([ip_network("0.0.0.0/0"), ip_network("fd00::/8"), ip_network("10.0.0.0/24")]),
    st.none() | st.ip_addresses(),
    *[st.none() | st.integers(0, 4000)] * 5,
)
dns = st.builds(Dns, st.lists(texts).map(tuple), texts, *[st.lists(texts).map(tuple)] * 2)
leases = st.builds(Lease, st.lists(addresses).map(tuple), st.lists(routes).map(tuple), dns)
interfaces = st.builds(Interface, texts, texts, st.integers(0, 9000), texts)
devices = st.builds(
    Device,
    interfaces,
    *[st.lists(interfaces).map(tuple)] * 2,
    source=st.just(""),
    lease=st.none() | leases,
    remade=st.just(False),
)


OPTIONS = BridgeOptions("br0", trunk=(2, 3))


def _interface(ip: IPAddress, length: int) -> IPInterface:

    return ip_interface(f"{ip}/{length}")


@given(st.none() | leases, st.none() | devices, st.lists(routes, max_size=2).map(tuple))
def test_endpoint(lease: Lease | None, device: Device | None, offers: tuple[Route, ...]) -> None:
    """An endpoint's record, with or without lease and device."""
    record = EndpointRecord(
        "id", "net", "nid", "eth0", "bridge", OPTIONS, "cni/x", "ready", "epoch", ("c", "eth0"),
        lease=lease, device=device, default_routes=offers, aliases=("a", "b"),
        portmap=PortmapOptions(False, True, ("ip", "x")),
        bandwidth=Bandwidth(8000, 16000), tuning=Tuning((("net/core/somaxconn", "5"),), mac="02:00:00:00:00:01"),
        tuning_before=Tuning(mtu=1500, promisc=False),
        ports=(PortMapping("udp", 53, 5353, ip_address("10.0.0.1"), 3), PortMapping("tcp", 80, 8080)),
    )  # fmt: skip
    assert EndpointRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_network_and_sandbox() -> None:
    """A network's and a sandbox's record; unknown fields of a later version are passed over."""
    network = NetworkRecord("id", "net", "bridge", OPTIONS, "host-local", {"subnet": "10.0.0.0/8"}, labels={"a": "b"})
    assert NetworkRecord.from_json({**json.loads(json.dumps(network.to_json())), "later": 1}) == network
    sandbox = SandboxRecord("id", "c1", "/run/netns/c1", "epoch", ("e1", "e2"), {"4": "e1"})
    assert SandboxRecord.from_json(json.loads(json.dumps(sandbox.to_json()))) == sandbox


def test_keys_on_disk_are_those_of_0_1_0() -> None:
    """Fields that have another name in the program are written and read under the old one."""
    network = NetworkRecord("id", "net", "bridge", OPTIONS, "", {}, owns_data_path=False, docker_networks=("d",))
    raw = network.to_json()
    assert (raw["made"], raw["guests"]) == (False, ("d",))
    assert not {"owns_data_path", "docker_networks"} & set(raw)
    pool = PoolRecord("id", "10.0.0.0/24", ip_range="10.0.0.0/25", shares_network=True, docker_network="d")
    raw = pool.to_json()
    assert (raw["part"], raw["named"], raw["guest"]) == ("10.0.0.0/25", True, "d")
    assert PoolRecord.from_json(json.loads(json.dumps(raw))) == pool
    endpoint = EndpointRecord(
        "id", "net", "nid", "eth0", "bridge", OPTIONS, "docker", "ready", "epoch", ("docker", "e"),
        docker_network="d", requested_ports=(PortMapping("tcp", 0, 80),), tuning_before=Tuning(mtu=1500),
    )  # fmt: skip
    raw = json.loads(json.dumps(endpoint.to_json()))
    assert (raw["guest"], raw["wanted"], raw["before"][2]) == ("d", [["tcp", 0, 80, None, 1]], 1500)
    assert EndpointRecord.from_json(raw) == endpoint
