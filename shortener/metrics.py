"""What an operator watches, as Prometheus metrics.

The modules count with plain numbers; they are read when somebody asks, so that counting costs the hot paths nothing.
"""

import bisect
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from grpclib.const import Status
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shortener import __version__

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
Reading: TypeAlias = tuple[str, str, dict[str, str], Callable[[], float]]
"""Name (counters end in _total), meaning, labels, and how to read it."""


class Calls:
    """Counts calls by method and status, and how long they took."""

    def __init__(self, name: str, meaning: str, labels: tuple[str, str]) -> None:
        self._name = name
        self._meaning = meaning
        self._labels = labels
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str], float] = {}

    def observe(self, method: str, status: str, seconds: float) -> None:
        """Add one call. Costs about a microsecond."""
        key = (method, status)
        try:
            self._buckets[key][bisect.bisect_left(SECONDS, seconds)] += 1
            self._seconds[key] += seconds
        except KeyError:
            self._buckets[key] = [0] * (len(SECONDS) + 1)
            self._seconds[key] = 0.0
            self.observe(method, status, seconds)

    def observe_rpc(self, path: str, status: Status, seconds: float) -> None:
        """Add one gRPC call."""
        self.observe(path, status.name, seconds)

    def observe_http(self, route: str, status: int, seconds: float) -> None:
        """Add one HTTP request."""
        self.observe(route, str(status), seconds)

    def family(self) -> Metric:
        """Return all of it as one histogram."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        bounds = [*map(str, SECONDS), "+Inf"]
        for key, counts in list(self._buckets.items()):
            sums = [sum(counts[: index + 1]) for index in range(len(counts))]
            family.add_metric(key, list(zip(bounds, sums, strict=True)), self._seconds[key])
        return family


class Metrics(Collector):
    """Everything this process tells. `watch` adds readings; `registry` is what `/metrics` renders."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rpc = Calls("shortener_grpc_call_seconds", "gRPC calls.", ("method", "status"))
        self.http = Calls("shortener_http_request_seconds", "Requests to the gateway.", ("route", "status"))
        self._readings: list[Reading] = []
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.registry.register(self)

    def watch(self, readings: Iterable[Reading]) -> None:
        """Read these too, from now on."""
        self._readings += readings

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        info = GaugeMetricFamily("shortener_info", "The running version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield self.rpc.family()
        yield self.http.family()
        families: dict[str, Metric] = {}
        for name, meaning, labels, read in self._readings:
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = families.setdefault(name, kind(name, meaning))
            family.add_sample(name, labels, read())
        yield from families.values()
