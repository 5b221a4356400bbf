"""The environment of a call: what is required, what is looked at, and CNI_ARGS."""

from __future__ import annotations

from typing import Any

import pytest

from cni_cnm.cni import environ
from cni_cnm.cni.conventions import cni_args, pod
from cni_cnm.errors import InvalidEnvironment
from tests.unit.cni.engine import ENV, Answer, FakeEngine, FakeStack, ask


def test_all_missing_variables_are_named() -> None:
    """One answer names all that is missing, in the specification's order and the reference's words."""
    with pytest.raises(InvalidEnvironment) as caught:
        environ.verb({"CNI_COMMAND": "ADD", "CNI_NETNS": "/n"})
    assert caught.value.msg == "required env variables [CNI_CONTAINERID,CNI_IFNAME] missing"


def test_stdin_is_not_waited_for_when_a_variable_is_missing() -> None:
    """A call by hand without variables is told at once, not after its stdin ends."""
    answer = ask("ADD", b"this is not even read", {"CNI_IFNAME": None})
    assert (answer.code, answer.json["cniVersion"]) == (4, "1.0.0")


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("ADD", {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"}),
        ("CHECK", {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"}),
        ("DEL", {"CNI_CONTAINERID", "CNI_IFNAME"}),
        ("GC", {"CNI_PATH"}),
        ("STATUS", set()),
        ("VERSION", set()),
    ],
)
def test_what_a_verb_needs(verb: str, given: set[str]) -> None:
    """Exactly these variables are required; each of them alone missing is refused."""
    env = {"CNI_COMMAND": verb, **{name: ENV[name] for name in given}}
    assert environ.read(env).verb == verb
    for name in given:
        with pytest.raises(InvalidEnvironment, match=rf"\[{name}\] missing"):
            environ.read({**env, name: ""})


@pytest.mark.parametrize("verb", ["GC", "STATUS"])
def test_only_what_is_needed_is_validated(verb: str) -> None:
    """A variable that a verb does not need may have any value."""
    conf: dict[str, Any] = {"cniVersion": "1.1.0", "cni.dev/valid-attachments": []}
    bad = {"CNI_CONTAINERID": "../..", "CNI_IFNAME": "a/b", "CNI_NETNS": "\udcff", "CNI_ARGS": "rubbish"}
    assert ask(verb, conf, bad).code == 0


def ask_own(verb: str, override: str) -> Answer:
    """A call whose namespace has another name but is the plugin's own."""
    engine = FakeEngine()
    engine.namespaces.stacks = {"": FakeStack("", 1), "/run/netns/host": FakeStack("/run/netns/host", 1)}
    env = {"CNI_NETNS": "/run/netns/host", "CNI_NETNS_OVERRIDE": override}
    answer = ask(verb, env=env, engine=engine)
    assert not any(stack.open for stack in engine.namespaces.stacks.values()), "a namespace stayed open"
    return answer


@pytest.mark.parametrize("value", ["0", "", "false", "yes"])
def test_own_namespace_is_refused(value: str) -> None:
    """CNI_NETNS being the plugin's own namespace is code 8, with nothing done."""
    answer = ask_own("ADD", value)
    assert (answer.code, answer.engine.calls) == (8, [])


@pytest.mark.parametrize("value", ["0", "", "false", "yes"])
def test_own_namespace_is_none_for_a_del(value: str) -> None:
    """The container's is gone: the engine is told of no namespace."""
    answer = ask_own("DEL", value)
    assert answer.code == 0
    ((call, _, endpoint, *_),) = answer.engine.calls
    assert (call, endpoint.netns, endpoint.environ["CNI_NETNS"]) == ("detach", "", "")


@pytest.mark.parametrize("value", ["1", "true", "TRUE", "True"])
@pytest.mark.parametrize(("verb", "call"), [("ADD", "attach"), ("DEL", "detach")])
def test_own_namespace_with_override(verb: str, call: str, value: str) -> None:
    """CNI_NETNS_OVERRIDE permits it."""
    answer = ask_own(verb, value)
    assert (answer.code, answer.engine.calls[0][0]) == (0, call)


def test_cni_args_of_the_field() -> None:
    """A last `;`, a `=` in a value, an empty piece and foreign keys are all fine."""
    text = "IgnoreUnknown=0;K8S_POD_NAME=web;;LABEL=a=b;MAC=02:00:00:00:00:01;"
    assert cni_args(text)["LABEL"] == "a=b"
    assert ask(env={"CNI_ARGS": text}).code == 0


def test_pod_is_in_the_log_line() -> None:
    """The line for the log says which Kubernetes pod it was, and forges no second line."""
    args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0"
    assert pod(args) == "default/web-0"
    assert ask(env={"CNI_ARGS": args}).reply.summary == "ADD podnet c1/eth0 pod='default/web-0' 10.1.0.2/24 ok"
    assert "\n" not in ask(env={"CNI_ARGS": "K8S_POD_NAME=a\nDEL podnet"}).reply.summary
