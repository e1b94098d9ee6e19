"""Reads `/metrics` as samples, and sends HTTP requests to one listener over one connection."""

import http.client
import json

from prometheus_client.parser import text_string_to_metric_families

from tests.support.process import Running

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
RPC = "shortener_grpc_call_seconds"
HTTP = "shortener_http_request_seconds"


def parse(text: str) -> Samples:
    """All samples by name and labels; a name with labels may come once only."""
    samples: Samples = {}
    names = set()
    for family in text_string_to_metric_families(text):
        assert family.name not in names, family.name
        assert family.documentation, family.name
        names.add(family.name)
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, key
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


class Site:
    """HTTP with one of the server's listeners, over one connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=10)

    def ask(
        self, method: str, path: str, body: object = None, *, token: str = "", accept: str = "*/*"
    ) -> tuple[int, bytes]:
        headers = {"Accept": accept} | ({"Authorization": f"Bearer {token}"} if token else {})
        content = None if body is None else json.dumps(body)
        if content is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(method, path, content, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


def metrics(server: Running) -> Samples:
    site = Site(server.gateway)
    status, text = site.ask("GET", "/metrics")
    site.close()
    assert status == 200
    return parse(text.decode())
