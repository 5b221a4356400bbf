"""The verbs: order of refusals and effects, what the engine is handed, how failures are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cni_cnm.cni import result
from cni_cnm.cni.plugin import handle
from cni_cnm.cni.versions import SUPPORTED
from cni_cnm.errors import (
    AddressesExhausted,
    CheckFailed,
    CnmError,
    DriverFailed,
    KernelError,
    NotReady,
    Several,
)
from cni_cnm.model import EndpointKey
from tests.unit.cni.engine import ATTACHMENT, ENV, FakeEngine, FakeNamespaces, ask

PREVIOUS = result.encode(ATTACHMENT, "1.0.0")
GC_CONF: dict[str, Any] = {
    "cniVersion": "1.1.0",
    "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}],
}


@pytest.mark.parametrize("version", SUPPORTED)
def test_add_answers_in_the_version_asked(version: str) -> None:
    """ADD prints the attachment in the configuration's version, and nothing else."""
    answer = ask(conf={"cniVersion": version})
    assert answer.reply.out == result.dump(result.encode(ATTACHMENT, version))
    assert (answer.reply.code, answer.reply.err) == (0, "")
    assert [call[0] for call in answer.engine.calls] == ["attach"]


def test_add_ignores_a_previous_result() -> None:
    """With an ipam it starts a chain, as the reference bridge does; what came before is not its own."""
    previous = {"cniVersion": "1.0.0", "ips": [{"address": "10.32.0.5/12"}]}
    assert ask(conf={"ipam": {"type": "host-local"}, "prevResult": previous}).json["ips"]
    assert ask(conf={"prevResult": previous}).code == 7


@pytest.mark.parametrize("families", [(), (4, 4), (4, 6, 6)])
def test_old_version_is_refused_before_any_effect(families: tuple[int, ...]) -> None:
    """What 0.2.0 cannot say is known from the IPAM's families, before anything is made."""
    answer = ask(conf={"cniVersion": "0.2.0"}, engine=FakeEngine(families=families))
    assert (answer.code, answer.engine.calls) == (7, [])
    assert ask(conf={"cniVersion": "0.3.0"}, engine=FakeEngine(families=families)).code == 0


def test_result_that_cannot_be_said_is_taken_back() -> None:
    """If only the IPAM knew, the attachment is undone before the error is told."""
    answer = ask(conf={"cniVersion": "0.2.0"}, engine=FakeEngine(ATTACHMENT._replace(addresses=()), families=None))
    assert (answer.code, [call[0] for call in answer.engine.calls]) == (7, ["attach", "detach"])
    assert answer.engine.calls[1][1] == EndpointKey("podnet", "c1", "eth0")


def test_add_without_namespace() -> None:
    """A namespace that is not there is code 3: the runtime has nothing to clean up."""
    answer = ask(env={"CNI_NETNS": "/run/netns/gone"})
    assert (answer.code, answer.engine.calls) == (3, [])


@pytest.mark.parametrize("netns", [None, "", "/run/netns/gone", "/run/netns/c1"])
def test_del_needs_no_namespace(netns: str | None) -> None:
    """DEL works with a namespace that is there, gone, or not given."""
    answer = ask("DEL", {"ipam": {"type": "host-local", "subnet": "10.1.0.0/16"}}, env={"CNI_NETNS": netns})
    assert (answer.code, answer.reply.out) == (0, b"")
    name, key, endpoint, ipam = answer.engine.calls[0]
    assert (name, key, ipam.type) == ("detach", EndpointKey("podnet", "c1", "eth0"), "host-local")
    assert (endpoint.container_id, endpoint.netns) == ("c1", netns or "")


def test_del_with_a_namespace_that_cannot_be_opened() -> None:
    """An error of the kernel while looking is no reason to keep addresses."""

    class Broken(FakeNamespaces):
        def open(self, path: str) -> Any:
            raise KernelError("opening failed", 13)

    engine = FakeEngine()
    engine.namespaces = Broken({})
    assert ask("DEL", engine=engine).code == 0
    assert [call[0] for call in engine.calls] == ["detach"]


@pytest.mark.parametrize(
    "conf",
    [
        {"ipam": "rubbish"},
        {"ipam": {"type": 5}},
        {"ipam": {"type": "../sh"}},
    ],
)
def test_del_with_an_unreadable_ipam(conf: dict[str, Any]) -> None:
    """A wrong ipam is not used, told on stderr, and stops no DEL."""
    answer = ask("DEL", conf)
    assert (answer.code, answer.engine.calls[0][3]) == (0, None)
    assert "the ipam of the configuration is not used" in answer.reply.err


