"""Names of overlay networks over hosts: what a host writes, what others make of it, and what they refuse."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cni_cnm.cluster.etcd.directory import EtcdDirectory
from cni_cnm.cluster.etcd.names import EtcdNames
from cni_cnm.cluster.values import Snapshot
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.cnm.network import network_description
from cni_cnm.cnm.records import NetworkRecord
from cni_cnm.drivers.bridge_options import BridgeOptions
from cni_cnm.model import NameService
from cni_cnm.names import hosts_files
from cni_cnm.service.name_exchange import NameExchange, checked
from tests.cluster.etcd_server import EtcdServer, program
from tests.waiting import until

NETWORK = NetworkRecord(
    "id", "web", "bridge", BridgeOptions("br-web"), "host-local", {}, names=NameService("web.internal")
)
ENDPOINT = "e" * 64


@pytest.fixture(autouse=True)
def subnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network of all hosts has this subnet."""
    monkeypatch.setattr(network_description, "claimed_subnets", lambda record: [ip_network("10.9.0.0/16")])


class Host:
    """One host's exchange, with the thread that follows the store."""

    def __init__(self, settings: ClusterSettings, name: str, folder: Path) -> None:
        self.run_dir = str(folder / name)
        self.folder = hosts_files.folder_of(self.run_dir, "web")
        folder.mkdir(exist_ok=True)
        hosts_files.make_folder(self.folder)
        self.wake = os.eventfd(0, os.EFD_NONBLOCK)
        self.exchange = NameExchange(EtcdNames(settings, 5), name, self.run_dir, lambda: {"web": NETWORK})
        self.thread = Thread(target=self.exchange.follow, args=(self.wake,), daemon=True)
        self.thread.start()

    def has(self, wanted: dict[str, str]) -> bool:
        """One turn of the process; whether the files of other hosts are these."""
        self.exchange.pull()
        self.exchange.push()
        return {key: text for key, text in hosts_files.read_all(self.folder).items() if "." in key} == wanted

    def close(self) -> None:
        self.exchange.end()
        self.thread.join(10)
        os.close(self.wake)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EtcdServer]:
    if not program():
        pytest.skip("needs etcd: etcd-server")
    made = EtcdServer(tmp_path / "etcd")
    yield made
    made.kill()


def test_names_reach_other_hosts_and_go(server: EtcdServer, tmp_path: Path) -> None:
    settings = ClusterSettings("etcd", (server.url,))
    hosts = [Host(settings, name, tmp_path) for name in ("a", "b")]
    try:
        text = "10.9.1.2 db.web.internal db\n"
        hosts_files.write(hosts[0].folder, ENDPOINT, text)
        until(lambda: hosts[0].has({}) and hosts[1].has({f"a.{ENDPOINT}": text}), "the name on the other host")
        directory = EtcdDirectory(settings, 5)
        known: Snapshot = directory.snapshot()
        assert (known.hosts, known.networks, directory.skipped()) == ({}, {}, ())
        hosts_files.remove(hosts[0].folder, ENDPOINT)
        until(lambda: hosts[0].has({}) and hosts[1].has({}), "the end of the name")
        hosts_files.write(hosts[0].folder, ENDPOINT, text)
        until(lambda: hosts[0].has({}) and hosts[1].has({f"a.{ENDPOINT}": text}), "the name again")
        hosts[0].close()
        directory.leave("a", force=True)
        until(lambda: hosts[1].has({}), "no name of a host that has left")
        directory.close()
    finally:
        for host in hosts[1:]:
            host.close()


def test_a_store_that_is_away_changes_nothing(server: EtcdServer, tmp_path: Path) -> None:
    settings = ClusterSettings("etcd", (server.url,))
    one, other = Host(settings, "a", tmp_path), Host(settings, "b", tmp_path)
    try:
        text = "10.9.1.2 db.web.internal db\n"
        hosts_files.write(one.folder, ENDPOINT, text)
        until(lambda: one.has({}) and other.has({f"a.{ENDPOINT}": text}), "the name on the other host")
        server.kill()
        hosts_files.write(one.folder, "f" * 64, text)
        assert one.has({})
        assert other.has({f"a.{ENDPOINT}": text})
        server.start()
        both = {f"a.{ENDPOINT}": text, f"a.{'f' * 64}": text}
        until(lambda: one.has({}) and other.has(both), "the second name", 30)
    finally:
        one.close()
        other.close()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("10.9.1.2 db.web.internal db\n", "10.9.1.2 db.web.internal db\n"),
        ("192.0.2.1 db.web.internal db\n", ""),
        ("10.9.1.2 www.example.org example.com localhost db,x\n", ""),
        ("10.9.1.2 a.shop-1 www.example.org\n", "10.9.1.2 a.shop-1\n"),
        ("nonsense db\n\n#\n10.9.1.3\n", ""),
        ("10.9.1.2 db\n" * 100, "10.9.1.2 db\n" * 64),
        ("x" * 100_000, ""),
    ],
)
def test_what_another_host_says_is_checked(text: str, kept: str) -> None:
    assert checked(NETWORK, text) == kept


def test_a_network_without_names_takes_none() -> None:
    record: Any = NETWORK._replace(names=None)
    assert checked(record, "10.9.1.2 db\n") == ""
