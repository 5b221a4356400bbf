"""Typed reading of one untyped object."""

from __future__ import annotations

from typing import Any

import pytest

from cni_cnm.errors import DriverFailed, InvalidConfig
from cni_cnm.fields import Fields, objects
from cni_cnm.validate import network_of


def test_keys_in_any_case() -> None:
    """containerd sends HostPort where the specification has hostPort."""
    fields = Fields({"HOSTPORT": 80, "protocol": "tcp"})
    assert (fields.whole("hostPort"), fields.text("Protocol")) == (80, "tcp")


def test_last_of_several_wins() -> None:
    """Of keys that differ in case only the last counts, and null changes nothing, as in Go."""
    assert Fields({"name": "a", "NAME": "b", "Name": None}).text("name") == "b"


def test_null_is_absent() -> None:
    """A null value of any field is as if the key were not there."""
    fields = Fields({"mtu": None, "dns": None, "ips": None, "name": None, "internal": None})
    assert "mtu" not in fields
    assert (fields.whole("mtu"), fields.items("ips"), fields.text("name"), fields.flag("internal")) == (
        0,
        (),
        "",
        False,
    )
    assert "servers" not in fields.object("dns")
    assert fields.raw("mtu") is None
    assert "any" not in Fields(None)


def test_defaults() -> None:
    """What is given where the key is absent."""
    fields = Fields({})
    assert (fields.text("a", "x"), fields.flag("b", True), fields.whole("c", 7, 8, 9)) == ("x", True, 7)


WRONG: list[tuple[Any, str, str]] = [
    ({"a": {"dns": {"servers": "1.1.1.1"}}}, "texts", r'a\.dns\.servers is "1\.1\.1\.1", it must be a list'),
    ({"a": {"dns": {"servers": ["x", 1]}}}, "texts", r"a\.dns\.servers\[1\] is 1, it must be a string"),
    ({"a": {"dns": {"servers": {"x": 1}}}}, "text_mapping", r'a\.dns\.servers\["x"\] is 1, it must be a string'),
    ({"a": {"dns": {"servers": [1]}}}, "objects", r"a\.dns\.servers\[0\] is 1, it must be an object"),
    ({"a": {"dns": {"servers": []}}}, "text", r"a\.dns\.servers is a list, it must be a string"),
    ({"a": {"dns": {"servers": True}}}, "whole", r"a\.dns\.servers is true, it must be a whole number"),
    ({"a": {"dns": {"servers": 1500.0}}}, "whole", r"a\.dns\.servers is 1500\.0, it must be a whole number"),
    ({"a": {"dns": {"servers": 1}}}, "flag", r"a\.dns\.servers is 1, it must be true or false"),
    ({"a": {"dns": {"servers": "x"}}}, "object", r'a\.dns\.servers is "x", it must be an object'),
    ({"a": {"dns": {"servers": "x"}}}, "address", r'a\.dns\.servers is "x", it must be an IP address'),
    ({"a": {"dns": {"servers": "10.0.0.1"}}}, "interface", r"it must be an address with a prefix length"),
    ({"a": {"dns": {"servers": "10.0.0.1/8"}}}, "network", r"without host bits, such as 10\.0\.0\.0/8"),
    ({"a": {"dns": {"servers": "ff:ff:ff:ff:ff:ff"}}}, "mac", r"it must be a MAC address of one interface"),
    (
        {"a": {"dns": {"servers": "\0"}}},
        "text",
        r"^a\.dns\.servers is .*, it must be text without NUL and lone surrogates$",
    ),
    (
        {"a": {"dns": {"servers": "\ud800"}}},
        "text",
        r"^a\.dns\.servers is .*, it must be text without NUL and lone surrogates$",
    ),
    (
        {"a": {"dns": {"servers": "a\udfff"}}},
        "text",
        r"^a\.dns\.servers is .*, it must be text without NUL and lone surrogates$",
    ),
    ({"a": {"dns": {"servers": ["\0"]}}}, "texts", r"^a\.dns\.servers\[0\] is .*, it must be text without NUL"),
    ({"a": {"dns": {"servers": {"\0": ""}}}}, "text_mapping", r"^a\.dns\.servers is .*, it must be text without NUL"),
    ({"a": {"dns": {"servers": {"x": "\0"}}}}, "text_mapping", r"^a\.dns\.servers is .*, it must be text without NUL"),
]


@pytest.mark.parametrize(("raw", "method", "message"), WRONG)
@pytest.mark.parametrize("error", [InvalidConfig, DriverFailed])
def test_wrong_values(raw: Any, method: str, message: str, error: type[InvalidConfig]) -> None:
    """The refusal has the whole path of the key, what is there and what must be; the class is the caller's choice."""
    with pytest.raises(error, match=message):
        getattr(Fields(raw, error=error).object("a").object("dns"), method)("servers")


