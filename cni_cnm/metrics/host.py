"""The host as it is now: networks, endpoints, addresses, drops, and the cluster, as families of metrics."""

from __future__ import annotations

from collections import Counter

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from cni_cnm import __version__
from cni_cnm.cluster import status_file
from cni_cnm.cnm.records import load_endpoint, network_records
from cni_cnm.errors import CnmError, DamagedRecord
from cni_cnm.find import pools
from cni_cnm.firewall import TABLES, UNDERLAY
from cni_cnm.firewall.drop_reasons import REASONS
from cni_cnm.state import record_reader
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client.core import Metric

    from cni_cnm.cluster.status_file import AgentStatus
    from cni_cnm.cnm.host import Host


class HostMetrics:
    """Families of metrics of one host. Used by one thread at a time."""

    def __init__(self) -> None:
        self._endpoints: dict[str, tuple[str, str]] = {}
        """Network and driver of each endpoint, which do not change: a record is read once."""

    def families(self, host: Host) -> Iterator[Metric]:
        """What cannot be read is left out, and counted: a scrape never fails."""
        build = InfoMetricFamily("cni_cnm_build", "The version of the service.")
        build.add_metric([], {"version": __version__})
        yield build
        failed = 0
        record_reader.take_notes()
        for part in (_networks, self._endpoints_now, _pools, _drops, _cluster):
            try:
                yield from part(host)
            except CnmError:
                failed += 1
        unread = _gauge("unread_parts", "Parts of these metrics and records that could not be read just now.")
        unread.add_metric([], failed + len(record_reader.take_notes()))
        yield unread

    def _endpoints_now(self, host: Host) -> Iterator[Metric]:
        before, self._endpoints = self._endpoints, {}
        for key in host.store.names(ENDPOINTS):
            found = before.get(key) or _labels(host, key)
            if found is not None:
                self._endpoints[key] = found
        endpoints = _gauge("endpoints", "Endpoints of this host.", ("network", "driver"))
        for labels, count in sorted(Counter(self._endpoints.values()).items()):
            endpoints.add_metric(labels, count)
        yield endpoints


def _labels(host: Host, key: str) -> tuple[str, str] | None:
    try:
        record = load_endpoint(host.store, key)
    except DamagedRecord as error:
        record_reader.note(error)
        return None
    return (record.network, record.driver) if record is not None and record.epoch == host.epoch else None


def _networks(host: Host) -> Iterator[Metric]:
    networks = _gauge("networks", "Networks of this host.", ("driver",))
    for driver, count in sorted(Counter(record.driver for record in network_records(host.store)).items()):
        networks.add_metric([driver], count)
    yield networks


def _pools(host: Host) -> Iterator[Metric]:
    """Of networks whose addresses this program gives. An endpoint of two IP versions needs an address of each.

    CnmError after those that can be read, if one cannot.
    """
    size = _gauge("pool_addresses", "Endpoints that the network's ranges are enough for on this host.", ("network",))
    free = _gauge("pool_addresses_free", "Endpoints that they are still enough for.", ("network",))
    refused: list[CnmError] = []
    for record in network_records(host.store):
        try:
            usage = pools.usage(host, record)
        except CnmError as error:
            refused.append(error)
        else:
            if usage is not None:
                size.add_metric([record.name], usage.capacity)
                free.add_metric([record.name], usage.free)
    yield from (size, free)
    if refused:
        raise refused[0]


def _drops(host: Host) -> Iterator[Metric]:
    packets = CounterMetricFamily("cni_cnm_dropped_packets", "Packets that our rules dropped.", labels=("reason",))
    counted: Counter[str] = Counter()
    for one in host.nft.counters((*TABLES, UNDERLAY)):
        if one.name in REASONS:
            counted[one.name] += one.packets
    for name, count in sorted(counted.items()):
        packets.add_metric([name], count)
    yield packets


def _cluster(host: Host) -> Iterator[Metric]:
    """What the agent says. Without a cluster there are none of these, and without an agent `up` is 0."""
    if host.settings.cluster is None:
        return
    status = status_file.read(host.settings.run_dir)
    up = _gauge("cluster_agent_up", "1 if the agent of the cluster runs.")
    up.add_metric([], float(status is not None))
    yield up
    if status is not None:
        yield from _agent(status)


def _agent(status: AgentStatus) -> Iterator[Metric]:
    values: list[tuple[str, str, Callable[[], float]]] = [
        ("cluster_store_reachable", "1 if the store of the cluster answers.", lambda: status.store.reachable),
        ("cluster_conflict", "1 if this host must give no addresses.", lambda: bool(status.conflict)),
        ("cluster_warnings", "Sentences that the agent has for the administrator.", lambda: len(status.warnings)),
        *(
            (f"cluster_{name}", f"The agent's figure {name} (docs/cluster.md).", lambda name=name: status.figures[name])
            for name in status.figures
        ),
    ]
    for name, text, value in values:
        gauge = _gauge(name, text)
        gauge.add_metric([], float(value()))
        yield gauge
    ready = _gauge("cluster_network_ready", "1 if the way to the other hosts stands.", ("network",))
    lost = _gauge("cluster_blocks_taken", "Blocks of this host that another host has now.", ("network",))
    for name, network in status.networks.items():
        ready.add_metric([name], float(network.ready))
        lost.add_metric([name], len(network.lost))
    yield from (ready, lost)


def _gauge(name: str, text: str, labels: Sequence[str] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"cni_cnm_{name}", text, labels=labels)
