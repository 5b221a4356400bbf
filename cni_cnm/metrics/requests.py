"""What the processes of the service have counted (service/request_counts.py), as families of metrics."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    Counts = Mapping[tuple[str, ...], float]


def families(counts: Counts, bounds: Sequence[str]) -> Iterator[Metric]:
    """`bounds`: of the histograms, in order, with "+Inf" as the last one."""
    yield _counter(
        counts, "request", "requests", "Requests of runtimes, by the code of their error; 0 is success.",
        ("verb", "network", "code"),
    )  # fmt: skip
    yield _times(counts, bounds)
    yield _counter(counts, "docker", "docker_calls", "Calls of Docker.", ("call", "result"))
    yield _counter(counts, "docker_sum", "docker_call_seconds", "Time of Docker's calls.", ("call",))
    yield _counter(
        counts, "repair", "repairs", "Differences between the host and the records that the service has found.",
        ("result",),
    )  # fmt: skip
    yield _counter(
        counts, "restart", "process_restarts", "Processes of the service that ended by themselves.", ("process",)
    )
    lost = CounterMetricFamily("cni_cnm_uncounted", "Counts that had no place: these metrics are too low.")
    lost.add_metric([], counts.get(("lost",), 0.0))
    yield lost


def _counter(counts: Counts, key: str, name: str, text: str, labels: Sequence[str]) -> Metric:
    family = CounterMetricFamily(f"cni_cnm_{name}", text, labels=labels)
    for (first, *values), count in sorted(counts.items()):
        if first == key:
            family.add_metric(values, count)
    return family


def _times(counts: Counts, bounds: Sequence[str]) -> Metric:
    """Bounds are cumulative in Prometheus' form: each has all that is below it."""
    family = HistogramMetricFamily(
        "cni_cnm_request_seconds", "Time of requests: in total, and of each step.", labels=("verb", "step")
    )
    for (first, *values), seconds in sorted(counts.items()):
        if first != "sum":
            continue
        buckets, total = [], 0.0
        for bound in bounds:
            total += counts.get(("time", *values, bound), 0.0)
            buckets.append((bound, total))
        family.add_metric(values, buckets, seconds)
    return family
