"""One request of the service: who is answered, with which settings and namespaces, and what is closed afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cni_cnm import settings as settings_module
from cni_cnm.errors import InvalidConfig
from cni_cnm.frontend.reply import Reply
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.service import handler as module
from cni_cnm.service.handler import Handler
from cni_cnm.service.protocol import Refused, Request
from cni_cnm.service.server import Answer, Call

NAMESPACE = "/proc/thread-self/ns/net"
CONF = b'{"cniVersion": "1.0.0", "name": "net", "type": "cni-cnm"}'


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Log lines of requests, with the `log` of their settings."""
    written: list[tuple[str, str]] = []

    def log(line: str, _: float, settings: settings_module.Settings | None = None, *__: object) -> None:
        written.append((line, settings.log if settings else "unknown"))

    monkeypatch.setattr(module, "log", log)
    return written


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of the service itself and of `call`."""
    path = tmp_path / "config.toml"
    path.write_text(f'run_dir = "{tmp_path}/run"\nstate_dir = "{tmp_path}/state"\nlog = "none"\n', encoding="utf-8")
    monkeypatch.setenv(settings_module.ENVIRONMENT, str(path))
    return path


@pytest.fixture
def own() -> Iterator[int]:
    """A descriptor of the own network namespace, as a relay sends it."""
    opened = os.open(NAMESPACE, os.O_RDONLY)
    yield opened
    os.close(opened)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands for the CNI frontend: `run(controller)` is called, its arguments are kept."""
    made = SimpleNamespace(run=lambda controller: None)

    def handle(
        environ: Any, stdin: Callable[[], bytes], controller: Callable[[], Any], name: str, owner: Callable[[], str]
    ) -> Reply:
        made.stdin, made.name, made.owner = stdin(), name, owner()
        made.run(controller())
        return Reply(0, b"out", "err\ud800", "ADD net")

    monkeypatch.setattr(module, "handle", handle)
    return made


def call(*descriptors: int, argv: tuple[str, ...] = ("/opt/cni/bin/cni-cnm",), config: str = "", **more: str) -> Call:
    environ = {settings_module.ENVIRONMENT: config or os.environ.get(settings_module.ENVIRONMENT, ""), **more}
    return Call(Request(environ, argv, CONF), descriptors, os.getpid())


def serve(handler: Handler, request: Call) -> Answer:
    """The answer, after what is left to do when it is sent."""
    answer = handler(request)
    answer.after()
    return answer


def test_a_caller_in_another_namespace_is_declined(lines: list[tuple[str, str]]) -> None:
    """Its relay then executes the full program there. Nothing is logged."""
    other = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    with pytest.raises(Refused, match="another network namespace"):
        Handler()(call(other, CNI_COMMAND="ADD"))
    os.close(other)
    assert lines == []


def test_a_request_is_answered_by_the_cni_frontend(lines: list[tuple[str, str]], config: Path, own: int) -> None:
    """A request that is refused before the engine opens has its answer and its log line."""
    answer = serve(Handler(), call(own, CNI_COMMAND="ADD"))
    assert answer.code == 1
    assert json.loads(answer.out)["code"] == 4
    assert [line.partition(":")[0] for line, _ in lines] == ["ADD failed, code 4"]


def test_what_the_frontend_gets_and_gives(
    lines: list[tuple[str, str]], config: Path, own: int, engine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "parent_of", lambda pid: pid + 1)
    monkeypatch.setattr(module, "owner_of_caller", lambda pid: f"owner of {pid - os.getpid()}")
    answer = serve(Handler(), call(own))
    assert (answer.code, answer.out, answer.err) == (0, b"out", b"err\\ud800")
    assert (engine.stdin, engine.name, engine.owner) == (CONF, "/opt/cni/bin/cni-cnm", "owner of 1")
    assert lines == [("ADD net", "none")]
    serve(Handler(), call(own, argv=()))
    assert engine.name == "cni-cnm"


def test_the_containers_namespace_is_the_descriptor(
    lines: list[tuple[str, str]], config: Path, own: int, engine: SimpleNamespace
) -> None:
    """Whatever the path means to the service: the runtime may have mounts that the service has not."""
    found = []
    engine.run = lambda controller: found.append(controller.namespaces.open("/nowhere").inode())
    serve(Handler(), call(own, own, CNI_NETNS="/nowhere"))
    assert found == [os.stat(NAMESPACE).st_ino]


