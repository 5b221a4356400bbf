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
from cni_cnm.kernel import unprivileged
from cni_cnm.names import hosts_files, server
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
    monkeypatch.setattr(name_servers, "network_records", lambda _: [SimpleNamespace(name="net", names=())])
    monkeypatch.setattr(name_service, "served", lambda _: told)
    monkeypatch.setattr(name_service, "without_gateways", lambda *_: ())
    monkeypatch.setattr(reconcile_names, "compare", full)
    kept: list[dict[str, Served]] = []
    monkeypatch.setattr(name_servers.NameServers, "keep", lambda _, wanted, __: kept.append(dict(wanted)))
    stop, writer = os.pipe()
    os.write(writer, b"x")  # after one turn
    name_servers.run(cast("Any", engine), lambda *_: None, stop)
    assert kept == [{"net": told}]
    os.close(stop)
    os.close(writer)


def test_a_server_is_started_when_the_bridge_has_its_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dnsmasq does not end if port 53 is taken at an address that comes after its start."""
    started: list[str] = []
    monkeypatch.setattr(name_servers.NameServers, "_start", lambda _, network, __: started.append(network))
    servers = name_servers.NameServers(str(tmp_path), lambda *_: None)
    wanted = {"net": Served("net", "net.internal", "br-1", ()), "gone": Served("gone", "gone.internal", "br-2", ())}
    for turn, (early, expected) in enumerate(((("net", "gone"), []), (("gone",), ["net"]))):
        at = monotonic() + turn
        monkeypatch.setattr(name_servers, "monotonic", lambda at=at: at)
        servers.keep(wanted, early)
        assert started == expected
    assert servers.wait_s() is not None
    later = monotonic() + 60  # the gateway of one does not come
    monkeypatch.setattr(name_servers, "monotonic", lambda: later)
    servers.keep({"gone": wanted["gone"]}, ("gone",))
    assert started == ["net", "gone"]


@pytest.mark.skipif(not server.program(), reason="dnsmasq-base is not installed")
def test_a_server_without_gateways_is_replaced_when_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a reboot, when the bridge comes with the first container."""
    monkeypatch.setattr(name_servers, "_EARLY_S", -1.0)
    pids = iter((11, 12))
    monkeypatch.setattr(hosts_files, "make_folder", lambda _: None)
    monkeypatch.setattr(unprivileged, "start", lambda *_: next(pids))
    monkeypatch.setattr(os, "pidfd_open", lambda _: os.open("/dev/null", os.O_RDONLY))
    ended: list[str] = []

    def end(self: name_servers.NameServers, network: str) -> None:
        ended.append(network)
        self._servers.pop(network)

    monkeypatch.setattr(name_servers.NameServers, "_end", end)
    monkeypatch.setattr(name_servers.NameServers, "_reap", lambda _: None)
    servers = name_servers.NameServers(str(tmp_path), lambda *_: None)
    record = cast("Any", SimpleNamespace(name="net"))
    wanted = {"net": Served("net", "net.internal", "br-1", ())}
    servers.keep(wanted, ("net",))
    servers.keep(wanted, ("net",))
    assert (servers.waiting([record]), ended) == ([record], [])
    assert servers.wait_s()
    servers.keep(wanted)
    assert (servers.waiting([record]), ended) == ([], ["net"])
    assert servers.wait_s() is None
