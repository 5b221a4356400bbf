"""Rules for names, MAC addresses and IP addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm import validate
from cni_cnm.errors import InvalidConfig, InvalidEnvironment

GOOD: list[tuple[Callable[[str], Any], str, str]] = [
    (validate.name, "a", "a"),
    (validate.name, "0.b_c-D" + "x" * 300, "0.b_c-D" + "x" * 300),
    (validate.network_name, "x" * 200, "x" * 200),
    (validate.owner, "cni/cluster", "cni/cluster"),
    (validate.interface_name, "eth0.50@vlän", "eth0.50@vlän"),
    (validate.interface_name, "x" * 15, "x" * 15),
    (validate.mac, "02-42-0A-01-02-03", "02:42:0a:01:02:03"),
    (validate.mac, "0242.0a01.0203", "02:42:0a:01:02:03"),
    (validate.address, "::ffff:10.1.2.3", "10.1.2.3"),
    (validate.address, "fd00::1", "fd00::1"),
    (validate.interface, "10.1.2.3/24", "10.1.2.3/24"),
    (validate.interface, "fd00::1/64", "fd00::1/64"),
    (validate.address_or_interface, "10.1.2.3", "10.1.2.3"),
    (validate.address_or_interface, "10.1.2.3/24", "10.1.2.3/24"),
    (validate.network, "10.1.0.0/16", "10.1.0.0/16"),
    (validate.network, "fd00:0::/64", "fd00::/64"),
    (validate.network_of, "10.1.2.3/16", "10.1.0.0/16"),
]
BAD: list[tuple[Callable[[str], Any], str]] = [
    (validate.name, ""),
    (validate.name, "-a"),
    (validate.name, "a\n"),
    (validate.name, "ä"),
    (validate.name, "a/b"),
    (validate.network_name, "x" * 201),
    (validate.owner, "x" * 65),
    (validate.owner, "a//b"),
    (validate.owner, "../b"),
    (validate.interface_name, ""),
    (validate.interface_name, "."),
    (validate.interface_name, ".."),
    (validate.interface_name, "a b"),
    (validate.interface_name, "a/b"),
    (validate.interface_name, "a:1"),
    (validate.interface_name, "a\0"),
    (validate.interface_name, "x" * 16),
    (validate.interface_name, "ä" * 8),
    (validate.new_interface_name, "eth%d"),
    (validate.new_interface_name, "à"),
    (validate.new_interface_name, "a\udcff"),
    (validate.new_bridge_name, "all"),
    (validate.new_bridge_name, 'a"b'),
    (validate.new_bridge_name, "!a"),
    (validate.new_bridge_name, "a+"),
    (validate.new_bridge_name, "a*"),
    (validate.filter_name, "a+"),
    (validate.mac, "02:42:0a:01:02"),
    (validate.mac, "02420a010203"),
    (validate.mac, "02:42:0a:01:02:0g"),
    (validate.mac, "01:00:5e:00:00:01"),
    (validate.mac, "00:00:00:00:00:00"),
    (validate.address, "10.1.2"),
    (validate.address, "10.1.2.3/24"),
    (validate.address, "fe80::1%eth0"),
    (validate.address, "010.1.2.3"),
    (validate.interface, "10.1.2.3"),
    (validate.interface, "10.1.2.3/255.255.255.0"),
    (validate.interface, "10.1.2.3/33"),
    (validate.interface, "10.1.2.3/"),
    (validate.interface, "fe80::1%eth0/64"),
    (validate.address_or_interface, "10.1.2.3/"),
    (validate.network, "10.1.2.3/16"),
    (validate.network, "10.1.0.0"),
    (validate.network_of, "10.1.0.0/255.255.0.0"),
    (validate.network_of, "fd00::/129"),
]
PARSERS = list(dict.fromkeys(parse for parse, _ in BAD))


@pytest.mark.parametrize(("parse", "text", "normal"), GOOD)
def test_good(parse: Callable[[str], Any], text: str, normal: str) -> None:
    """The value in its normal form, which is accepted again."""
    assert str(parse(text)) == normal
    assert parse(normal) == parse(text)


@pytest.mark.parametrize(("parse", "text"), BAD)
def test_bad(parse: Callable[[str], Any], text: str) -> None:
    """The refusal says what the text must be, for the end of a sentence."""
    with pytest.raises(ValueError, match=r"^an? "):
        parse(text)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.text())
def test_any_text(parse: Callable[[str], Any], text: str) -> None:
    """Any text is a value or a ValueError with a rule."""
    said = "a value"
    try:
        parse(text)
    except ValueError as error:
        said = str(error)
    assert said.startswith(("a ", "an "))


def test_require() -> None:
    """One sentence with the name, the value and the rule; the class is the caller's choice."""
    assert str(validate.require(validate.address, "10.1.2.3", "gateway")) == "10.1.2.3"
    with pytest.raises(InvalidEnvironment, match=r'^CNI_ARGS IP is "x", it must be an IP address$'):
        validate.require(validate.address, "x", "CNI_ARGS IP", InvalidEnvironment)
    with pytest.raises(InvalidConfig, match=r"^gateway is true, it must be a string$"):
        validate.require(validate.address, True, "gateway")
