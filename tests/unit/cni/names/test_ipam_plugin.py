"""`host-local` and `static` for the interface of another plugin: leases without a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.reconcile.reconcile import reconcile
from tests.unit.cni.names.runtime import BRIDGE, IPAM, Runtime

HOST_LOCAL = {"type": "host-local", "ipam": IPAM}
STATIC: dict[str, Any] = {
    "type": "static",
    "ipam": {"type": "static", "addresses": [{"address": "10.1.0.9/24", "gateway": "10.1.0.1"}]},
}


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    made = Runtime(tmp_path, (HOST_LOCAL, STATIC, BRIDGE))
    made.namespaces.create("/netns/c1")
    return made


def leases(runtime: Runtime) -> list[str]:
    return sorted(path.name for path in (runtime.folder / "leases" / "net").glob("10.*"))


def test_the_result_has_no_interface(runtime: Runtime) -> None:
    assert runtime.call("ADD", 0) == {
        "cniVersion": "1.1.0",
        "ips": [{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    assert runtime.call("ADD", 1)["ips"] == [{"address": "10.1.0.9/24", "gateway": "10.1.0.1"}]


def test_a_lease_without_a_record_stays(runtime: Runtime) -> None:
    """Neither the reconciliation nor GC takes it. A second ADD is refused, DEL releases it, and again."""
    previous = runtime.call("ADD", 0)
    reconcile(runtime.host)
    nothing: dict[str, Any] = {"cni.dev/valid-attachments": []}
    assert runtime.call("GC", 0, **nothing) == {}
    assert leases(runtime) == ["10.1.0.2"]
    assert runtime.call("CHECK", 0, previous=previous) == {}
    assert runtime.call("ADD", 0)["code"] == 999
    assert [runtime.call("DEL", 0, netns="") for _ in range(2)] == [{}, {}]
    assert leases(runtime) == []
    assert "is leased to no container" in runtime.call("CHECK", 0, previous=previous)["msg"]


def test_addresses_of_an_endpoint_are_released_with_it(runtime: Runtime) -> None:
    """The interface still has them when `host-local` is called for it."""
    runtime.call("ADD", 2)
    assert runtime.call("DEL", 0) == {}
    assert leases(runtime) == ["10.1.0.2"]
    runtime.call("DEL", 2)
    assert leases(runtime) == []


def test_the_namespace_need_not_be_there(runtime: Runtime) -> None:
    """As with the reference: an interface plugin may ask before it is made, or for something that has none."""
    assert "code" not in runtime.call("ADD", 0, netns="/netns/later")
    assert leases(runtime) == ["10.1.0.2"]
    runtime.namespaces._spaces["/netns/host"] = runtime.namespaces._host
    assert runtime.call("ADD", 0, "c2", netns="/netns/host")["code"] == 8


def test_a_del_of_static_reads_nothing(runtime: Runtime) -> None:
    runtime.plugins = ({"type": "static", "ipam": {"addresses": [{"address": "x"}]}}, {"type": "static"})
    assert [runtime.call("DEL", index) for index in (0, 1)] == [{}, {}]


def test_without_ipam(runtime: Runtime) -> None:
    runtime.plugins = ({"type": "host-local"},)
    answer = runtime.call("ADD", 0)
    assert (answer["code"], answer["msg"]) == (999, "IPAM config missing 'ipam' key")
