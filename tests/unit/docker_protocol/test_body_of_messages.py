"""Docker's plugin messages: what is written is read back, and what is read gives values or the declared error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.docker_protocol import ipam_messages as ipam
from cni_cnm.docker_protocol.body import failure, failure_of, request
from cni_cnm.docker_protocol.endpoint_messages import (
    CreateEndpoint,
    CreateEndpointResponse,
    DeleteEndpoint,
    EndpointInterface,
    EndpointOperInfo,
    EndpointOperInfoResponse,
)
from cni_cnm.docker_protocol.join_messages import (
    InterfaceName,
    Join,
    JoinResponse,
    Leave,
    ProgramExternalConnectivity,
    RevokeExternalConnectivity,
    StaticRoute,
)
from cni_cnm.docker_protocol.network_messages import (
    AllocateNetwork,
    AllocateNetworkResponse,
    CreateNetwork,
    DeleteNetwork,
    FreeNetwork,
    GwAllocCheck,
    GwAllocCheckResponse,
    IpamData,
)
from cni_cnm.docker_protocol.options import EndpointOptions, NetworkOptions
from cni_cnm.docker_protocol.plugin_messages import ActivateResponse, Discovery, DriverCapabilities
from cni_cnm.docker_protocol.ports import ExposedPort, PortBinding, bindings, exposed, mapping
from cni_cnm.errors import DriverFailed, InvalidConfig
from cni_cnm.model import PortMapping

PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NAME = st.text("abcdef0123456789", min_size=1, max_size=64)
MAC = st.binary(min_size=5, max_size=5).map(lambda octets: (b"\x02" + octets).hex(":"))
V4: st.SearchStrategy[Any] = st.ip_addresses(v=4)
V6: st.SearchStrategy[Any] = st.ip_addresses(v=6).filter(lambda a: getattr(a, "ipv4_mapped", None) is None)
ADDRESS = V4 | V6
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)


def interface(address: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    from ipaddress import ip_interface

    return address.flatmap(lambda a: st.integers(0, a.max_prefixlen).map(lambda length: ip_interface(f"{a}/{length}")))


SUBNET = interface(ADDRESS).map(lambda i: i.network)
BINDING = st.builds(
    PortBinding,
    st.sampled_from(["tcp", "udp", "sctp"]),
    st.integers(1, 65535),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.none() | ADDRESS,
    st.none() | ADDRESS,
)
EXPOSED = st.builds(ExposedPort, st.sampled_from(["tcp", "udp", "sctp"]), st.integers(1, 65535))
ENDPOINT_OPTIONS = st.builds(
    EndpointOptions,
    st.none() | st.lists(BINDING, max_size=3).map(tuple),
    st.none() | st.lists(EXPOSED, max_size=3).map(tuple),
    st.just("") | MAC,
    st.lists(PLAIN, max_size=3).map(tuple),
    st.booleans(),
    st.dictionaries(PLAIN, st.integers(), max_size=3),
)
NETWORK_OPTIONS = st.builds(
    NetworkOptions, st.booleans(), st.booleans(), st.booleans(), st.dictionaries(PLAIN, PLAIN, max_size=3)
)
DATA = st.builds(IpamData, SUBNET, st.none() | interface(ADDRESS), PLAIN, st.dictionaries(PLAIN, PLAIN, max_size=2))
SUBNETS = st.lists(DATA, max_size=2).map(tuple)
GIVEN = st.builds(EndpointInterface, st.none() | interface(V4), st.none() | interface(V6), st.just("") | MAC)
ROUTE = st.one_of(
    st.builds(StaticRoute, SUBNET),
    st.builds(StaticRoute, interface(V4).map(lambda i: i.network), V4),
    st.builds(StaticRoute, interface(V6).map(lambda i: i.network), V6),
)
TEXTS = st.dictionaries(PLAIN, PLAIN, max_size=3)

REQUESTS = {
    GwAllocCheck: st.builds(GwAllocCheck, NETWORK_OPTIONS),
    AllocateNetwork: st.builds(AllocateNetwork, NAME, TEXTS, SUBNETS, SUBNETS),
    FreeNetwork: st.builds(FreeNetwork, NAME),
    CreateNetwork: st.builds(CreateNetwork, NAME, NETWORK_OPTIONS, SUBNETS, SUBNETS),
    DeleteNetwork: st.builds(DeleteNetwork, NAME),
    CreateEndpoint: st.builds(CreateEndpoint, NAME, NAME, st.none() | GIVEN, ENDPOINT_OPTIONS),
    EndpointOperInfo: st.builds(EndpointOperInfo, NAME, NAME),
    DeleteEndpoint: st.builds(DeleteEndpoint, NAME, NAME),
    Leave: st.builds(Leave, NAME, NAME),
    RevokeExternalConnectivity: st.builds(RevokeExternalConnectivity, NAME, NAME),
    Join: st.builds(Join, NAME, NAME, PLAIN, ENDPOINT_OPTIONS),
    ProgramExternalConnectivity: st.builds(ProgramExternalConnectivity, NAME, NAME, ENDPOINT_OPTIONS),
    Discovery: st.builds(Discovery, st.integers(0, 65535), st.dictionaries(PLAIN, PLAIN, max_size=2)),
    ipam.RequestPool: st.builds(ipam.RequestPool, PLAIN, st.none() | SUBNET, st.none() | SUBNET, TEXTS, st.booleans()),
    ipam.ReleasePool: st.builds(ipam.ReleasePool, NAME),
    ipam.RequestAddress: st.builds(ipam.RequestAddress, NAME, st.none() | ADDRESS, TEXTS),
    ipam.ReleaseAddress: st.builds(ipam.ReleaseAddress, NAME, ADDRESS),
}
RESPONSES = {
    ActivateResponse: st.builds(ActivateResponse, st.lists(PLAIN, max_size=3).map(tuple)),
    DriverCapabilities: st.builds(
        DriverCapabilities,
        st.sampled_from(["local", "global"]),
        st.sampled_from(["", "local", "global"]),
        st.booleans(),
    ),
    GwAllocCheckResponse: st.builds(GwAllocCheckResponse, st.booleans(), st.booleans()),
    AllocateNetworkResponse: st.builds(AllocateNetworkResponse, TEXTS),
    CreateEndpointResponse: st.builds(CreateEndpointResponse, st.none() | GIVEN),
    EndpointOperInfoResponse: st.builds(EndpointOperInfoResponse, st.dictionaries(PLAIN, st.integers(), max_size=3)),
    JoinResponse: st.builds(
        JoinResponse,
        st.none() | st.builds(InterfaceName, NAME, PLAIN, PLAIN),
        st.none() | V4,
        st.none() | V6,
        st.lists(ROUTE, max_size=3).map(tuple),
        st.booleans(),
    ),
    ipam.IpamCapabilities: st.builds(ipam.IpamCapabilities, st.booleans(), st.booleans()),
    ipam.DefaultAddressSpaces: st.builds(ipam.DefaultAddressSpaces, PLAIN, PLAIN),
    ipam.RequestPoolResponse: st.builds(ipam.RequestPoolResponse, NAME, SUBNET, TEXTS),
    ipam.RequestAddressResponse: st.builds(ipam.RequestAddressResponse, st.none() | interface(ADDRESS), TEXTS),
}
MESSAGES: dict[Any, Any] = {**REQUESTS, **RESPONSES}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
@given(data=st.data())
def test_round_trip(message: Any, data: st.DataObject) -> None:
    """Over the wire and back, every message is the same."""
    sent = data.draw(MESSAGES[message])
    assert message.from_json(json.loads(json.dumps(sent.to_json()))) == sent


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
@given(data=st.data())
def test_rubbish(message: Any, data: st.DataObject) -> None:
    """Any JSON at all is a message, or the error of its side, in one sentence that names the call."""
    declared = InvalidConfig if message in REQUESTS else DriverFailed
    whole = MESSAGES[message]
    body = data.draw(whole).to_json()
    if data.draw(st.booleans()) and body:
        body[data.draw(st.sampled_from(sorted(body)))] = data.draw(JSON)
    else:
        body = data.draw(JSON)
    said = ""
    try:
        message.from_json(body)
    except declared as error:
        said = error.msg
    assert said.isprintable()
    assert not said or "Driver." in said or "Plugin." in said


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
@given(data=st.data())
def test_tolerance(message: Any, data: st.DataObject) -> None:
    """Unknown fields and other capitals change nothing."""
    sent = data.draw(MESSAGES[message])
    body: dict[str, Any] = {key.lower(): value for key, value in sent.to_json().items()}
    assert message.from_json({**body, "Unheard Of": data.draw(JSON)}) == sent


def test_what_docker_sends() -> None:
    """CreateEndpoint as a dockerd writes it: a MAC as text and in base64, ports by protocol number."""
    body: dict[str, Any] = {
        "NetworkID": "n1",
        "EndpointID": "e1",
        "Interface": {"Address": "172.30.0.2/16", "AddressIPv6": "", "MacAddress": "02:42:ac:1e:00:02"},
        "Options": {
            "com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}],
            "com.docker.network.portmap": [
                {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080}
            ],
            "com.docker.network.endpoint.macaddress": "AkKsHgAC",
            "com.docker.network.endpoint.ifname": "net1",
        },
    }
    read = CreateEndpoint.from_json(body)
    assert read.interface is not None
    assert str(read.interface.address) == "172.30.0.2/16"
    assert read.interface.mac == read.options.mac == "02:42:ac:1e:00:02"
    assert read.options.ports == (PortBinding("tcp", 80, 8080, 8080),)
    assert read.options.exposed == (ExposedPort("tcp", 80),)
    assert read.options.other == {"com.docker.network.endpoint.ifname": "net1"}


def test_ports_both_ways() -> None:
    """A mapping of several ports is as many bindings, and each binding a mapping again."""
    several = PortMapping("udp", 5000, 50, size=3)
    assert [(b.host_port, b.port) for b in bindings((several,))] == [(5000, 50), (5001, 51), (5002, 52)]
    assert mapping(bindings((several,))[1]) == PortMapping("udp", 5001, 51)
    assert exposed((PortMapping("tcp", 1, 80), PortMapping("tcp", 2, 80))) == (ExposedPort("tcp", 80),)


def test_failures() -> None:
    """Both keys are written, either is read."""
    assert failure("no") == {"Err": "no", "Error": "no"}
    bodies: list[Any] = [{"Err": "a"}, {"Error": "b"}, {"Err": ""}, [], None]
    assert [failure_of(body) for body in bodies] == ["a", "b", "", "", ""]


@pytest.mark.parametrize("empty", [None, "", "absent"])
def test_empty_fields(empty: str | None) -> None:
    """null, an empty text and no field at all are the same."""
    body: dict[str, Any] = {"NetworkID": "n", "EndpointID": "e", "Interface": {}}
    if empty != "absent":
        body["Interface"] = {"Address": empty, "AddressIPv6": empty, "MacAddress": empty}
    assert CreateEndpoint.from_json(body).interface == EndpointInterface()


def test_long_values_are_cut() -> None:
    """A message stays one short sentence whatever is in the field."""
    with pytest.raises(InvalidConfig) as caught:
        request("Call", {"Name": ["x" * 1000]}).text("Name")
    assert len(caught.value.msg) < 200