def test_a_request_of_netavark(
    lines: list[tuple[str, str]], config: Path, own: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verb and the namespace are arguments. Its descriptor is used, whatever the path means to the service."""
    found: list[object] = []

    def answered(arguments: Any, environ: Any, stdin: Callable[[], bytes], controller: Callable[[], Any]) -> Reply:
        found.extend((arguments, stdin(), controller().namespaces.open(arguments[1]).inode()))
        return Reply(0, b"out", summary="netavark setup")

    monkeypatch.setattr("cni_cnm.netavark.plugin.handle", answered)
    monkeypatch.setattr(
        module,
        "open_controller",
        lambda settings, namespaces, nft: SimpleNamespace(namespaces=namespaces, host=SimpleNamespace()),
    )
    answer = serve(Handler(), call(own, own, argv=("cni-cnm", "setup", "/nowhere")))
    assert answer.out == b"out"
    assert found == [["setup", "/nowhere"], CONF, os.stat(NAMESPACE).st_ino]
    assert lines == [("netavark setup", "none")]


@pytest.mark.parametrize("fails", [False, True])
def test_everything_a_request_opens_is_closed(
    lines: list[tuple[str, str]], config: Path, own: int, engine: SimpleNamespace, *, fails: bool
) -> None:
    """Also of a request that ends in a defect. The thread keeps one socket of the host's namespace."""

    def run(controller: Any) -> None:
        for _ in range(3):
            controller.namespaces.open(NAMESPACE).link("lo")
        controller.host.stack.link("lo")
        if fails:
            raise ZeroDivisionError

    engine.run = run
    handler = Handler()
    counts = []
    for _ in range(3):
        try:
            serve(handler, call(own))
        except ZeroDivisionError:
            assert fails
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[0] == counts[1] == counts[2]
    handler._kept.socket.close()


@pytest.mark.parametrize("trace", [False, True])
def test_a_containers_namespace_is_closed_before_the_answer(
    lines: list[tuple[str, str]], config: Path, own: int, engine: SimpleNamespace, *, trace: bool
) -> None:
    """Also what the engine has left open. A runtime that unmounts the namespace would find it busy."""
    opened: list[KernelStack] = []
    engine.run = lambda controller: opened.append(controller.namespaces.open("/nowhere"))
    answer = Handler(trace=trace)(call(own, own, CNI_NETNS="/nowhere"))
    assert [stack.fd for stack in opened] == [-1]
    answer.after()


def test_settings_are_read_again_when_their_file_changes(
    lines: list[tuple[str, str]], config: Path, own: int, engine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, reads = settings_module.load, []

    def load(path: str = "") -> settings_module.Settings:
        reads.append(path)
        return real(path)

    monkeypatch.setattr(settings_module, "load", load)
    handler = Handler()
    serve(handler, call(own))
    serve(handler, call(own))
    assert reads == [str(config)]
    config.write_text(f'log = "{config}.log"\n', encoding="utf-8")
    serve(handler, call(own))
    assert reads == [str(config)] * 2
    assert [log for _, log in lines] == ["none", "none", f"{config}.log"]
    other = config.with_name("other.toml")
    other.write_text('log = "syslog"\n', encoding="utf-8")
    serve(handler, call(own, config=str(other)))
    assert (reads[2:], lines[3][1]) == ([str(other)], "syslog")


def test_a_del_needs_no_cluster(lines: list[tuple[str, str]], config: Path, own: int, engine: SimpleNamespace) -> None:
    """With [cluster] wrong it has the folders of the file; another verb has the sentence, before and after it."""
    config.write_text(f'{config.read_text("utf-8")}[cluster]\nstore = "kubernetes"\nmtu = 1400\n', encoding="utf-8")
    opened: list[str] = []
    engine.run = lambda controller: opened.append(controller.host.settings.state_dir)
    handler = Handler()
    for verb in ("ADD", "DEL", "ADD"):
        if verb == "DEL":
            serve(handler, call(own, CNI_COMMAND=verb))
            continue
        with pytest.raises(InvalidConfig, match=r"cluster\.mtu is an unknown key"):
            serve(handler, call(own, CNI_COMMAND=verb))
    assert opened == [f"{config.parent}/state"]


def test_a_traced_request_tells_its_steps(
    lines: list[tuple[str, str]], config: Path, own: int, engine: SimpleNamespace
) -> None:
    """The calls to stacks, records and packet filter between those of the request itself."""

    def run(controller: Any) -> None:
        stack = controller.namespaces.open(NAMESPACE)
        stack.link("lo")
        stack.link("lo")
        list(controller.host.store.names("networks"))

    engine.run = run
    names = [name for name, _ in serve(Handler(trace=True), call(own)).steps]
    assert names == ["parse", "engine", "link(2)", "record-names", "close"]
    assert [name for name, _ in serve(Handler(), call(own)).steps] == ["parse", "engine"]


def test_the_engine_of_other_calls_has_the_services_settings(config: Path) -> None:
    """Docker's calls, and the checks of the packet filter: their networks are those of the service's namespace."""
    handler = Handler()
    with handler.engine() as controller:
        assert controller.host.settings.state_dir == str(config.with_name("state"))
        assert controller.host.stack.inode() == os.stat(NAMESPACE).st_ino
        stack = controller.host.stack
        assert isinstance(stack, KernelStack)
    assert stack.fd == -1


def test_a_note_goes_where_the_last_settings_say(
    lines: list[tuple[str, str]], config: Path, own: int, engine: SimpleNamespace
) -> None:
    handler = Handler()
    handler.note("before any request", 1.0)
    serve(handler, call(own))
    handler.note("Docker's call", 1.0)
    assert lines == [("before any request", "unknown"), ("ADD net", "none"), ("Docker's call", "none")]


def test_a_service_in_a_container_leaves_files_of_the_node_to_the_full_program(
    config: Path, own: int, engine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the keys that node_files.py names, and only there."""
    foreign = Request({"CNI_COMMAND": "ADD"}, ["cni-cnm"], CONF.replace(b"}", b', "ipam": {"type": "dhcp"}}'))
    Handler()(Call(foreign, (own,), 0)).after()
    monkeypatch.setenv("CNI_CNM_PROC_SYS_NET", "/host/proc/sys/net")
    handler = Handler()
    with pytest.raises(Refused, match=r"ipam\.type names what is not in this container"):
        handler(Call(foreign, (own,), 0))
    handler(Call(foreign._replace(stdin=CONF), (own,), 0)).after()
