"""The plugin called `loopback`."""

from __future__ import annotations

import sys
from ipaddress import ip_interface
from typing import Any

import pytest

from cni_cnm.cni import result
from cni_cnm.cni.versions import SUPPORTED
from tests.unit.cni.engine import ATTACHMENT, Answer, FakeEngine, FakeStack, ask


def engine_with(stack: FakeStack) -> FakeEngine:
    engine = FakeEngine()
    engine.namespaces.stacks = {"": FakeStack("", 1), "/run/netns/c1": stack}
    return engine


def ask_lo(verb: str, stack: FakeStack, conf: dict[str, Any] | None = None, **env: str | None) -> Answer:
    answer = ask(verb, conf, {"CNI_IFNAME": "lo", **env}, engine_with(stack), "loopback")
    assert stack.open == 0, "the namespace stayed open"
    assert answer.engine.calls == [], "the engine has nothing to do with it"
    return answer


def sandbox(*addresses: str, up: bool = False) -> FakeStack:
    return FakeStack("/run/netns/c1", 2, [ip_interface(text) for text in addresses], up=up)


@pytest.mark.parametrize("ifname", ["lo", "eth0"])
def test_add_sets_lo_up(ifname: str) -> None:
    """Whatever CNI_IFNAME says, `lo` is set up and listed with its first address of each family."""
    stack = sandbox()
    assert ask_lo("ADD", stack, CNI_IFNAME=ifname).json == {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": "/run/netns/c1"}],
        "ips": [{"address": "127.0.0.1/8", "interface": 0}, {"address": "::1/128", "interface": 0}],
    }
    assert stack.up


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_no_reader_of_records_is_loaded(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runtimes call it for each pod, and it has no records: that takes 1 ms."""
    monkeypatch.delitem(sys.modules, "cni_cnm.state.record_reader")
    assert ask_lo(verb, sandbox()).code == 0
    assert "cni_cnm.state.record_reader" not in sys.modules


@pytest.mark.parametrize("version", SUPPORTED)
def test_add_in_every_version(version: str) -> None:
    """The result has the form of the version asked for."""
    answer = ask_lo("ADD", sandbox(), {"cniVersion": version})
    assert (answer.code, answer.json["cniVersion"]) == (0, version)


def test_add_again() -> None:
    """`lo` being up already is fine."""
    assert ask_lo("ADD", sandbox("127.0.0.1/8", up=True)).code == 0


def test_add_passes_a_previous_result_on() -> None:
    """In a chain the earlier result goes on unchanged."""
    previous = result.encode(ATTACHMENT, "1.0.0")
    stack = sandbox()
    assert ask_lo("ADD", stack, {"prevResult": previous}).json == previous
    assert stack.up


@pytest.mark.parametrize("previous", ["x", {"ips": 5}, {"cniVersion": "0.3.1", "ips": []}, {"cniVersion": "8"}])
def test_add_with_a_wrong_previous_result(previous: Any) -> None:
    """A previous result that is wrong, or of another shape, is refused before `lo` is touched."""
    stack = sandbox()
    assert ask_lo("ADD", stack, {"prevResult": previous}).code == 999
    assert not stack.up


def test_add_refuses_foreign_addresses() -> None:
    """Another address on `lo` is told, and `lo` left as it is."""
    stack = sandbox("127.0.0.1/8", "10.0.0.1/32")
    answer = ask_lo("ADD", stack)
    assert (answer.code, stack.up) == (999, False)
    assert "10.0.0.1/32" in answer.json["msg"]


def test_del_sets_lo_down() -> None:
    """DEL takes it down, silently."""
    stack = sandbox("127.0.0.1/8", up=True)
    answer = ask_lo("DEL", stack)
    assert (answer.code, answer.reply.out, stack.up) == (0, b"", False)


@pytest.mark.parametrize("netns", [None, "", "/run/netns/gone"])
def test_del_without_namespace(netns: str | None) -> None:
    """A namespace not given or gone took `lo` with it."""
    assert ask_lo("DEL", sandbox(), CNI_NETNS=netns).code == 0


@pytest.mark.parametrize(("verb", "code"), [("ADD", 8), ("DEL", 0)])
def test_own_namespace(verb: str, code: int) -> None:
    """The host's `lo` is never switched: ADD is refused, and DEL has nothing to do."""
    stack = FakeStack("/run/netns/c1", 1, [ip_interface("127.0.0.1/8")], up=True)
    assert ask_lo(verb, stack).code == code
    assert stack.up


def test_check() -> None:
    """CHECK wants a previous result and `lo` up."""
    conf = {"prevResult": result.encode(ATTACHMENT, "1.0.0")}
    assert ask_lo("CHECK", sandbox(up=True), conf).code == 0
    assert ask_lo("CHECK", sandbox(), conf).code == 999
    assert ask_lo("CHECK", sandbox(up=True)).code == 999


@pytest.mark.parametrize("verb", ["GC", "STATUS"])
def test_nothing_to_collect(verb: str) -> None:
    """GC and STATUS succeed, as far as the version has them."""
    assert ask_lo(verb, sandbox(), {"cniVersion": "1.1.0"}).code == 0
    assert ask_lo(verb, sandbox(), {"cniVersion": "1.0.0"}).code == 1
