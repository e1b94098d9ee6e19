"""What an operator watches, as Prometheus metrics.

The modules count with plain numbers; they are read when somebody asks, so that counting costs the hot paths nothing.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shortener.observe.histogram import FAST_SECONDS, Calls, Gauge, Histogram
from shortener.version import __version__


def _family(calls: Calls) -> Metric:
    family = HistogramMetricFamily(calls.name, calls.meaning, labels=calls.labels)
    for key, histogram in list(calls.histograms.items()):
        family.add_metric(key, histogram.buckets(), histogram.total)
    return family


class Metrics(Collector):
    """Everything this process tells. `watch` adds gauges; `registry` is what `/metrics` renders."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rpc = Calls("shortener_grpc_call_seconds", "gRPC calls.", ("method", "status"))
        self.http = Calls("shortener_http_request_seconds", "Requests to the gateway.", ("route", "status"))
        self.redirect = Calls(
            "shortener_redirect_seconds",
            "Requests to the redirect server, by who answered: the lane (fast) or aiohttp (slow).",
            ("lane", "status"),
            FAST_SECONDS,
        )
        self._gauges: list[Gauge] = []
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.registry.register(self)

    def watch(self, gauges: Iterable[Gauge]) -> None:
        """Show these too, from now on."""
        self._gauges += gauges

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        info = GaugeMetricFamily("shortener_info", "The running version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield from map(_family, (self.rpc, self.http, self.redirect))
        families: dict[str, Metric] = {}
        for name, meaning, labels, read in self._gauges:
            if isinstance(read, Histogram):
                yield HistogramMetricFamily(name, meaning, buckets=read.buckets(), sum_value=read.total)
                continue
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = families.setdefault(name, kind(name, meaning))
            family.add_sample(name, labels, read())
        yield from families.values()
