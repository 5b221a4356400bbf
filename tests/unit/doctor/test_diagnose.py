"""Checks over one reading of the host: how often the kernel is asked, and what a check does that cannot look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.host import Host
from cni_cnm.doctor import diagnose as module
from cni_cnm.doctor.diagnose import diagnose
from cni_cnm.doctor.finding import Finding, Unchecked
from cni_cnm.doctor.picture import Picture
from cni_cnm.errors import KernelError
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces

OF_THE_HOST = ("overlaps", "networks", "bridges", "mtu", "packet_filter", "leases", "links", "records",
               "endpoints", "duplicates")  # fmt: skip


class Counting:
    """Counts the verbs that are asked of what it stands for."""

    def __init__(self, real: Any, asked: Counter[str]) -> None:
        self._real, self._asked = real, asked

    def __getattr__(self, verb: str) -> Any:
        self._asked[verb] += 1
        return getattr(self._real, verb)


class CountingNamespaces:
    def __init__(self, real: MemoryNamespaces, asked: Counter[str]) -> None:
        self._real, self._asked = real, asked

    def host(self) -> Any:
        return Counting(self._real.host(), self._asked)

    def open(self, path: str) -> Any:
        return self._real.open(path)


def questions(folder: Path, endpoints: int) -> Counter[str]:
    """How often each verb is asked on a host with so many endpoints on one bridge, without sysctls of links."""
    namespaces, asked = MemoryNamespaces(), Counter[str]()
    host = memory_host(folder, namespaces)
    network = Controller(host).new_network("web", ipam_config={"subnet": "10.5.0.0/24"})
    for number in range(endpoints):
        namespaces.create(f"/run/netns/c{number}")
        sandbox = Controller(host).new_sandbox(f"c{number}", f"/run/netns/c{number}")
        network.create_endpoint(f"e{number}", ports=[f"{8000 + number}:80"]).join(sandbox)
    nft: Any = Counting(host.nft, asked)
    seen: Any = CountingNamespaces(namespaces, asked)
    counted = Host(host.settings, host.store, seen, lambda: nft, host.epoch)
    with Picture(counted) as picture:
        found = diagnose(picture, OF_THE_HOST)
    assert [finding.what for _, finding in found.findings] == []
    assert found.unchecked == []
    return asked


def test_questions_do_not_grow_with_endpoints(tmp_path: Path) -> None:
    """Links, addresses and routes are listed once, and so are the elements of each of our tables."""
    few, many = questions(tmp_path / "few", 2), questions(tmp_path / "many", 12)
    assert few == many
    assert [many[verb] for verb in ("links_and_ports", "all_addresses", "routes", "link", "find")] == [1, 1, 1, 0, 0]
    assert many["elements"] == 2


def test_a_check_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has found before stays, and the other checks are run."""

    def broken(picture: Picture) -> Iterator[Finding | Unchecked]:
        yield Finding("the first", "Why.", ("true",))
        raise KernelError("the kernel does not answer", 5)

    def whole(picture: Picture) -> Iterator[Finding | Unchecked]:
        yield Finding("the second", "Why.", ("true",))

    checks = {"kernel": SimpleNamespace(look=broken), "tools": SimpleNamespace(look=whole)}
    monkeypatch.setattr(module, "check_of", checks.get)
    with Picture(memory_host(tmp_path)) as picture:
        found = diagnose(picture, ("kernel", "tools"))
    assert [(name, one.what) for name, one in found.findings] == [("kernel", "the first"), ("tools", "the second")]
    assert found.unchecked == [("kernel", Unchecked("the rest of this check", "the kernel does not answer"))]


def test_two_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a host with many endpoints a child has a part of the checks."""
    namespaces = MemoryNamespaces()
    host = memory_host(tmp_path, namespaces)
    network = Controller(host).new_network("web", ipam_config={"subnet": "10.5.0.0/24"})
    for number in range(3):
        namespaces.create(f"/run/netns/c{number}")
        network.create_endpoint(f"e{number}").join(Controller(host).new_sandbox(f"c{number}", f"/run/netns/c{number}"))
    (tmp_path / "leases" / "web" / "10.5.0.2").unlink()
    found = []
    for many in (500, 1):
        monkeypatch.setattr(module, "MANY", many)
        with Picture(host) as picture:
            found.append(diagnose(picture, ("networks", "leases", "endpoints")))
    assert found[0] == found[1]
    assert [finding.about for _, finding in found[0].findings] == ["web"]
