"""Rules for names, MAC addresses and IP addresses."""

from __future__ import annotations

import re
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
    (validate.owner, "x" * 64, "x" * 64),
    (validate.interface_name, "x" * 15, "x" * 15),
    (validate.interface_name, "X", "X"),
    (validate.interface_name, "a\udcff%", "a\udcff%"),
    (validate.new_interface_name, "eXth0", "eXth0"),
    (validate.new_interface_name, "ü", "ü"),
    (validate.filter_name, "a!b+c*d", "a!b+c*d"),
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
    (validate.network_of, "fd00::1/64", "fd00::/64"),
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
    (validate.new_interface_name, "all"),
    (validate.filter_name, 'a"b'),
    (validate.filter_name, "!a"),
    (validate.filter_name, "a+"),
    (validate.filter_name, "a*"),
    (validate.mac, "02:42:0a:01:02"),
    (validate.mac, "XX:42:0a:01:02:03"),
    (validate.mac, "02:42:0a:01:02:03:"),
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
    (validate.network_of, "10.1.0.0/8/8"),
    (validate.network_of, "10.1.0.0"),
    (validate.network_of, "fd00::%eth0/64"),
]


@pytest.fixture(autouse=True)
def parsed_anew() -> None:
    """Nothing comes from a cache."""
    for parse in (validate.address, validate.interface, validate.network, validate.network_of):
        parse.cache_clear()


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


RULES = [
    (validate.name, "-", "a name of letters, digits, '_', '.' and '-' that begins with a letter or digit"),
    (validate.owner, "-", "a name of letters, digits, '_', '.', '-' and '/', of at most 64 characters"),
    (validate.interface_name, "", "an interface name: 1 to 15 bytes, no '/', ':' or white space, not '.' or '..'"),
    (validate.mac, "x", "a MAC address, such as 02:42:0a:01:02:03"),
    (validate.mac, "01:00:5e:00:00:01", "a MAC address of one interface, not multicast and not all zero"),
    (validate.address, "x", "an IP address"),
    (validate.address, "fe80::1%eth0", "an IP address without a zone"),
    (validate.interface, "10.1.2.3", "an address with a prefix length, such as 10.1.2.3/24"),
    (validate.address_or_interface, "x", "an IP address, such as 10.1.2.3 or 10.1.2.3/24"),
    (validate.network, "10.1.2.3/16", "a network without host bits, such as 10.1.0.0/16"),
    (validate.network_of, "x", "a network in CIDR notation, such as 10.1.0.0/16"),
]


@pytest.mark.parametrize(("parse", "text", "rule"), RULES)
def test_rules_as_they_are_said(parse: Callable[[str], Any], text: str, rule: str) -> None:
    """Word by word, as messages and the documentation have them."""
    with pytest.raises(ValueError) as refused:
        parse(text)
    assert str(refused.value) == rule
    assert not validate.accepts(parse, text)


def test_accepts() -> None:
    """The same rule as an answer."""
    assert validate.accepts(validate.name, "a") is True
    assert validate.accepts(validate.name, "-") is False


def test_require() -> None:
    """One sentence with the name, the value and the rule; the class is the caller's choice."""
    assert str(validate.require(validate.address, "10.1.2.3", "gateway")) == "10.1.2.3"
    with pytest.raises(InvalidEnvironment, match=r'^CNI_ARGS IP is "x", it must be an IP address$'):
        validate.require(validate.address, "x", "CNI_ARGS IP", InvalidEnvironment)
    with pytest.raises(InvalidConfig, match=r"^gateway is true, it must be a string$"):
        validate.require(validate.address, True, "gateway")


@given(st.text(alphabet="aZ09_.-é\n/ ", max_size=5) | st.text(max_size=3))
def test_a_name_is_of_a_few_characters(text: str) -> None:
    assert validate.accepts(validate.name, text) == bool(re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*", text))
