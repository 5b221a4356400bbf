from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cni_cnm.cni.versions import answer
from cni_cnm.service.protocol import MAGIC, REPLY, REPLY_MAX, REQUEST, STDIN_MAX, encode_reply
from tests.program import ROOT
from tests.system.relay import Ran, Relay, Service, read_request
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.service.protocol import Request

ANSWER = answer().encode()
REPLIED = encode_reply(0, b'{"ips":[]}', b"a warning\n")


def reply(connection: socket.socket, data: bytes = REPLIED) -> Request:
    """Read a request, answer it with these bytes."""
    request, _ = read_request(connection)
    connection.sendall(data)
    return request


def test_the_answer_of_the_service_is_copied(relay: Relay) -> None:
    """stdout, stderr and exit code are the service's."""
    with Service(relay.socket, lambda c: reply(c, encode_reply(3, b"out", b"err"))):
        assert relay.run() == (3, b"out", b"err")


def test_the_service_gets_the_whole_call(relay: Relay, tmp_path: Path) -> None:
    """Environment, arguments, stdin, an id, and descriptors of both namespaces arrive."""
    seen = []

    def script(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(REPLIED)

    container = tmp_path / "netns"
    container.touch()
    odd = os.fsdecode(b"\xff=\n")
    with Service(relay.socket, script):
        relay.run(b"\0binary\xff", args=("x", "", "y z"), name="loopback", CNI_NETNS=str(container), ODD=odd)
    request, (own, other) = seen[0]
    assert request.stdin == b"\0binary\xff"
    assert request.argv == ["loopback", "x", "", "y z"]
    assert request.environ["CNI_COMMAND"] == "ADD"
    assert request.environ["ODD"] == odd
    assert len(bytes.fromhex(request.environ["CNI_CNM_REQUEST"])) == 16
    assert own.st_ino == os.stat("/proc/self/ns/net").st_ino
    assert other.st_ino == container.stat().st_ino


@pytest.mark.parametrize("verb", ["setup", "teardown"])
def test_a_call_of_netavark_is_a_request(relay: Relay, tmp_path: Path, verb: str) -> None:
    """The verb and the namespace are arguments; the other verbs are left to the full program."""
    seen = []

    def script(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(REPLIED)

    container = tmp_path / "netns"
    container.touch()
    with Service(relay.socket, script):
        ran = relay.run(b"message", args=(verb, str(container)), CNI_COMMAND="", CNI_NETNS="")
        assert relay.run(b"x", args=("create",), CNI_COMMAND="").out.endswith(b"args=create stdin=x")
    request, (_, other) = seen[0]
    assert (ran.code, ran.out) == (0, b'{"ips":[]}')
    assert (request.stdin, request.argv) == (b"message", ["cni-cnm", verb, str(container)])
    assert other.st_ino == container.stat().st_ino
    assert len(seen) == 1


@pytest.mark.parametrize("arguments", [("setup",), ("setup", "/nowhere")])
def test_errors_of_a_call_of_netavark(relay: Relay, arguments: tuple[str, ...]) -> None:
    """An object with one key, on stdout: of the relay itself, and for a program that ends without an answer."""
    relay.program.write_text("#!/bin/sh\nkill -9 $$\n")
    ran = relay.run(args=arguments, CNI_COMMAND="")
    assert (ran.code, json.loads(ran.out)) == (1, {"error": "the program ended without an answer, by signal 9: "})
    relay.program.unlink()
    assert json.loads(relay.run(args=arguments, CNI_COMMAND="").out) == {
        "error": "the full program is missing beside the relay"
    }


def test_every_request_has_its_own_id(relay: Relay) -> None:
    """An id is random, and one inherited from the environment is replaced."""
    seen = []
    with Service(relay.socket, lambda c: seen.append(reply(c).environ["CNI_CNM_REQUEST"])):
        relay.run(CNI_CNM_REQUEST="inherited")
        relay.run(CNI_CNM_REQUEST="inherited")
    assert len({*seen, "inherited"}) == 3


def test_a_namespace_that_is_gone_sends_one_descriptor(relay: Relay) -> None:
    """A DEL whose namespace does not exist any more, or is not given, still reaches the service."""
    seen = []

    def script(connection: socket.socket) -> None:
        seen.append(len(read_request(connection)[1]))
        connection.sendall(REPLIED)

    with Service(relay.socket, script):
        relay.run(CNI_COMMAND="DEL", CNI_NETNS="/nowhere")
        relay.run(CNI_COMMAND="DEL", CNI_NETNS="")
    assert seen == [1, 1]


def test_a_fifo_as_namespace_does_not_hang(relay: Relay, tmp_path: Path) -> None:
    """A path that names a FIFO is opened without waiting for its other end."""
    os.mkfifo(tmp_path / "fifo")
    with Service(relay.socket, lambda c: reply(c)):
        assert relay.run(CNI_NETNS=str(tmp_path / "fifo"), timeout=10).code == 0


@pytest.mark.parametrize("service", ["missing", "refusing", "switched off"])
def test_without_a_service_it_becomes_the_full_program(relay: Relay, service: str) -> None:
    """No socket, no process behind it, or none wanted: the full program gets stdin untouched."""
    if service == "refusing":
        with socket.socket(socket.AF_UNIX) as nobody:
            nobody.bind(str(relay.socket))
    environ = relay.environ()
    if service == "switched off":
        environ["CNI_CNM_SOCKET"] = ""
    ran = relay.run(b"conf", args=("a", "b"), environ=environ)
    assert ran.code == 7
    assert ran.out.endswith(b"cni=ADD args=a b stdin=conf")


def test_stdin_is_the_same_file_without_a_service(relay: Relay, tmp_path: Path) -> None:
    """Untouched means untouched: the full program reads from the very file, at the same place."""
    (tmp_path / "conf").write_bytes(b"skip me, read me")
    with (tmp_path / "conf").open("rb", buffering=0) as stdin:
        stdin.seek(9)
        ran = subprocess.run([relay.executable], stdin=stdin, env=relay.environ(), stdout=subprocess.PIPE, timeout=30)
    assert ran.stdout.endswith(b"stdin=read me")


CUTS: dict[str, Callable[[socket.socket], object]] = {
    "at once": lambda c: None,
    "after the request": lambda c: read_request(c),
    "in the head": lambda c: reply(c, REPLIED[:5]),
    "after the head": lambda c: reply(c, REPLIED[: REPLY.size]),
    "before the last byte": lambda c: reply(c, REPLIED[:-1]),
    "garbage": lambda c: reply(c, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "a code no process has": lambda c: reply(c, REPLY.pack(MAGIC, 256, 0, 0, 0)),
    "longer than allowed": lambda c: reply(c, REPLY.pack(MAGIC, 0, REPLY_MAX, 1, 0)),
    "lengths that overflow": lambda c: reply(c, REPLY.pack(MAGIC, 0, 2**32 - 1, 2**32 - 1, 0)),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("size", [2, 300_000])
def test_an_answer_cut_off_or_garbled_goes_to_the_full_program(relay: Relay, cut: str, size: int) -> None:
    """Nothing of a broken answer is printed; the full program gets the same stdin, and an id."""
    conf = b"x" * size
    with Service(relay.socket, CUTS[cut]):
        ran = relay.run(conf)
    assert ran.code == 7
    head, _, stdin = ran.out.partition(b"stdin=")
    assert head.startswith(b"program id=")
    assert len(head.split()[1]) == len("id=") + 32
    assert stdin == conf
    assert ran.err == b""


def test_the_full_program_gets_the_id_the_service_was_given(relay: Relay) -> None:
    """So that a request that was done before the cut is recognised."""
    seen = []
    with Service(relay.socket, lambda c: seen.append(read_request(c)[0].environ["CNI_CNM_REQUEST"])):
        ran = relay.run()
    assert f"id={seen[0]} ".encode() in ran.out


@pytest.mark.parametrize("when", ["before reading", "before answering", "in the answer", "queue full"])
def test_a_hanging_service_does_not_hang_the_runtime(relay: Relay, when: str) -> None:
    """After CNI_CNM_TIMEOUT seconds the answer is the error "try again later"."""

    def hang(connection: socket.socket) -> None:
        if when == "in the answer":
            reply(connection, REPLIED[:-1])
        elif when == "before answering":
            read_request(connection)
        released.wait(30)

    released = threading.Event()
    started = time.monotonic()
    fillers = [socket.socket(socket.AF_UNIX) for _ in range(2 if when == "queue full" else 0)]
    with Service(relay.socket, hang, backlog=0 if fillers else 16):
        for filler in fillers:
            filler.connect(str(relay.socket))
            time.sleep(0.1)
        ran = relay.run(b"x" * 1_000_000, CNI_CNM_TIMEOUT="1")
        assert time.monotonic() - started > 0.9
        released.set()  # only now: it was the relay that gave up
        for filler in fillers:
            filler.close()
    assert ran.code == 1
    assert json.loads(ran.out)["code"] == 11


@pytest.mark.parametrize("when", ["before reading", "before answering", "in the answer", "queue full"])
def test_the_full_program_answers_status_for_a_hanging_service(relay: Relay, when: str) -> None:
    """It gets the same stdin, long before the general limit: the node stays Ready."""

    def hang(connection: socket.socket) -> None:
        if when == "in the answer":
            reply(connection, REPLIED[:-1])
        elif when == "before answering":
            read_request(connection)
        released.wait(30)

    released = threading.Event()
    stdin = b"x" * 1_000_000
    fillers = [socket.socket(socket.AF_UNIX) for _ in range(2 if when == "queue full" else 0)]
    with Service(relay.socket, hang, backlog=0 if fillers else 16):
        for filler in fillers:
            filler.connect(str(relay.socket))
            time.sleep(0.1)
        ran = relay.run(stdin, CNI_COMMAND="STATUS", CNI_CNM_TIMEOUT="60")
        released.set()  # only now: it was the relay that waited no longer
        for filler in fillers:
            filler.close()
    assert ran.code == 7
    assert ran.out.startswith(b"program id=")
    assert ran.out.endswith(b"cni=STATUS args= stdin=" + stdin)


def test_a_slow_answer_arrives_whole(relay: Relay) -> None:
    """One that comes byte by byte is the same answer."""

    def drip(connection: socket.socket) -> None:
        read_request(connection)
        for byte in REPLIED:
            connection.sendall(bytes([byte]))
            time.sleep(0.002)

    with Service(relay.socket, drip):
        assert relay.run() == (0, b'{"ips":[]}', b"a warning\n")


def test_huge_requests_and_answers_pass(relay: Relay) -> None:
    """Up to the limits of both directions, nothing is lost."""
    conf = os.urandom(STDIN_MAX)
    seen = []
    with Service(relay.socket, lambda c: seen.append(reply(c, encode_reply(0, conf, b"")).stdin)):
        assert relay.run(conf).out == conf
    assert seen == [conf]


def test_more_than_four_mib_of_configuration_are_refused(relay: Relay) -> None:
    """A runtime that sends nonsense does not fill the memory."""
    with Service(relay.socket, lambda c: None):
        ran = relay.run(b"x" * (STDIN_MAX + 1))
    assert (ran.code, json.loads(ran.out)["code"]) == (1, 6)


def test_version_is_answered_without_anybody(relay: Relay) -> None:
    """The full program's own line; stdin is not read, no service is asked."""
    assert relay.run(b"", CNI_COMMAND="VERSION", CNI_CNM_PROGRAM="/nowhere") == Ran(0, ANSWER, b"")


@pytest.mark.parametrize("command", [None, ""])
def test_without_a_command_it_is_the_command_line(relay: Relay, command: str | None) -> None:
    """No CNI_COMMAND, or an empty one: the full program gets the arguments, whatever service there is."""
    environ = relay.environ(CNI_COMMAND="")
    if command is not None:
        environ["CNI_COMMAND"] = command
    ran = relay.run(b"in", args=("network", "ls"), environ=environ)
    assert ran.out == b"program id= cni= args=network ls stdin=in"


def test_the_full_program_is_called_by_the_same_name(relay: Relay) -> None:
    """Called as `loopback`, or by any name: argv[0] is passed on (busybox acts by it)."""
    ran = relay.run(b"stdin", name="cat", CNI_CNM_PROGRAM="/bin/busybox")
    assert ran == (0, b"stdin", b"")


def test_the_full_program_is_found_beside_the_relay(relay: Relay, tmp_path: Path) -> None:
    """BIN/loopback -> cni-cnm -> ../lib/cni-cnm/current/relay finds the program beside the relay."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib/cni-cnm/1").mkdir(parents=True)
    (tmp_path / "lib/cni-cnm/current").symlink_to("1")
    (tmp_path / "lib/cni-cnm/1/relay").write_bytes(relay.executable.read_bytes())
    (tmp_path / "lib/cni-cnm/1/relay").chmod(0o755)
    relay.program.rename(tmp_path / "lib/cni-cnm/1/cni-cnm")
    (tmp_path / "bin/cni-cnm").symlink_to("../lib/cni-cnm/current/relay")
    (tmp_path / "bin/loopback").symlink_to("cni-cnm")
    relay.executable = tmp_path / "bin/loopback"
    assert relay.run(b"in", CNI_CNM_PROGRAM="").out.endswith(b"stdin=in")


def test_a_relay_alone_does_not_execute_itself(relay: Relay, tmp_path: Path) -> None:
    """The relay was copied alone, under the program's name: an error object, no endless loop."""
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/cni-cnm").write_bytes(relay.executable.read_bytes())
    (tmp_path / "alone/cni-cnm").chmod(0o755)
    relay.executable = tmp_path / "alone/cni-cnm"
    ran = relay.run(b"in", CNI_CNM_PROGRAM="")
    assert (ran.code, json.loads(ran.out)["code"]) == (1, 5)


def test_a_missing_full_program_is_an_error_of_the_relay(relay: Relay) -> None:
    """The runtime gets an error object, not a silent exit."""
    ran = relay.run(CNI_CNM_PROGRAM="/nowhere")
    assert (ran.code, json.loads(ran.out)["code"]) == (1, 5)


@pytest.mark.parametrize(
    ("script", "end"),
    [
        pytest.param("kill -9 $$", "by signal 9: ", id="killed"),
        pytest.param("printf '{\"cni'; kill -9 $$", "by signal 9: ", id="killed in its answer"),
        pytest.param(
            "echo 'x: cannot open \"y\"' >&2; exit 127", "with exit code 127: x: cannot open  y ", id="loader"
        ),
        pytest.param("exit 1", "with exit code 1: ", id="silent"),
    ],
)
def test_a_program_that_ends_without_an_answer_is_answered_for(relay: Relay, script: str, end: str) -> None:
    """One error object, that says to try again, how the program ended and its last line."""
    relay.program.write_text(f"#!/bin/sh\n{script}\n")
    ran = relay.run()
    assert (ran.code, ran.err) == (1, b"")
    assert json.loads(ran.out) == {
        "cniVersion": "1.0.0", "code": 11, "msg": f"the program ended without an answer, {end}",
    }  # fmt: skip


def test_the_full_program_ends_with_the_relay(relay: Relay, tmp_path: Path) -> None:
    """A runtime that kills the plugin kills all of it."""
    relay.program.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 600\n")
    process = subprocess.Popen(["cni-cnm"], executable=relay.executable, env=relay.environ(), stdin=subprocess.DEVNULL)
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), "the program runs")
    pid = (tmp_path / "pid").read_text().strip()
    process.kill()
    process.wait()
    until(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes(), "it ends")


@pytest.mark.parametrize("command", ["ADD", ""])
def test_a_caller_may_ignore_sigchld(relay: Relay, command: str) -> None:
    """An ignored signal stays ignored in what is executed, and the kernel then keeps no status of a child."""
    ran = subprocess.run(
        ["cni-cnm", "network"], executable=relay.executable, env=relay.environ(CNI_COMMAND=command), input=b"{}",
        capture_output=True, timeout=30, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )  # fmt: skip
    assert (ran.returncode, ran.stdout[-8:], ran.stderr) == (7 if command else 11, b"stdin={}", b"")


@pytest.mark.parametrize(("noun", "code"), [("run", 7), ("exec", 7), ("serve", 7), ("runs", 11), ("network", 11)])
def test_exit_codes_of_other_commands(relay: Relay, noun: str, code: int) -> None:
    """`run` and `exec` end with the code of the command that they run. Of others, an unknown code is an accident."""
    environ = relay.environ(CNI_COMMAND="")
    ran = subprocess.run(["cni-cnm", noun], executable=relay.executable, env=environ, input=b"", capture_output=True)
    assert ran.returncode == code


def test_the_owner_is_the_relays_caller(relay: Relay) -> None:
    """The relay is no owner, by whatever name it was called."""
    ask = "from cni_cnm.kernel.process import owner_of_caller; print(owner_of_caller())"
    relay.program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{ask}'\n")
    ran = relay.run(environ=relay.environ(PYTHONPATH=str(ROOT)), name="loopback")
    assert ran.out.decode().strip() == Path(f"/proc/{os.getpid()}/comm").read_text().strip()


def test_a_relay_without_standard_descriptors_works(relay: Relay) -> None:
    """A runtime that closed 0, 1 and 2: the connection does not become one of them."""
    seen = []
    with Service(relay.socket, lambda c: seen.append(reply(c).stdin)):
        pid = os.posix_spawn(
            relay.executable,
            ["cni-cnm"],
            relay.environ(ASAN_OPTIONS="detect_leaks=0"),
            file_actions=[(os.POSIX_SPAWN_CLOSE, fd) for fd in (0, 1, 2)],
        )
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert seen == [b""]


def test_an_environment_too_large_for_a_request_goes_to_the_full_program(relay: Relay) -> None:
    """What does not fit a request is no error: the full program takes it as it is."""
    many = {f"V{i}": "" for i in range(70_000)}
    ran = relay.run(b"in", environ={**relay.environ(), **many})
    assert ran.out.endswith(b"stdin=in")


def test_a_relay_of_another_version_is_told_apart(relay: Relay) -> None:
    """The head carries the program's version, so that an older service refuses a newer relay."""
    seen: list[bytes] = []
    with Service(relay.socket, lambda c: seen.append(c.recv(REQUEST.size))):
        relay.run()
    from cni_cnm import __version__

    assert REQUEST.unpack(seen[0])[1].rstrip(b"\0").decode() == __version__
