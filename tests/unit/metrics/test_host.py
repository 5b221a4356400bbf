"""All metrics: what they say, their form by the format's own parsers, and that their number is bounded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from cni_cnm import ipam
from cni_cnm.cluster import status_file
from cni_cnm.cluster.status_file import AgentStatus, NetworkStatus, StoreStatus
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import CnmError
from cni_cnm.frontend.reply import Reply, Subject
from cni_cnm.metrics import encoding, requests
from cni_cnm.metrics.host import HostMetrics
from cni_cnm.model import EndpointSpec, IpamSpec, NetworkSpec
from cni_cnm.service.counters import Counters
from cni_cnm.service.request_counts import BOUNDS, NETWORKS_MAX, OTHER, RequestCounts
from cni_cnm.state import record_reader
from cni_cnm.state.store import ENDPOINTS, NETWORKS
from tests.memory_kernel.nft import MemoryNft
from tests.unit.drivers.world import World

NET = NetworkSpec(
    "net",
    "bridge",
    {"profile": "cnm", "labels": {"com.docker.network.bridge.name": "br9"}},
    IpamSpec("host-local", {"subnet": "10.9.0.0/29"}),
)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def counted() -> Counters:
    counters = Counters(2)
    counts, other = RequestCounts(counters.part(0)), RequestCounts(counters.part(1))
    counts.request(Reply(0, b"", "", "", Subject("ADD", "net")), 0.003, [("parse", 0.001), ("engine", 0.002)])
    other.request(Reply(0, b"", "", "", Subject("ADD", "net")), 30.0, [("parse", 0.001), ("engine", 29.0)])
    counts.request(Reply(1, b"", "", "", Subject("ADD", "net"), 11), 0.5, [])
    counts.request(Reply(0, b"", "", "", Subject("VERSION")), 0.5, [])
    counts.request(Reply(1, b"", "", "", Subject("FLY", "net"), 4), 0.5, [])
    counts.note("docker: NetworkDriver.Join NetworkID=ab ok", 4.0)
    counts.note("docker: NetworkDriver.Join NetworkID=ab failed: it is not ok, said", 4.0)
    counts.note("docker: a connection failed: OSError", 0.0)
    other.note("REPAIR the network net: br9 is down; put right", 3.0)
    other.note("REPAIR failed the network net: br9 is down; this was not repaired: no", 3.0)
    other.note("NOTICE an overlap", 3.0)
    other.note("CLUSTER a line", 3.0)
    return counters


@pytest.fixture
def families(tmp_path: Path) -> list[Metric]:
    world = World(tmp_path)
    for container in "ab":
        world.controller.attach(NET, EndpointSpec(container, "eth0", f"/netns/{container}", "test"))
    world.engine.settings = world.engine.settings._replace(cluster=ClusterSettings("etcd", ("http://[::1]:1",)))
    network = NetworkStatus("ab", True, "", 2, ("10.32.0.0/24",))
    store = StoreStatus("etcd", True, 1.0)
    status = AgentStatus(1, "n1", "i", (), 1500, store, "", ("one",), {"web": network}, {"hosts": 3, "silent_hosts": 1})
    status_file.write(world.engine.settings.run_dir, status)
    return [*requests.families(counted().read(), BOUNDS), *HostMetrics().families(world.engine)]


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    parse = openmetrics if text.endswith("# EOF\n") else prometheus
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("accept", [OPENMETRICS, "text/plain", "", "*/*"])
def test_both_forms_are_understood_by_their_parsers(families: list[Metric], accept: str) -> None:
    text, kind = encoding.encode(families, accept)
    assert kind.startswith("application/openmetrics-text" if accept == OPENMETRICS else "text/plain")
    found = samples(text.decode())
    wanted: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("cni_cnm_requests_total", (("code", "0"), ("network", "net"), ("verb", "ADD"))): 2,
        ("cni_cnm_requests_total", (("code", "11"), ("network", "net"), ("verb", "ADD"))): 1,
        ("cni_cnm_requests_total", (("code", "4"), ("network", "net"), ("verb", OTHER))): 1,
        ("cni_cnm_request_seconds_bucket", (("le", "0.004"), ("step", "total"), ("verb", "ADD"))): 1,
        ("cni_cnm_request_seconds_bucket", (("le", "20.0"), ("step", "total"), ("verb", "ADD"))): 2,
        ("cni_cnm_request_seconds_bucket", (("le", "+Inf"), ("step", "total"), ("verb", "ADD"))): 3,
        ("cni_cnm_request_seconds_count", (("step", "engine"), ("verb", "ADD"))): 2,
        ("cni_cnm_request_seconds_sum", (("step", "engine"), ("verb", "ADD"))): 29.002,
        ("cni_cnm_docker_calls_total", (("call", "NetworkDriver.Join"), ("result", "ok"))): 1,
        ("cni_cnm_docker_calls_total", (("call", "NetworkDriver.Join"), ("result", "failed"))): 1,
        ("cni_cnm_docker_call_seconds_total", (("call", "NetworkDriver.Join"),)): 0.008,
        ("cni_cnm_repairs_total", (("result", "repaired"),)): 1,
        ("cni_cnm_repairs_total", (("result", "failed"),)): 1,
        ("cni_cnm_repairs_total", (("result", "noted"),)): 1,
        ("cni_cnm_networks", (("driver", "bridge"),)): 1,
        ("cni_cnm_endpoints", (("driver", "bridge"), ("network", "net"))): 2,
        ("cni_cnm_pool_addresses", (("network", "net"),)): 5,
        ("cni_cnm_pool_addresses_free", (("network", "net"),)): 3,
        ("cni_cnm_cluster_store_reachable", ()): 1,
        ("cni_cnm_cluster_hosts", ()): 3,
        ("cni_cnm_cluster_network_ready", (("network", "web"),)): 1,
        ("cni_cnm_cluster_blocks_taken", (("network", "web"),)): 1,
        ("cni_cnm_unread_parts", ()): 0,
    }
    assert {key: found.get(key) for key in wanted} == wanted
    assert not any(math.isnan(value) for value in found.values())
    assert all(name.startswith("cni_cnm_") for name, _ in found)


def test_no_two_names_are_one_series(families: list[Metric]) -> None:
    """With and without the endings that the formats add."""
    endings = ("", "_total", "_created", "_bucket", "_count", "_sum", "_info")
    names = [f"{family.name}{ending}" for family in families for ending in endings]
    doubled = {name for name in names if names.count(name) > 1}
    assert not doubled


def test_labels_are_of_few_words(families: list[Metric]) -> None:
    """Never a pod, a container or an address."""
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels <= {
        *("verb", "network", "code", "driver", "reason", "step", "le", "call", "result", "process", "version")
    }


def test_the_number_of_networks_is_bounded() -> None:
    counters = Counters(1)
    counts = RequestCounts(counters.part(0))
    for number in range(NETWORKS_MAX + 50):
        counts.request(Reply(0, b"", "", "", Subject("DEL", f"net{number}")), 0.1, [])
    networks = [key[2] for key in counters.read() if key[0] == "request"]
    assert len(networks) == NETWORKS_MAX + 1
    assert counters.read()["request", "DEL", OTHER, "0"] == 50


def test_what_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape has the rest, and says how much is missing."""
    world = World(tmp_path)

    def refused(*_: object) -> None:
        from cni_cnm.errors import KernelError

        raise KernelError("refused", 1)

    monkeypatch.setattr(MemoryNft, "counters", refused)
    found = samples(encoding.encode(HostMetrics().families(world.engine), "")[0].decode())
    assert found["cni_cnm_unread_parts", ()] == 1
    assert ("cni_cnm_build_info", (("version", "0.2.0"),)) in found