def test_not_an_object() -> None:
    """The object itself is named by what stands before its keys."""
    with pytest.raises(InvalidConfig, match=r"^ipam\.routes\[0\] is 5, it must be an object"):
        Fields(5, "ipam.routes[0].")


def test_range() -> None:
    """Both ends are included."""
    assert (Fields({"mtu": 68}).whole("mtu", 0, 68, 1500), Fields({"mtu": 1500}).whole("mtu", 0, 68, 1500)) == (
        68,
        1500,
    )
    for outside in (67, 1501):
        with pytest.raises(InvalidConfig, match=f"mtu is {outside}, it must be between 68 and 1500"):
            Fields({"mtu": outside}).whole("mtu", 0, 68, 1500)


def test_words() -> None:
    """Labels carry true, false and numbers as text; elsewhere text is none of them."""
    labels = Fields({"a": "True", "b": "0", "c": "42", "in": {"d": "t"}}, words=True)
    assert (labels.flag("a"), labels.flag("b"), labels.whole("c"), labels.object("in").flag("d")) == (
        True,
        False,
        42,
        True,
    )
    with pytest.raises(InvalidConfig, match='c is "42", it must be true or false'):
        labels.flag("c")
    with pytest.raises(InvalidConfig, match='a is "True", it must be true or false'):
        Fields({"a": "True"}).flag("a")
    with pytest.raises(InvalidConfig, match='c is "42", it must be a whole number'):
        Fields({"c": "42"}).whole("c")


def test_required() -> None:
    """An empty string is as absent where text is parsed."""
    assert str(Fields({"net": "10.1.2.3/8"}).required("net", network_of)) == "10.0.0.0/8"
    for raw in ({}, {"net": ""}, {"net": None}):
        assert Fields(raw).network("net") is None
        with pytest.raises(InvalidConfig, match=r"Call: net is missing"):
            Fields(raw, "Call: ").required("net", network_of)


def test_keys_as_spelled() -> None:
    """The names of labels are the user's own."""
    fields = Fields({"Labels": {"Team": "red"}})
    assert fields.text_mapping("labels") == {"Team": "red"}
    assert list(fields.spelled) == ["Labels"]


def test_long_values_are_cut_in_messages() -> None:
    """A message stays readable whatever was sent."""
    with pytest.raises(InvalidConfig) as caught:
        Fields({"mtu": "x" * 10_000}).whole("mtu")
    assert len(str(caught.value)) < 200


def test_lists_of_objects() -> None:
    """Each is named by its place, with the class and the words of the whole."""
    fields = Fields({"Rules": [{"on": "true"}, {"on": "x"}]}, "Call: ", error=DriverFailed, words=True)
    first, second = fields.objects("rules")
    assert first.flag("on") is True
    with pytest.raises(DriverFailed, match=r"^Call: rules\[1\]\.on is \"x\", it must be true or false$"):
        second.flag("on")
    plain = Fields({"rules": [{"on": "true"}]}).objects("rules")[0]
    with pytest.raises(InvalidConfig, match=r"^rules\[0\]\.on is \"true\", it must be true or false$"):
        plain.flag("on")
    for wrong, said in ((5, "rules is 5, it must be a list"), ([5], r"rules\[0\] is 5, it must be an object")):
        with pytest.raises(DriverFailed, match=f"^{said}$"):
            objects(wrong, "rules", error=DriverFailed)
        with pytest.raises(InvalidConfig, match=f"^{said}$"):
            objects(wrong, "rules")


def test_whether_a_key_is_there() -> None:
    """In any capitals, under the name that it was asked by."""
    fields = Fields({"HostPort": 0}, "ports[0].")
    assert "hostPort" in fields
    assert "HOSTPORT" in fields
    assert "port" not in fields
    assert fields.name("hostPort") == "ports[0].hostPort"
    assert Fields({"nested": {}}).optional_object("Nested") is not None
    assert Fields({}).optional_object("nested") is None


@pytest.mark.parametrize(("prefix", "named"), [("", "the document"), ("ipam.", "ipam"), ("X.Join: ", "X.Join")])
def test_what_is_no_object_is_named(prefix: str, named: str) -> None:
    """By its place, or as the document."""
    with pytest.raises(InvalidConfig, match=f"^{named} is 5, it must be an object$"):
        Fields(5, prefix)


def test_mac() -> None:
    """In its normal form, "" if it is absent or empty."""
    assert Fields({"mac": "02-42-0A-01-02-03"}).mac("MAC") == "02:42:0a:01:02:03"
    assert Fields({"mac": ""}).mac("mac") == Fields({}).mac("mac") == ""
