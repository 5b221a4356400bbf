"""Published ports as configured: what is taken, what is refused and why, and when two overlap."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.errors import InvalidConfig, PortTaken
from cni_cnm.firewall import port_conflicts, portmap
from cni_cnm.firewall.portmap_options import ROW_MIN, parse_mappings, parse_options
from cni_cnm.model import PortmapOptions, PortMapping
from tests.memory_kernel.nft import MemoryNft

ADDRESSES = (ip_interface("10.88.0.5/24"), ip_interface("fd00:88::5/64"))
OTHERS = (ip_interface("10.88.0.6/24"),)


def test_keys_in_any_case() -> None:
    """Real runtimes send both spellings, and a hostIP that is empty."""
    raw = [{"HostPort": 80, "ContainerPort": 8080, "Protocol": "TCP", "HostIP": ""}]
    assert parse_mappings(raw) == (PortMapping("tcp", 80, 8080),)
    assert parse_mappings([{"hostPort": 1, "containerPort": 2, "hostIP": "192.0.2.1", "range": 3}]) == (
        PortMapping("tcp", 1, 2, ip_address("192.0.2.1"), 3),
    )


PORTS = st.tuples(st.sampled_from(("tcp", "udp")), st.integers(1, 60), st.booleans(), st.sampled_from(("", "::2")))


@given(st.lists(PORTS, max_size=80, unique_by=lambda one: (one[0], one[1], one[3])))
def test_rows_are_the_same_ports(given_ports: list[tuple[str, int, bool, str]]) -> None:
    """Ports in a row that keep their numbers are one mapping; each port leads where it led, and short rows stay."""
    raw = [
        {"hostPort": port, "containerPort": port + moved, "protocol": protocol, "hostIP": host_ip}
        for protocol, port, moved, host_ip in given_ports
    ]
    parsed = parse_mappings(raw)
    spread = [
        (one.protocol, one.host_port + offset, one.container_port + offset, str(one.host_ip or ""))
        for one in parsed
        for offset in range(one.size)
    ]
    assert sorted(spread) == sorted((protocol, port, port + moved, ip) for protocol, port, moved, ip in given_ports)
    assert all(one.size == 1 or one.size >= ROW_MIN for one in parsed)


USUAL = {"hostPort": 7, "containerPort": 7, "protocol": "tcp", "hostIP": ""}
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    (1, 7, 0, 65535, 65536, -1, True, 7.0, "7", None, "", "tcp", "TCP", "udp", "icmp", [], {}, "::2")
)
KEYS = st.sampled_from((*USUAL, "HostPort", "Protocol", "range", "other"))


def _parsed(raw: list[Any]) -> object:
    try:
        return set(parse_mappings(raw))
    except InvalidConfig as error:
        return str(error)


@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=2), min_size=1, max_size=3), st.data())
def test_many_mappings_are_read_as_few(changes: list[dict[str, Any]], data: st.DataObject) -> None:
    """Any key with any value, among mappings that are as usual: the same values, or the same error."""
    changed = [{**USUAL, "hostPort": 100 + at, "containerPort": 7, **change} for at, change in enumerate(changes)]
    for one in changed:
        for key in data.draw(st.sets(st.sampled_from(tuple(USUAL)), max_size=1)):
            one.pop(key, None)
    few = _parsed(changed)
    fillers = [{**USUAL, "hostPort": 2 * port} for port in range(1000, 1000 + ROW_MIN)]
    many = _parsed([*changed, *fillers])
    added = {PortMapping("tcp", 2 * port, 7) for port in range(1000, 1000 + ROW_MIN)}
    assert many == (few | added if isinstance(few, set) else few)


def test_a_long_row_is_one_mapping() -> None:
    """However many mappings, in whatever order; with the keys of a runtime or with others it is the same."""
    raw = [{"hostPort": port, "containerPort": port, "protocol": "tcp"} for port in range(9000, 9500)]
    capitals = [{f"{key[0].upper()}{key[1:]}": value for key, value in one.items()} for one in raw]
    for given_ports in (raw, raw[::-1], [{**one, "hostIP": ""} for one in raw], capitals, [*raw, raw[7]]):
        assert parse_mappings(given_ports) == (PortMapping("tcp", 9000, 9000, size=500),)
    assert len(parse_mappings(raw[: ROW_MIN - 1])) == ROW_MIN - 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"hostPort": 0}, r"portMappings\[0\]\.hostPort is 0, it must be between 1 and 65535"),
        ({"hostPort": 65536}, "hostPort is 65536"),
        ({"hostPort": "80"}, 'hostPort is "80"'),
        ({"containerPort": None}, "containerPort is null"),
        ({"hostPort": 65000, "range": 1000}, "for 1000 ports"),
        ({"range": -1}, "range is -1"),
        ({"protocol": "icmp"}, "one of tcp, udp, sctp"),
        ({"hostIP": "localhost"}, "it must be an IP address"),
        ({"hostIP": "::1"}, "::1"),
        ({"hostIP": "224.0.0.1"}, "multicast"),
        ({"hostIP": []}, "hostIP is a list"),
        ({"hostIP": False}, "hostIP is false"),
        ({"protocol": 0}, "protocol is 0"),
    ],
)
@pytest.mark.parametrize("others", [0, ROW_MIN])
def test_refused_mappings(wrong: dict[str, Any], reason: str, others: int) -> None:
    """A wrong value is refused with its name before anything is touched, alone and among many others."""
    many = [{"hostPort": 2 * port, "containerPort": 7} for port in range(1000, 1000 + others)]
    with pytest.raises(InvalidConfig, match=reason):
        parse_mappings([{"hostPort": 80, "containerPort": 80, **wrong}, *many])


@pytest.mark.parametrize("given", [5, True, 1.5, "80:80", {"hostPort": 80}, {str(port): {} for port in range(ROW_MIN)}])
def test_mappings_that_are_no_list(given: Any) -> None:
    """The value comes from a runtime as it is: of any type it is refused by name."""
    with pytest.raises(InvalidConfig, match=r"portMappings is .*, it must be a list"):
        parse_mappings(given)


def test_overlap_within_one_request() -> None:
    """Two mappings of one endpoint with a common port are a mistake; another protocol or address is not."""
    base = {"hostPort": 8000, "containerPort": 80, "range": 10}
    with pytest.raises(InvalidConfig, match="overlap"):
        parse_mappings([base, {"hostPort": 8009, "containerPort": 80}])
    others = ({"protocol": "udp"}, {"hostIP": "192.0.2.1"}, {"hostPort": 8010})
    assert len(parse_mappings([base, *({**base, **other} for other in others)])) == 4


@given(st.lists(st.tuples(st.sampled_from(["tcp", "udp"]), st.integers(1, 60), st.integers(1, 8)), max_size=8))
def test_overlap_of_many(given: list[tuple[str, int, int]]) -> None:
    """In any order: refused if and only if one port is in two of them."""
    given = list(dict.fromkeys(given))
    raw = [{"protocol": kind, "hostPort": first, "containerPort": 80, "range": size} for kind, first, size in given]
    wanted = [(kind, port) for kind, first, size in given for port in range(first, first + size)]
    if len(set(wanted)) == len(wanted):
        assert [mapping.host_port for mapping in parse_mappings(raw)] == [first for _, first, _ in given]
    else:
        with pytest.raises(InvalidConfig, match="overlap"):
            parse_mappings(raw)


def test_thousands_of_mappings_are_compared_with_their_neighbours() -> None:
    """Work in proportion to their number: comparing each with each other took half a second at 1,000 ports."""
    import sys

    lines = 0

    def count(frame: object, event: str, argument: object) -> object:
        nonlocal lines
        lines += event == "line"
        return count

    def work(number: int) -> int:
        nonlocal lines
        raw = [{"hostPort": 1 + port, "containerPort": 1 + port} for port in range(number)]
        before = sys.gettrace()
        lines = 0
        sys.settrace(count)  # type: ignore[arg-type]
        try:
            parse_mappings(raw)
        finally:
            sys.settrace(before)
        return lines

    assert work(1000) < 15 * work(100)


def test_options() -> None:
    """Keys of the reference plugin: what counts, what is only warned about."""
    assert parse_options({}) == (PortmapOptions(), ())
    assert parse_options({"SNAT": False, "masqAll": True})[0] == PortmapOptions(False, True)
    assert parse_options({"conditionsV4": ["ip", "saddr", "10.0.0.0/8"]})[0].conditions4[-1] == "10.0.0.0/8"
    assert len(parse_options({"markMasqBit": 13, "backend": "iptables"})[1]) == 2


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"externalSetMarkChain": "KUBE-MARK-MASQ"}, "iptables chain"),
        ({"markMasqBit": 32}, "between 0 and 31"),
        ({"backend": "ipvs"}, "'iptables' or 'nftables'"),
        ({"snat": "yes"}, "true or false"),
        ({"conditionsV4": ["!", "-d", "192.0.2.0/24"]}, "written for iptables"),
        ({"conditionsV6": ["ip6", "saddr", "::1; flush ruleset"]}, "ends an nftables match"),
        ({"conditionsV6": "ip6"}, "must be a list"),
    ],
)
def test_refused_options(raw: dict[str, Any], reason: str) -> None:
    """What cannot be done with nftables is refused, and the message says why."""
    with pytest.raises(InvalidConfig, match=reason):
        parse_options(raw)


_MAPPING = st.builds(
    PortMapping,
    st.sampled_from(["tcp", "udp"]),
    st.integers(100, 130),
    st.sampled_from([100, 110, 120]),
    st.sampled_from([None, ip_address("192.0.2.1"), ip_address("0.0.0.0")]),
    st.integers(1, 12),
)


def _claimed(mapping: PortMapping) -> set[tuple[str, str, int]]:
    where = "" if mapping.host_ip is None or mapping.host_ip.is_unspecified else str(mapping.host_ip)
    return {(mapping.protocol, where, mapping.host_port + offset) for offset in range(mapping.size)}


@given(_MAPPING, _MAPPING)
def test_refused_exactly_where_ports_overlap(first: PortMapping, second: PortMapping) -> None:
    """Two living endpoints: the second is refused if and only if one port of both is the same."""
    nft = MemoryNft()
    port_conflicts.commit(nft, portmap.publish("a" * 64, "first", ADDRESSES, [first]), lambda _: True)
    before = nft.elements("inet cni_cnm")
    overlap = bool(_claimed(first) & _claimed(second))
    try:
        port_conflicts.commit(nft, portmap.publish("b" * 64, "second", OTHERS, [second]), lambda _: True)
        assert not overlap
    except PortTaken:
        assert overlap
        assert nft.elements("inet cni_cnm") == before


@given(_MAPPING, _MAPPING)
def test_unpublish_takes_back_what_publish_did(first: PortMapping, second: PortMapping) -> None:
    """After unpublish nothing is left of the one endpoint, and all of the other, in either order."""
    nft = MemoryNft()
    port_conflicts.commit(nft, portmap.publish("b" * 64, "second", OTHERS, [second]), lambda _: True)
    before = nft.elements("inet cni_cnm")
    try:
        port_conflicts.commit(nft, portmap.publish("a" * 64, "first", ADDRESSES, [first]), lambda _: True)
    except PortTaken:
        pass
    nft.commit(portmap.unpublish("a" * 64, "first", ADDRESSES, [first]))
    assert nft.elements("inet cni_cnm") == before


@given(_MAPPING)
def test_dead_owner_makes_way(mapping: PortMapping) -> None:
    """The same mapping again, by another endpoint after the first has vanished."""
    nft = MemoryNft()
    port_conflicts.commit(nft, portmap.publish("a" * 64, "first", ADDRESSES, [mapping]), lambda _: True)
    port_conflicts.commit(nft, portmap.publish("b" * 64, "second", OTHERS, [mapping]), lambda _: False)
    assert {element.owner for element in nft.elements("inet cni_cnm")} == {"b" * 12}