def test_damaged_records_are_counted(tmp_path: Path) -> None:
    """Of a network, which two parts read, and of an endpoint: each at every scrape, until it is repaired."""
    world, metrics = World(tmp_path), HostMetrics()
    world.controller.attach(NET, EndpointSpec("a", "eth0", "/netns/a", "test"))
    for kind in (NETWORKS, ENDPOINTS):
        world.engine.store.put(kind, "damaged", {"name": 7})
    for _ in range(2):
        found = samples(encoding.encode(metrics.families(world.engine), "")[0].decode())
        assert found["cni_cnm_unread_parts", ()] == 2
        assert found["cni_cnm_networks", (("driver", "bridge"),)] == 1
    assert record_reader.take_notes() == []


def test_one_pool_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the other networks are shown."""
    world = World(tmp_path)
    for name, subnet in (("net", "10.9.0.0/29"), ("other", "10.8.0.0/29")):
        world.controller.new_network(name, ipam_config={"subnet": subnet})
    real = ipam.configure

    def configure(name: str, *rest: Any) -> Any:
        if name == "net":
            raise CnmError("no")
        return real(name, *rest)

    monkeypatch.setattr(ipam, "configure", configure)
    found = samples(encoding.encode(HostMetrics().families(world.engine), "")[0].decode())
    assert found["cni_cnm_unread_parts", ()] == 1
    assert found["cni_cnm_pool_addresses", (("network", "other"),)] == 5
    assert ("cni_cnm_pool_addresses", (("network", "net"),)) not in found


def test_an_endpoint_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, metrics = World(tmp_path), HostMetrics()
    spec = EndpointSpec("a", "eth0", "/netns/a", "test")
    world.controller.attach(NET, spec)
    key = ("cni_cnm_endpoints", (("driver", "bridge"), ("network", "net")))
    assert samples(encoding.encode(metrics.families(world.engine), "")[0].decode())[key] == 1
    monkeypatch.setattr("cni_cnm.metrics.host.load_endpoint", None)
    assert samples(encoding.encode(metrics.families(world.engine), "")[0].decode())[key] == 1
    world.detach(NET)
    assert key not in samples(encoding.encode(metrics.families(world.engine), "")[0].decode())
