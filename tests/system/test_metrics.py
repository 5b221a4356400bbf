"""Metrics of a real service: over its socket and over TCP, while pods come and go, and after a kill."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.side import Side
from tests.system.daemon import Daemon
from tests.waiting import until

NET: dict[str, Any] = {
    "cniVersion": "1.1.0",
    "name": "net",
    "bridge": "br-net",
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.61.0.0/24"}]]},
}
LOG = "/run/cni-cnm.log"
SOCKET = "/run/cni-cnm/metrics.sock"
ASK = """
import socket, sys
path, request = sys.argv[1], sys.argv[2]
if path.startswith("/"):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
else:
    host, _, port = path.rpartition(":")
    connection = socket.create_connection((host, int(port)))
connection.sendall(request.encode())
while part := connection.recv(1 << 16):
    sys.stdout.buffer.write(part)
"""
GET = "GET /metrics HTTP/1.1\r\nHost: node\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n"


def ask(side: Side, where: str = SOCKET, request: str = GET) -> tuple[str, str]:
    """The status line, and the body."""
    done = side.node.run("python3", "-c", ASK, where, request).ok()
    head, _, body = done.out.replace("\r\n", "\n").partition("\n\n")
    return head.splitlines()[0], body


def samples(text: str) -> dict[str, float]:
    return {
        f"{sample.name} {' '.join(value for _, value in sorted(sample.labels.items()))}".strip(): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def events(side: Side, log: str) -> dict[str, Any]:
    """The last line of each kind."""
    lines = [json.loads(line) for line in side.node.path(log).read_text(encoding="utf-8").splitlines()]
    return {line["event"]: line for line in lines if "event" in line}


def children(service: Daemon) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text("ascii").split()]


def test_a_service_shows_what_it_does(side: Side) -> None:
    """Requests, endpoints and addresses; the log as JSON; a killed process for metrics loses no count."""
    side.node.write("/etc/cni-cnm/config.toml", f'log = "{LOG}"\nlog_format = "json"\nmetrics = "127.0.0.1:9477"\n')
    service = Daemon(side.node, str(side.executable), "serve", log="/run/service.log")
    try:
        service.wait(lambda: "answering on" in service.log())
        status, body = ask(side)
        assert status.endswith("200 OK")
        found = samples(body)
        assert found["cni_cnm_build_info 0.2.0"] == 1
        assert found["cni_cnm_unread_parts"] == 0
        side.add(NET, "c1").ok()
        until(lambda: samples(ask(side)[1]).get("cni_cnm_endpoints bridge net") == 1, "the endpoint is counted")
        assert samples(ask(side, "127.0.0.1:9477")[1])["cni_cnm_pool_addresses_free net"] == 252
        side.node.run("ip", "link", "set", "br-net", "down").ok()
        until(lambda: samples(ask(side)[1]).get("cni_cnm_repairs_total repaired") == 1, "the repair is counted")
        until(lambda: events(side, LOG).get("repaired"), "the repair is an event")  # it is counted first
        assert events(side, LOG)["repaired"]["message"] == "REPAIR the network net: br-net is down; put right"
        until(lambda: events(side, LOG).get("network made"), "the network that was made is an event")
        assert events(side, LOG)["network made"]["network"] == "net"
        for request, code in (("GET / HTTP/1.0\r\n\r\n", "404"), ("POST /metrics HTTP/1.0\r\n\r\n", "501")):
            assert code in ask(side, request=request)[0]
        for pid in children(service)[:-1]:
            os.kill(pid, signal.SIGKILL)
        until(
            lambda: samples(ask(side)[1]).get("cni_cnm_process_restarts_total metrics", 0) >= 1,
            "the process for metrics is there again",
        )
        assert samples(ask(side)[1])["cni_cnm_repairs_total repaired"] >= 1
        lines = [json.loads(line) for line in side.node.path(LOG).read_text(encoding="utf-8").splitlines()]
        [added] = [line for line in lines if line.get("verb") == "ADD"]
        assert (added["network"], added["container"], added["ifname"], added["code"]) == ("net", "c1", "eth0", 0)
        assert any("REPAIR" in line["message"] for line in lines)
    finally:
        assert service.stop(signal.SIGTERM) == 0
    assert not side.node.path(SOCKET).exists()


def start(side: Side, setting: str) -> Daemon:
    side.node.write("/etc/cni-cnm/config.toml", f'metrics = "{setting}"\n')
    service = Daemon(side.node, str(side.executable), "serve", log="/run/service.log")
    service.wait(lambda: "answering on" in service.log())
    return service


def test_metrics_that_are_off(side: Side) -> None:
    service = start(side, "off")
    try:
        assert not side.node.path(SOCKET).exists()
    finally:
        assert service.stop(signal.SIGTERM) == 0


def test_an_address_that_another_program_has(side: Side) -> None:
    """It is said, and the socket is there."""
    taken = Daemon(side.node, "python3", "-m", "http.server", "9477", log="/run/other.log")
    until(lambda: side.node.run("ss", "-Hltn", "sport = 9477").ok().out, "the other program listens")
    service = start(side, "127.0.0.1:9477")
    try:
        until(lambda: "are not shown at 127.0.0.1:9477: Address already in use" in service.log(), "the reason")
        assert ask(side)[0].endswith("200 OK")
    finally:
        assert service.stop(signal.SIGTERM) == 0
        taken.stop(signal.SIGKILL)


def test_the_server_is_loaded_by_the_first_scrape(side: Side) -> None:
    """Before it the process for metrics is small: it has neither the modules of HTTP nor their thread."""
    service = Daemon(side.node, str(side.executable), "serve", log="/run/service.log")

    def threads() -> int:
        """Of the process for metrics, the last but one that is started (service/processes.py)."""
        return len(os.listdir(f"/proc/{children(service)[-2]}/task"))

    try:
        service.wait(lambda: "answering on" in service.log())
        side.add(NET, "c1").ok()
        assert threads() == 1
        assert ask(side)[0].endswith("200 OK")
        assert threads() > 1
    finally:
        assert service.stop(signal.SIGTERM) == 0
