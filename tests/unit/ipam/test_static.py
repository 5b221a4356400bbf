"""static and none: what the configuration says, and nothing reserved. Also how a type finds its module."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from cni_cnm import ipam
from cni_cnm.errors import Conflict, InvalidConfig, NoSuchDriver
from cni_cnm.ipam.contract import Ipam
from cni_cnm.model import Address, Dns, EndpointKey, EndpointSpec, IpamSpec, Lease, Route
from tests.ipam_host import ipam_host

KEY = EndpointKey("podnet", "c1", "eth0")
PLAIN = EndpointSpec("c1", "eth0", "", "test")
CONFIG = {
    "addresses": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "fd00::5/64"}],
    "routes": [{"dst": "0.0.0.0/0"}],
    "dns": {"nameservers": ["10.1.0.1"], "domain": "d", "search": ["s"], "options": ["o"]},
}


def pool(config: dict[str, Any], endpoint: EndpointSpec | None = PLAIN) -> Ipam:
    return ipam.configure("podnet", IpamSpec("static", config), endpoint, ipam_host())


def addresses(config: dict[str, Any], endpoint: EndpointSpec) -> list[tuple[str, str]]:
    lease = pool(config, endpoint).acquire(KEY, endpoint)
    return [(str(interface), str(gateway)) for interface, gateway in lease.addresses]


def test_configured() -> None:
    """The lease is what is written."""
    found = pool(CONFIG)
    assert found.acquire(KEY, PLAIN) == Lease(
        (Address(ip_interface("10.1.0.5/24"), ip_address("10.1.0.1")), Address(ip_interface("fd00::5/64"))),
        (Route(ip_interface("0.0.0.0/0").network),),
        Dns(("10.1.0.1",), "d", ("s",), ("o",)),
    )
    assert found.families == (4, 6)
    assert list(found.gateways()) == [ip_interface("10.1.0.1/24")]


def test_cni_args_add() -> None:
    """CNI_ARGS IP adds addresses, GATEWAY is set on those whose subnet has it; the configured keep their own."""
    wish = PLAIN._replace(
        addresses=(ip_interface("10.2.0.7/16"),), gateways=(ip_address("10.2.0.1"), ip_address("fd00::1"))
    )
    assert addresses(CONFIG, wish) == [
        ("10.1.0.5/24", "10.1.0.1"),
        ("fd00::5/64", "None"),
        ("10.2.0.7/16", "10.2.0.1"),
    ]


def test_runtime_replaces() -> None:
    """The runtime's addresses stand for the configured ones."""
    wish = PLAIN._replace(addresses=(ip_interface("10.2.0.7/16"),), addresses_replace=True)
    assert addresses(CONFIG, wish) == [("10.2.0.7/16", "None")]
    assert addresses(CONFIG, PLAIN._replace(addresses_replace=True)) == addresses(CONFIG, PLAIN)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"addresses": [{"address": "10.1.0.5"}]}, r"addresses\[0\].address is \"10.1.0.5\""),
        ({"addresses": [{"address": "10.1.0.5/33"}]}, "10.1.0.5/33"),
        ({"addresses": [{}]}, "address is missing"),
        ({"addresses": [{"address": "10.1.0.5/24", "gateway": "x"}]}, 'gateway is "x"'),
        ({"addresses": "10.1.0.5/24"}, "must be a list"),
        ({"dns": {"nameservers": "1.1.1.1"}}, 'dns.nameservers is "1.1.1.1"'),
    ],
)
def test_refused(config: dict[str, Any], named: str) -> None:
    """A wrong value is refused with the key it stands at."""
    with pytest.raises(InvalidConfig, match=named):
        pool(config)


def test_no_address() -> None:
    """An ADD that would get no address is refused; a requested one needs its prefix."""
    with pytest.raises(InvalidConfig, match="no address for this container"):
        pool({}).validate(PLAIN)
    with pytest.raises(InvalidConfig, match=r"10\.1\.0\.9 has no prefix length"):
        pool({}, PLAIN._replace(addresses=(ip_address("10.1.0.9"),)))


def test_release_reports_the_addresses() -> None:
    """What is keyed by the addresses can be taken down: the record knows them."""
    seen: list[Any] = []
    ipam.restore("podnet", "static", pool(CONFIG).record(), ipam_host()).release(KEY, {}, seen.append)
    assert seen == [{ip_address("10.1.0.5"), ip_address("fd00::5")}]
    ipam.release_unrecorded("podnet", IpamSpec("static", {"addresses": 5}), KEY, {}, seen.append, ipam_host())
    assert seen[1:] == [frozenset()]


@pytest.mark.parametrize("kind", ["", "none"])
def test_none(kind: str) -> None:
    """No type is no addresses."""
    found = ipam.configure("podnet", IpamSpec(kind), PLAIN, ipam_host())
    assert found.acquire(KEY, PLAIN) == Lease()
    assert (found.families, list(found.gateways())) == ((), [])
    seen: list[Any] = []
    ipam.restore("podnet", kind, found.record(), ipam_host()).release(KEY, {}, seen.append)
    assert seen == [frozenset()]


def test_unknown_type() -> None:
    """A type that is neither built in nor on CNI_PATH is refused with every place that was tried; a path is none."""
    with pytest.raises(NoSuchDriver, match="/opt/a/dhcp or /opt/b/dhcp"):
        ipam.configure("podnet", IpamSpec("dhcp", cni_path="/opt/a:/opt/b"), PLAIN, ipam_host())
    with pytest.raises(InvalidConfig, match=r"ipam\.type is"):
        ipam.configure("podnet", IpamSpec("../sh", cni_path="/bin"), PLAIN, ipam_host())


def test_built_in_is_not_replaced() -> None:
    """The registry refuses another implementation under a built-in name."""
    with pytest.raises(Conflict, match="built in"):
        ipam.ipams.register("host-local", ipam.ipams.get("static"))