@pytest.mark.parametrize("conf", [{"ipam": {}}, {"profile": "x", "ipam": {}}, {"driver": "null", "ipam": {}}])
def test_del_asks_no_driver_for_the_ipam(conf: dict[str, Any]) -> None:
    """Without a type, leases are looked for where host-local keeps them, whatever else the configuration says."""
    answer = ask("DEL", conf)
    assert (answer.code, answer.engine.calls[0][3].type) == (0, "host-local")


@pytest.mark.parametrize(
    "conf",
    [
        {"runtimeConfig": 5},
        {"args": []},
        {"prevResult": "x"},
        {"driver": 7},
        {"dns": 1},
        {"mac": 3},
        {"owner": "a b"},
        {"portmap": {"x": 1}},
        {"runtimeConfig": {"portMappings": [{"hostPort": 80}]}},
        {"internal": "x"},
    ],
)
def test_del_with_an_otherwise_wrong_configuration(conf: dict[str, Any]) -> None:
    """Name and ids are enough to take an endpoint down."""
    assert ask("ADD", conf).code in (0, 2, 7)
    answer = ask("DEL", conf, {"CNI_ARGS": "rubbish"})
    assert (answer.code, [call[0] for call in answer.engine.calls]) == (0, ["detach"])


def test_check_hands_over_the_previous_result() -> None:
    """CHECK compares with prevResult as an attachment, and is silent."""
    answer = ask("CHECK", {"prevResult": PREVIOUS})
    assert (answer.code, answer.reply.out) == (0, b"")
    _, network, endpoint, previous = answer.engine.calls[0]
    assert (network.name, endpoint.ifname) == ("podnet", "eth0")
    assert previous.addresses == ATTACHMENT.addresses


def test_check_of_an_old_version_up_to_a_new_one() -> None:
    """prevResult is read in the version it names."""
    answer = ask("CHECK", {"prevResult": result.encode(ATTACHMENT, "0.3.1")})
    assert answer.engine.calls[0][3].addresses == ATTACHMENT.addresses


def test_check_failed() -> None:
    """A difference is told in its own words."""
    engine = FakeEngine()
    engine.failure = CheckFailed("the address 10.1.0.2 is not on eth0", hint="DEL and ADD it again")
    answer = ask("CHECK", {"prevResult": PREVIOUS}, engine=engine)
    assert answer.json == {
        "cniVersion": "1.0.0",
        "code": 110,
        "msg": "the address 10.1.0.2 is not on eth0 (DEL and ADD it again)",
    }


def test_gc() -> None:
    """GC hands over owner and list, prints nothing on stdout and what was skipped on stderr."""
    engine = FakeEngine()
    engine.said = ["podnet/b/eth0 belongs to cni/crio"]
    answer = ask("GC", GC_CONF, {"CNI_CONTAINERID": None, "CNI_IFNAME": None, "CNI_NETNS": None}, engine=engine)
    assert (answer.reply.code, answer.reply.out) == (0, b"")
    assert answer.reply.err == "cni-cnm: podnet/b/eth0 belongs to cni/crio\n"
    _, network, owner, valid = engine.calls[0]
    assert (network.name, owner, list(valid)) == (
        "podnet",
        "cni/containerd",
        [EndpointKey("podnet", "a", "eth0")],
    )


def test_gc_with_an_empty_list() -> None:
    """Empty, and null as libcni sends it: nothing is valid. No list at all is refused."""
    for stdin in (
        b'"cni.dev/valid-attachments":[]',
        b'"cni.dev/valid-attachments":null',
        b'"cni.dev/attachments":null',
    ):
        answer = ask("GC", b'{"cniVersion":"1.1.0","name":"podnet",' + stdin + b"}")
        assert (answer.code, list(answer.engine.calls[0][3])) == (0, [])
    assert ask("GC", {"cniVersion": "1.1.0"}).code == 7


def test_status() -> None:
    """STATUS prints nothing; a full pool is a warning, and an error where `statusExhausted` asks for it."""
    engine = FakeEngine()
    engine.said = ["no free address"]
    answer = ask("STATUS", {"cniVersion": "1.1.0"}, engine=engine)
    assert (answer.code, answer.reply.out, answer.reply.err) == (0, b"", "cni-cnm: no free address\n")
    assert engine.calls[0][2] is False
    assert ask("STATUS", {"cniVersion": "1.1.0", "statusExhausted": True}).engine.calls[0][2] is True
    engine.failure = NotReady("nothing works")
    assert ask("STATUS", {"cniVersion": "1.1.0"}, engine=engine).code == 50


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AddressesExhausted("x"), 101),
        (DriverFailed("x", code=11), 11),
        (DriverFailed("x", code=999), 103),
        (KernelError("x", 5), 110),
        (Several([AddressesExhausted("x"), CnmError("y")]), 101),
    ],
)
def test_codes_of_the_engine_pass(error: CnmError, code: int) -> None:
    """An engine's error keeps its code."""
    engine = FakeEngine()
    engine.failure = error
    assert ask(engine=engine).code == code


