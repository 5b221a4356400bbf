"""A host with one container, calls on it with a fault, and what must hold afterwards."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.system_calls import KILL, SCARCE, Point, end, names
from tests.side import Side
from tests.waiting import until

CONFIG: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "net",
    "type": "cni-cnm",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "macspoofchk": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]]},
    "bandwidth": {"ingressRate": 10**7, "ingressBurst": 10**6, "egressRate": 10**7, "egressBurst": 10**6},
    "tuning": {"sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400},
    "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
}
"""A bridge with masquerade, a published port, and all that the plugins of a usual chain would add."""
CREATE = ("network", "create", "web", "--subnet", "10.91.0.0/24")
REMOVE = ("network", "rm", "web")
LIMIT_S = 70
"""A call without an answer by then is one that hangs: the relay waits 60 s."""
STATE = """
ip -o link | cut -d: -f2; ip -n c1 -o link | cut -d: -f2; ip -n c1 -o addr | cut -d' ' -f1-8
ip route | sed 's, linkdown,,'
tc qdisc; nft list ruleset
cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
find /run/cni-cnm /var/lib/cni /var/lib/cni-cnm -type f -o -type d -name '*tmp*'
"""
UNTOLD = re.compile(
    r"(last_reserved_ip.*|/lock|/locks|service\.lock|firewall/state\.json|reaped/.*|run/cni-cnm/leases/\w+\.json)$"
    r"|run/cni-cnm/events(\.1)?$"
    r"|handle \d+|^\s*packets \d+ bytes \d+$|^\s*$| expires "
)


class Ran(NamedTuple):
    """A finished call. `code` None: it did not end within the limit."""

    code: int | None
    out: str
    err: str


class Outcome(NamedTuple):
    """What did not hold after a fault; "" where all did."""

    point: Point
    answer: str = ""
    traceback: str = ""
    code: str = ""
    left: str = ""

    @property
    def bad(self) -> bool:
        return any(self[1:])


class Faulty:
    """A host on which calls are made with a fault. `where`: "relay", "program" or "service"."""

    def __init__(self, executable: Path, where: str = "program") -> None:
        self.where = where
        self.side = Side(executable, "cni-cnm")
        self.node = self.side.node
        self.side.container("c1")
        self.relay = str(executable)
        self._program = str(executable.resolve().parent / "cni-cnm")
        self._result: Any = None
        self._processes = 0
        self.cycle()
        self.empty = self.state()
        self.attach()
        self.detach()
        self.with_network = self.state()
        self.clear()

    def close(self) -> None:
        self.side.close()

    # calls -------------------------------------------------------------------

    def cni(self, verb: str, options: Sequence[str] = (), config: Mapping[str, Any] = CONFIG) -> Ran:
        environ = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
            "CNI_PATH": self.side.path,
        }  # fmt: skip
        return self._run([self.relay], options, environ, json.dumps(config))

    def command(self, arguments: Sequence[str], options: Sequence[str] = ()) -> Ran:
        return self._run([self.relay, *arguments], options, {}, "")

    def _run(self, argv: list[str], options: Sequence[str], environ: dict[str, str], stdin: str) -> Ran:
        if environ:
            environ = {**environ, "CNI_CNM_LINGER": "0"}  # no call leaves a service that answers the next one
        if options and self.where == "program":
            self.node.write("/run/traced", f'#!/bin/sh\nexec strace -qqq {" ".join(options)} {self._program} "$@"\n')
            self.node.path("/run/traced").chmod(0o755)
            environ = {**environ, "CNI_CNM_PROGRAM": "/run/traced"}
        elif options and self.where != "service":
            argv = ["strace", "-qqq", *options, *argv]
        with self._service_traced(options) if options and self.where == "service" else nullcontext():
            try:
                done = self.node.run(*argv, stdin=stdin, env=environ or None, timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                return Ran(None, "", "")
        return Ran(done.code, done.out, done.err)

    @contextmanager
    def _service_traced(self, options: Sequence[str]) -> Iterator[None]:
        """The processes of the service under strace, which counts from here on. Each one's calls by itself."""
        if self.side._service is None or not self.side._service.running:
            self.side.serve()  # as systemd does
        service = self.side._service
        assert service is not None
        until(lambda: len(family_of(service.pid)) >= self._processes, "the service has all its processes")
        family = family_of(service.pid)
        self._processes = max(self._processes, len(family))
        output = self.node.path("/run/trace") if "/run/trace" in options else "/dev/null"
        given = [str(output) if option in ("/run/trace", "/dev/null") else option for option in options]
        attached = [part for pid in family for part in ("-p", str(pid))]
        tracer = subprocess.Popen(["strace", "-f", "-qqq", *given, *attached], stderr=subprocess.DEVNULL)
        try:
            until(lambda: all(is_traced(pid) for pid in family), "strace has attached")
            yield
        finally:
            end(tracer)

    def calls(self, kind: str) -> list[str]:
        """The system calls of one call without a fault."""
        self.prepare(kind)
        ran = self.call(kind, ["-o", "/run/trace"])
        assert ran.code == 0, ran
        self.recover(kind, ran)
        found = names(self.node.path("/run/trace").read_text(errors="replace"))
        if self.where == "relay":  # what comes before its main() is strace's execve, and the C library's start
            found = [call for call in found if call not in ("brk", "mprotect")][1:]
        return found

    def call(self, kind: str, options: Sequence[str] = ()) -> Ran:
        if kind in ("create", "rm"):
            return self.command(CREATE if kind == "create" else REMOVE, options)
        return self.cni(kind, options)

    # before and after -----------------------------------------------------------

    def attach(self) -> None:
        self._result = json.loads(good(self.cni("ADD")).out)

    def detach(self) -> None:
        good(self.cni("DEL"))

    def remove(self, name: str) -> None:
        ran = self.command(("network", "rm", name))
        assert ran.code == 0 or "there is no network" in ran.err, ran

    def cycle(self) -> None:
        self.attach()
        good(self.cni("CHECK", config={**CONFIG, "prevResult": self._result}))
        self.detach()
        self.remove("net")

    def clear(self) -> None:
        self.detach()
        self.remove("net")
        self.remove("web")

    def prepare(self, kind: str) -> None:
        if kind == "DEL":
            self.attach()
        elif kind == "rm":
            good(self.command(CREATE))

    def recover(self, kind: str, ran: Ran) -> str:
        """What a runtime or an operator does next. What is left then; "" if nothing is."""
        try:
            return self._recover(kind, ran)
        except AssertionError as error:
            return f"{error}"[:600]

    def _recover(self, kind: str, ran: Ran) -> str:
        if kind == "ADD":
            if ran.code == 0:
                good(self.cni("CHECK", config={**CONFIG, "prevResult": json.loads(ran.out)}))
            elif self.state() == self.empty:
                return ""
            self.detach()
            if found := self.more_than(self.with_network) if ran.code == 0 else "":
                return found
            self.cycle()
        elif kind == "DEL":
            if ran.code != 0:
                self.detach()
            if found := self.more_than(self.with_network):
                return f"after {'DEL' if ran.code else 'the DEL with the fault'}: {found}"
            self.cycle()
        elif kind == "create" and ran.code != 0:
            again = self.command(CREATE)
            if again.code != 0:  # killed when all was done, or only the output failed
                assert "web" in again.err, again
                assert ran.code in (-9, 137) or "by signal 9" in ran.err or "was carried out" in ran.err, again
            self.remove("web")
        else:
            if kind == "rm" and ran.code == 0 and (found := self.more_than(self.empty)):
                return f"after the rm with the fault: {found}"
            self.remove("web")
        return self.more_than(self.empty)

    def state(self) -> list[str]:
        out = self.node.run("sh", "-c", STATE).out
        return sorted(line for line in out.splitlines() if not UNTOLD.search(line))

    def more_than(self, expected: list[str]) -> str:
        found = self.state()
        more = [line.strip() for line in found if line not in expected]
        less = [f"missing: {line.strip()}" for line in expected if line not in found]
        return "; ".join((*more, *less))

    # judging ------------------------------------------------------------------------

    def outcome(self, kind: str, point: Point, call: Callable[[Sequence[str]], Ran] | None = None) -> Outcome:
        self.prepare(kind)
        ran = call(point.options()) if call else self.call(kind, ["-o", "/dev/null", *point.options()])
        judge = _judge_command if kind in ("create", "rm") else _judge_cni
        answer, code = judge(kind, point, ran, self.where)
        text = ran.out + ran.err
        traceback = text[text.index("Traceback") :][-400:] if "Traceback" in text else ""
        left = self.recover(kind, ran)
        if left:
            self._start_over()
        return Outcome(point, answer, traceback, code, left)

    def _start_over(self) -> None:
        """So that what one fault has left is not counted for the next one."""
        fresh = Faulty(Path(self.relay), self.where)
        self.side.close()
        self.side, self.node = fresh.side, fresh.node


