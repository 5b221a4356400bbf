"""The loop that keeps name servers, where something cannot be done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cni_cnm.cnm.network import name_service
from cni_cnm.cnm.reconcile import names as reconcile_names
from cni_cnm.errors import IoFailed
from cni_cnm.names.server import Served
from cni_cnm.service import name_servers


def test_servers_are_kept_where_names_cannot_be_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a server that has ended would be started at the next change only."""
    settings = SimpleNamespace(state_dir=str(tmp_path / "state"), run_dir=str(tmp_path / "run"))
    store = SimpleNamespace(get=lambda *_: None)
    controller = SimpleNamespace(host=SimpleNamespace(settings=settings, store=store))

    @contextmanager
    def engine() -> Iterator[Any]:
        yield controller

    def full(*_: object) -> None:
        raise IoFailed("the disk is full")

    told = Served("net", "net.internal", "br-1", ())
    monkeypatch.setattr(name_servers, "network_records", lambda _: [SimpleNamespace(name="net")])
    monkeypatch.setattr(name_service, "served", lambda _: told)
    monkeypatch.setattr(reconcile_names, "compare", full)
    kept: list[dict[str, Served]] = []
    monkeypatch.setattr(name_servers.NameServers, "keep", lambda _, wanted: kept.append(dict(wanted)))
    stop, writer = os.pipe()
    os.write(writer, b"x")  # after one turn
    name_servers.run(cast("Any", engine), lambda *_: None, stop)
    assert kept == [{"net": told}]
    os.close(stop)
    os.close(writer)


def test_a_server_is_started_when_the_bridge_has_its_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dnsmasq does not end if port 53 is taken at an address that comes after its start."""
    there = [False]
    started: list[str] = []
    monkeypatch.setattr(name_servers, "_has_ipv4_address", lambda _: there[0])
    monkeypatch.setattr(name_servers.NameServers, "_start", lambda _, network, __: started.append(network))
    servers = name_servers.NameServers(str(tmp_path), lambda *_: None)
    wanted = {"net": Served("net", "net.internal", "br-1", ())}
    servers.keep(wanted)
    assert started == []
    wait_s = servers.wait_s()
    assert wait_s is not None
    there[0] = True
    later = monotonic() + wait_s
    monkeypatch.setattr(name_servers, "monotonic", lambda: later)
    servers.keep(wanted)
    assert started == ["net"]