@pytest.mark.parametrize("code", [0, 999])
def test_codes_a_runtime_cannot_use(code: int) -> None:
    """An error never has the code 0 or 999, whatever raised it."""
    engine, error = FakeEngine(), CnmError("x")
    error.code = code
    engine.failure = error
    assert ask(engine=engine).code == 110


def test_details_and_notes() -> None:
    """The sentence and its hint are in msg, longer text and what undoing left in details."""
    engine = FakeEngine()
    engine.failure = CnmError("it failed", hint="do that", details="long story")
    engine.failure.add_note("while undoing: that failed too")
    answer = ask(conf={"cniVersion": "0.4.0"}, engine=engine)
    assert answer.json == {
        "cniVersion": "0.4.0",
        "code": 110,
        "msg": "it failed (do that)",
        "details": "long story; while undoing: that failed too",
    }
    assert answer.reply.summary == "ADD podnet c1/eth0 failed, code 110: it failed"


@pytest.mark.parametrize("fault", [ValueError("boom\nsecond line"), RecursionError("deep"), UnicodeError("\ud800")])
def test_a_fault_of_ours(fault: Exception) -> None:
    """An unexpected exception is one error object of code 110; the traceback only on stderr, on demand."""
    engine = FakeEngine()
    engine.failure = fault
    quiet = ask(engine=engine)
    assert (quiet.code, quiet.reply.err) == (110, "")
    assert quiet.json["msg"].startswith(f"internal error: {type(fault).__name__}: ")
    assert "CNI_CNM_DEBUG" in quiet.json["msg"]
    assert "\n" not in quiet.json["msg"]
    loud = ask(engine=engine, env={"CNI_CNM_DEBUG": "1"})
    assert "Traceback" in loud.reply.err
    assert b"Traceback" not in loud.reply.out
    loud.reply.err.encode()


def test_stdin_that_cannot_be_read() -> None:
    """Code 5 when stdin itself fails."""

    def closed() -> bytes:
        raise OSError(9, "Bad file descriptor")

    reply = handle(ENV, closed, FakeEngine)
    assert json.loads(reply.out)["code"] == 5


@pytest.mark.parametrize("version", [*SUPPORTED, "7.7.7", 5, None])
def test_errors_name_the_version(version: Any) -> None:
    """An error object is of the configuration's version; where that is none of ours, of 1.0.0."""
    answer = ask(conf={"cniVersion": version, "name": "../x"})
    assert answer.json["cniVersion"] == (version if version in SUPPORTED else "1.0.0")


def test_error_is_printed_in_one_line() -> None:
    """The version first, no newline at the end."""
    out = ask(conf={"name": None}).reply.out
    assert out.startswith(b'{"cniVersion": ')
    assert b"\n" not in out


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK"])
def test_no_namespace_stays_open(verb: str) -> None:
    """Every namespace that was looked at is closed again."""
    answer = ask(verb, {"prevResult": PREVIOUS})
    assert answer.code == 0
    assert [stack.open for stack in answer.engine.namespaces.stacks.values()] == [0, 0]


def test_the_engine_is_asked_for_once() -> None:
    """One engine a call."""
    asked: list[FakeEngine] = []

    def controller() -> FakeEngine:
        asked.append(FakeEngine())
        return asked[-1]

    stdin: Callable[[], bytes] = lambda: b'{"cniVersion":"1.0.0","name":"podnet"}'  # noqa: E731
    assert handle(ENV, stdin, controller).code == 0
    assert len(asked) == 1


@pytest.mark.parametrize("stdin", [b"no JSON", b"[]", b"", b'{"name": "podnet", "cniVersion": 5}'])
@pytest.mark.parametrize("verb", ["ADD", "STATUS"])
def test_a_configuration_that_cannot_be_read(stdin: bytes, verb: str) -> None:
    """The log has what the environment says of the call: that is the failure that one looks for."""
    environ = {**ENV, "CNI_COMMAND": verb, "CNI_ARGS": "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0"}
    reply = handle(environ, lambda: stdin, FakeEngine)
    assert reply.code == 1
    assert reply.subject.verb == verb
    assert reply.summary.startswith(f"{verb} ")
    if verb == "ADD":
        assert reply.subject[2:] == ("c1", "eth0", "shop/cart-0", "")
        assert "c1/eth0 pod='shop/cart-0' failed, code " in reply.summary


def test_a_call_that_is_none() -> None:
    """Of an unknown verb nothing is known."""
    reply = handle({**ENV, "CNI_COMMAND": "FLY", "CNI_CONTAINERID": "x" * 9999}, lambda: b"{}", FakeEngine)
    assert (reply.subject.verb, reply.subject.container) == ("", "")
    reply = handle({**ENV, "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "x" * 9999}, lambda: b"{", FakeEngine)
    assert len(reply.subject.container) == 253