def family_of(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid] if pid else []
    for one in found:
        with suppress(OSError):
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return found


def is_traced(pid: int) -> bool:
    """Whether it is traced, or has ended."""
    try:
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def good(ran: Ran) -> Ran:
    assert ran.code == 0, ran
    return ran


def _judge_cni(kind: str, point: Point, ran: Ran, where: str) -> tuple[str, str]:
    if ran.code == 0:
        return ("" if kind == "DEL" or ran.out.strip().endswith("}") else f"0 without a result: {ran}", "")
    if point.fault == KILL and where == "relay":
        return "", ""
    if ran.code is None:
        return "no answer within the limit", ""
    try:
        error = json.loads(ran.out)
        code, msg = int(error["code"]), str(error["msg"])
    except (ValueError, KeyError, TypeError):
        return f"no JSON error: {ran}", ""
    return "", _wrong_code(point, code, msg)


def _judge_command(kind: str, point: Point, ran: Ran, where: str) -> tuple[str, str]:
    if ran.code == 0 or point.fault == KILL:
        return "", ""
    if ran.code is None:
        return "no answer within the limit", ""
    lines = ran.err.strip().splitlines()
    if len(lines) != 1:
        return f"{len(lines)} lines: {ran.err[-300:]}", ""
    return "", _wrong_code(point, ran.code, lines[0])


def _wrong_code(point: Point, code: int, msg: str) -> str:
    if "internal error" in msg or "no nf_tables" in msg:
        return f"{code}: {msg}"
    loader = code == 127  # of the dynamic loader, in its own words
    return f"{code}: {msg}" if point.fault in SCARCE and code != 11 and not loader else ""
