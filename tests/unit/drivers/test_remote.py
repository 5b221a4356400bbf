"""What the remote driver makes of a network's configuration, without any plugin there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.drivers import Role, drivers
from cni_cnm.drivers.remote import RemoteDriver, RemoteOptions
from cni_cnm.errors import Conflict, InvalidConfig
from cni_cnm.model import IpamSpec, NetworkSpec


def parsed(ipam: dict[str, Any] | None = None, *, internal: bool = False, **options: Any) -> RemoteOptions:
    spec = NetworkSpec("net", "nobody", options, IpamSpec("host-local", ipam or {}), internal)
    found = drivers.get("nobody").options(spec)
    assert isinstance(found, RemoteOptions)
    return found


def test_any_other_name_is_a_plugins() -> None:
    """A built-in name never is, nor one that a program has registered."""
    assert isinstance(drivers.get("nobody"), RemoteDriver)
    assert not isinstance(drivers.get("bridge"), RemoteDriver)
    with pytest.raises(Conflict):
        drivers.register("bridge", RemoteDriver("bridge"))
    assert "nobody" not in drivers


def test_options_are_texts() -> None:
    """As Docker's `-o`; sorted, so that another order is the same network."""
    assert parsed(labels={"b": True, "a": 1, "c": "X", "d": None}).generic == {"a": "1", "b": "true", "c": "X"}
    assert parsed(mtu=1400).generic == {"com.docker.network.driver.mtu": "1400"}
    assert parsed(mtu=1400, labels={"com.docker.network.driver.mtu": 9000}).generic == {
        "com.docker.network.driver.mtu": "9000"
    }
    with pytest.raises(InvalidConfig, match="mtu is 7"):
        parsed(mtu=7)


@pytest.mark.parametrize(
    ("ipam", "options", "families"),
    [
        ({}, {}, (True, False)),
        ({}, {"enableipv6": True}, (True, True)),
        ({"subnet": "10.0.0.0/8"}, {}, (True, False)),
        ({"ranges": [[{"subnet": "fd00::/64"}]]}, {}, (False, True)),
        ({"addresses": [{"address": "10.0.0.5/8"}, {"address": "fd00::5/64"}]}, {}, (True, True)),
    ],
)
def test_families(ipam: dict[str, Any], options: dict[str, Any], families: tuple[bool, bool]) -> None:
    found = parsed(ipam, **options)
    assert (found.ipv4, found.ipv6) == families


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["subnet", "address", "x"]), inner),
    max_leaves=6,
)


@given(json, json, json)
def test_whatever_the_ipam_says(subnet: Any, ranges: Any, addresses: Any) -> None:
    """What is wrong in it is its IPAM's to refuse."""
    found = parsed({"subnet": subnet, "ranges": ranges, "addresses": addresses})
    assert found.ipv4 or found.ipv6


def test_role_and_policy() -> None:
    """Nothing of it is in the packet filter, and its ports are the plugin's."""
    options = parsed(internal=True)
    role, policy = drivers.get("nobody").role(options), drivers.get("nobody").policy(options)
    assert role == Role(interface="moved", mac="requested", outside="plugin", internal=True)
    assert (policy.publishes, policy.bridge, policy.masquerade) == (False, "", False)
