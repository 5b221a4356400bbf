"""Families of metrics as text: OpenMetrics, or Prometheus' older form, as the scraper requests it."""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.core import Metric


class _Families(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def encode(families: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """The text and its content type, for what the header Accept says."""
    found = list(families)
    registry = CollectorRegistry()
    registry.register(_Families(lambda: found))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type
