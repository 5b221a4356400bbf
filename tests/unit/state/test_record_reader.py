"""Records that a person or a disk changed: one error that names the file, or the call works. Never a defect's error."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni_cnm.cnm.reconcile.reconcile import reconcile
from cni_cnm.errors import CnmError, DamagedRecord
from cni_cnm.model import EndpointKey, EndpointSpec, IpamSpec, Json, NetworkSpec, PortMapping
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state import record_reader
from cni_cnm.state.record_reader import checked
from tests.unit.drivers.world import World

NETWORK = NetworkSpec(
    "net",
    "bridge",
    {"bridge": "br0", "isgateway": True, "ipmasq": True, "profile": "reference"},
    IpamSpec("host-local", {"subnet": "10.1.0.0/24"}),
)
EXAMPLES = settings().max_examples // 3
"""Each is a whole life of a container."""
KEY = EndpointKey("net", "a", "eth0")
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def world(folder: Path) -> World:
    made = World(folder)
    made.attach(NETWORK, ports=(PortMapping("tcp", 8080, 80),), aliases=("web",))
    return made


def records(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.json") if "leases" not in path.parts[-2:])


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*at, key))


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = changed(value[at[0]], at[1:], new)
    return copy


def calls(made: World) -> None:
    """Every call that reads records; each works or fails as a call may."""
    for call in (
        lambda: made.check(NETWORK),
        lambda: made.attach(NETWORK, "b"),
        lambda: made.controller.collect(NETWORK, "test", [], {}),
        lambda: list(made.controller.networks()),
        lambda: list(reconcile(made.controller.host)),
        lambda: made.attach(NETWORK),
        lambda: made.detach(NETWORK),
        lambda: made.controller.network("net").delete(),
    ):
        with suppress(CnmError):
            call()


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_any_value_in_any_place(data: st.DataObject) -> None:
    """One value of one record is another one."""
    with TemporaryDirectory() as folder:
        made = world(Path(folder))
        path = data.draw(st.sampled_from(records(Path(folder))))
        record = json.loads(path.read_text())
        at = data.draw(st.sampled_from(list(places(record))))
        path.write_text(json.dumps(changed(record, at, data.draw(values))))
        calls(made)


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_any_bytes(data: st.DataObject) -> None:
    """A record that is cut off, that is not JSON, or not UTF-8."""
    with TemporaryDirectory() as folder:
        made = world(Path(folder))
        path = data.draw(st.sampled_from(records(Path(folder))))
        content = path.read_bytes()
        cut = data.draw(st.integers(0, 100))
        path.write_bytes(content[: len(content) * cut // 100] + data.draw(st.binary(max_size=5)))
        calls(made)


@pytest.mark.parametrize("wrong", [b"{", b"[1]", b"7", b"\xff", b'{"id": 7}', b"[" * 100_000])
@pytest.mark.parametrize("kind", ["networks", "sandboxes"])
def test_the_error_names_the_file_and_what_to_do(kind: str, wrong: bytes, tmp_path: Path) -> None:
    """What it says works: without the file, DEL leaves nothing, and the next ADD works."""
    made = world(tmp_path)
    (path,) = (path for path in records(tmp_path) if path.parent.name == kind)
    path.write_bytes(wrong)
    with pytest.raises(DamagedRecord, match=f"the record {path} is not (JSON|as cni-cnm writes it): ") as refused:
        made.attach(NETWORK, "b") if kind == "networks" else made.detach(NETWORK)
    assert "move the file away" in refused.value.hint
    os.rename(path, tmp_path / "away")
    made.controller.detach(KEY, None, NETWORK.ipam)
    assert made.leases("net") == set()
    made.attach(NETWORK)


@pytest.mark.parametrize("wrong", [b"", b"{", b"[1]", b"7", b'{"id": 7}'])
def test_a_container_whose_record_is_damaged(wrong: bytes, tmp_path: Path) -> None:
    """An ADD of it names the file. DEL finds the lease and the elements without the record, and says so."""
    made = world(tmp_path)
    (path,) = (path for path in records(tmp_path) if path.parent.name == "endpoints")
    path.write_bytes(wrong)
    spec = EndpointSpec("a", "eth0", "/netns/a", "test")
    if wrong:
        with pytest.raises(DamagedRecord, match=str(path)) as refused:
            made.attach(NETWORK)
        assert "delete the container" in refused.value.hint
    notes = made.controller.detach(KEY, spec, NETWORK.ipam)
    assert [str(path) in note for note in notes] == [True] * bool(wrong)
    assert (made.leases("net"), path.exists()) == (set(), False)
    assert made.containers["a"].link("eth0") is None
    if wrong:
        assert not any(element.owner == KEY.id[:12] for element in made.nft.elements("inet cni_cnm"))
    made.attach(NETWORK)


@pytest.mark.parametrize(
    "wrong", [{"addresses": ["x"]}, {"addresses": [5]}, {"addresses": 5}, {"addresses": "x"}, {"folder": 5}]
)
def test_a_container_whose_addresses_are_damaged(wrong: dict[str, Any], tmp_path: Path) -> None:
    """They are read by the IPAM, after the record. DEL finds the lease and the elements, and says so."""
    made = world(tmp_path)
    (path,) = (path for path in records(tmp_path) if path.parent.name == "endpoints")
    path.write_text(json.dumps({**json.loads(path.read_text()), "ipam": wrong}))
    with pytest.raises(DamagedRecord, match=f"the record {path} is not as cni-cnm writes it"):
        made.check(NETWORK)
    list(reconcile(made.controller.host))
    (note,) = made.controller.detach(KEY, EndpointSpec("a", "eth0", "/netns/a", "test"), NETWORK.ipam)
    assert str(path) in note
    assert (made.leases("net"), path.exists()) == (set(), False)
    assert made.containers["a"].link("eth0") is None
    assert not any(element.owner == KEY.id[:12] for element in made.nft.elements("inet cni_cnm"))
    made.attach(NETWORK)


class Part(NamedTuple):
    name: str


class Whole(NamedTuple):
    """A field of each annotation that records have."""

    text: str = ""
    number: int = 0
    flag: bool = False
    time: float = 0.0
    texts: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    pair: tuple[str, str] = ("", "")
    parts: tuple[Part, ...] = ()
    mapping: Mapping[str, str] = {}
    numbered: Mapping[str, int] = {}
    json: Json = None
    part: Part | None = None
    parsed: object = ()
    maybe: str | None = None


GOOD: list[tuple[str, Any]] = [
    ("text", "a"), ("number", 7), ("flag", True), ("time", 1.5), ("time", 1), ("texts", ("a", "b")), ("numbers", (1,)),
    ("pair", ("a", "b")), ("parts", (Part("a"),)), ("mapping", {"a": "b"}), ("numbered", {"a": 1}), ("json", [{}]),
    ("json", None), ("part", Part("a")), ("part", None), ("parsed", object()), ("maybe", "a"), ("maybe", None),
]  # fmt: skip
BAD: list[tuple[str, Any]] = [
    ("text", 7), ("text", None), ("text", ["a"]), ("number", "7"), ("number", True), ("number", 1.5), ("flag", 1),
    ("flag", "yes"), ("time", "now"), ("time", True), ("texts", ["a"]), ("texts", ("a", 7)), ("texts", "a"),
    ("numbers", ("a",)), ("numbers", (True,)), ("pair", ("a", None)), ("parts", (Part(7),)),  # type: ignore[arg-type]
    ("parts", (None,)), ("parts", ({},)), ("parts", ([],)), ("mapping", {"a": 1}), ("mapping", {"a": None}),
    ("mapping", ()), ("numbered", {"a": "b"}), ("part", Part(None)), ("part", {}),  # type: ignore[arg-type]
    ("part", []), ("parsed", None), ("parsed", []), ("parsed", {}), ("maybe", 7), ("maybe", []),
]  # fmt: skip


@pytest.fixture
def read_anew() -> None:
    """The annotations of each class are looked at once a process."""
    record_reader._annotated.clear()


@pytest.mark.usefixtures("read_anew")
@pytest.mark.parametrize(("field", "value"), GOOD)
def test_a_field_of_its_annotation(field: str, value: Any) -> None:
    """The value comes back as it is; so does one that is no named tuple."""
    whole = Whole(**{field: value})
    assert checked(whole) is whole
    assert checked(value) is value


@pytest.mark.usefixtures("read_anew")
@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_field_of_another_type(field: str, value: Any) -> None:
    """The error names the field and shows the value, cut."""
    with pytest.raises(TypeError) as refused:
        checked(Whole(**{field: value}))
    assert str(refused.value).split()[0] in (field, "name")


def test_a_long_value_is_cut() -> None:
    """The error stays a sentence."""
    with pytest.raises(TypeError) as refused:
        checked(Whole(text=["x" * 100]))  # type: ignore[arg-type]
    assert str(refused.value) == f"text is ['{'x' * 38}"
