"""What a program may give the library in place of a value: its text, its dict, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import PurePath
from typing import Any

import pytest

from cni_cnm.cnm.objects import arguments
from cni_cnm.errors import InvalidConfig
from cni_cnm.model import Bandwidth, PortMapping, Tuning

NUMBERS: dict[str, Any] = {"ingressRate": 8000, "ingressBurst": 800}


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("8080:80", PortMapping("tcp", 8080, 80)),
        ("8080:80/udp", PortMapping("udp", 8080, 80)),
        ("53:53/SCTP", PortMapping("sctp", 53, 53)),
        ("192.0.2.1:8080:80/tcp", PortMapping("tcp", 8080, 80, ip_address("192.0.2.1"))),
        ("[2001:db8::1]:8080:80", PortMapping("tcp", 8080, 80, ip_address("2001:db8::1"))),
        ("8000-8009:9000-9009/tcp", PortMapping("tcp", 8000, 9000, None, 10)),
    ],
)
def test_ports_as_text(text: str, mapping: PortMapping) -> None:
    assert arguments.ports([text]) == (mapping,)
    assert arguments.ports((mapping,)) == (mapping,)


def test_ports_as_a_runtime_has_them() -> None:
    given = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"}]
    assert arguments.ports(given) == (PortMapping("tcp", 8080, 80, ip_address("192.0.2.1")),)


def test_addresses() -> None:
    found = arguments.addresses(["10.1.2.3", "10.1.2.3/24", ip_address("fd00::5"), ip_interface("fd00::6/64")])
    assert [str(one) for one in found] == ["10.1.2.3", "10.1.2.3/24", "fd00::5", "fd00::6/64"]


def test_macs() -> None:
    assert arguments.mac("02-42-0A-01-02-03") == "02:42:0a:01:02:03"
    assert arguments.mac("") == ""


@pytest.mark.parametrize("keys", [NUMBERS, {"ingress_rate": 8000, "ingress_burst": 800}, Bandwidth(8000, 800)])
def test_bandwidth(keys: Any) -> None:
    assert arguments.bandwidth(keys) == Bandwidth(8000, 800)


@pytest.mark.parametrize(
    "given",
    [
        {"mtu": 1400, "sysctl": {"net.core.somaxconn": "5"}},
        {"mtu": 1400, "sysctls": {"net.core.somaxconn": "5"}},
        {"mtu": 1400, "sysctls": [("net/core/somaxconn", "5")]},
        Tuning(sysctls=(("net/core/somaxconn", "5"),), mtu=1400),
    ],
)
def test_tuning(given: Any) -> None:
    assert arguments.tuning(given) == Tuning((("net/core/somaxconn", "5"),), mtu=1400)


def test_an_ipam_config_may_have_values_and_routes_as_text() -> None:
    given = {"Subnet": ip_network("10.1.0.0/16"), "routes": ["0.0.0.0/0", "10.9.0.0/16 via 10.1.0.9", {"dst": "::/0"}]}
    assert arguments.ipam_config(given) == {
        "subnet": "10.1.0.0/16",
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.9"}, {"dst": "::/0"}],
    }


def test_paths() -> None:
    assert arguments.path(PurePath("/run/netns/red"), "netns") == "/run/netns/red"


JUNK: list[Any] = [
    5,
    2.5,
    b"x",
    object(),
    "\0",
    "\ud800",
    "1" * 5000,
    [object()],
    [None],
    {"": 1},
    {5: 5},
    {"a": object()},
]
PARSERS: list[Callable[[Any], object]] = [
    arguments.mac, arguments.addresses, arguments.ports, arguments.bandwidth, arguments.tuning,
    arguments.labels, arguments.ipam_config,
    lambda given: arguments.path(given, "netns"),
]  # fmt: skip


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("given", JUNK, ids=[f"{one!r:.12}" for one in JUNK])
def test_anything_else_is_refused_or_taken_as_it_is(parse: Callable[[Any], object], given: Any) -> None:
    """A sentence that names the argument, never another exception."""
    with suppress(InvalidConfig):
        parse(given)


@pytest.mark.parametrize(
    ("parse", "given", "named"),
    [
        (arguments.mac, 5, "mac is 5"),
        (arguments.mac, "01:00:5e:00:00:01", "multicast"),
        (arguments.addresses, "10.1.2.3", "must be a list"),
        (arguments.addresses, ["10.1.2.300"], 'addresses[0] is "10.1.2.300"'),
        (arguments.ports, "8080:80", "must be a list"),
        (arguments.ports, PortMapping("tcp", 80, 80), "must be a list"),
        (arguments.ports, ["8080"], 'ports[0] is "8080"'),
        (arguments.ports, ["8080-8089:80"], "as many ports"),
        (arguments.ports, ["8080:80/icmp"], "icmp"),
        (arguments.ports, ["8080:80", "8080:81"], "overlap"),
        (arguments.bandwidth, {"rate": 5}, 'unknown key "rate"'),
        (arguments.bandwidth, {"ingressRate": 8000}, "ingressBurst"),
        (arguments.tuning, {"mut": 1400}, 'unknown key "mut"'),
        (arguments.tuning, {"sysctls": 7}, "tuning.sysctls"),
        (arguments.labels, {"a": 1}, "the label a"),
        (arguments.ipam_config, {"routes": ["x y z"]}, "route"),
        (arguments.ipam_config, {"subnet": 2.5}, "ipam_config.subnet"),
        (arguments.ipam_config, "10.1.0.0/16", "must be a dict"),
    ],
)
def test_a_refusal_names_what_is_wrong(parse: Callable[[Any], object], given: Any, named: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        parse(given)
    assert named in refused.value.msg


def test_keys_of_ranges_are_in_lower_case() -> None:
    """A record's own keys of a range, such as that another host has it now, are no caller's to give."""
    given = {"ranges": [[{"Subnet": "10.9.0.0/24", "Lost": "host", "NoGateway": True}]]}
    assert arguments.ipam_config(given) == {"ranges": [[{"subnet": "10.9.0.0/24", "lost": "host", "nogateway": True}]]}
