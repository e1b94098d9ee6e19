"""What an operator watches, as Prometheus metrics.

The modules count with plain numbers; they are read when somebody asks, so that counting costs the hot paths nothing.
"""

from collections.abc import Iterable, Iterator, Sequence

from grpclib.const import Status
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shortener.observe.histogram import FAST_SECONDS, SECONDS, Gauge, Histogram
from shortener.version import __version__


class Calls:
    """Counts calls by method and status, and how long they took."""

    def __init__(self, name: str, meaning: str, labels: tuple[str, str], bounds: Sequence[float] = SECONDS) -> None:
        self._name = name
        self._meaning = meaning
        self._labels = labels
        self._bounds = bounds
        self._histograms: dict[tuple[str, str], Histogram] = {}

    def observe(self, method: str, status: str, seconds: float, times: int = 1) -> None:
        """Add one call, or several that took as long. Costs half a microsecond."""
        histogram = self._histograms.get((method, status))
        if histogram is None:
            histogram = self._histograms[method, status] = Histogram(self._bounds)
        histogram.observe(seconds, times)

    def observe_rpc(self, path: str, status: Status, seconds: float) -> None:
        """Add one gRPC call."""
        self.observe(path, status.name, seconds)

    def observe_http(self, route: str, status: int, seconds: float) -> None:
        """Add one HTTP request."""
        self.observe(route, str(status), seconds)

    def family(self) -> Metric:
        """Return all of it as one histogram."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        for key, histogram in list(self._histograms.items()):
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
        yield self.rpc.family()
        yield self.http.family()
        yield self.redirect.family()
        families: dict[str, Metric] = {}
        for name, meaning, labels, read in self._gauges:
            if isinstance(read, Histogram):
                yield HistogramMetricFamily(name, meaning, buckets=read.buckets(), sum_value=read.total)
                continue
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = families.setdefault(name, kind(name, meaning))
            family.add_sample(name, labels, read())
        yield from families.values()
