"""Our server and its peers, each on the server's core."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from tests.bench.generators import CREATE_URL, GET_URL
from tests.bench.machine import SERVER_CORE, pinned
from tests.bench.messages import message_class
from tests.support import process

IDLE_SECONDS_MAX = 900
GET_STATS = "/analytics.AnalyticsService/GetStats"
LIST_URLS = "/url.URLService/ListURLs"


class MiscountError(Exception):
    """A click or a call was lost or doubled: the run is void."""


@dataclass(slots=True)
class Ours:
    """Our running service, with a client that is not ours."""

    running: process.Running
    channel: grpc.Channel

    def call(self, path: str, request: str, reply: str, **fields: Any) -> Any:
        unary = self.channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_class(reply).FromString,
        )
        return unary(message_class(request)(**fields), timeout=30)

    def create(self, long_url: str, owner: str = "bench") -> str:
        asked = {"long_url": long_url, "user_id": owner, "omit_qr_code": True}
        return str(self.call(CREATE_URL, "url.CreateURLRequest", "url.CreateURLResponse", **asked).short_code)

    def get(self, code: str) -> Any:
        return self.call(GET_URL, "url.GetURLRequest", "url.GetURLResponse", short_code=code)

    def stats(self, code: str, **within: int) -> Any:
        return self.call(
            GET_STATS, "analytics.GetStatsRequest", "analytics.GetStatsResponse", short_code=code, **within
        )

    def count_links(self, owner: str) -> int:
        return int(self.call(LIST_URLS, "url.ListURLsRequest", "url.ListURLsResponse", user_id=owner, limit=1).total)

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://{self.running.gateway}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def redirected(self) -> int:
        """Redirects answered since the start."""
        return int(sum(value for name, value in self.metrics().items() if name.startswith("shortener_redirects_total")))

    def calls(self, path: str) -> int:
        """gRPC calls answered OK since the start."""
        return int(self.metrics().get(f'shortener_grpc_call_seconds_count{{method="{path}",status="OK"}}', 0))

    def settle(self) -> float:
        """Wait until every click is in the database; return how long that took."""
        started = time.perf_counter()
        while time.perf_counter() - started < IDLE_SECONDS_MAX:
            now = self.metrics()
            if not now["shortener_click_backlog_bytes"] and not now["shortener_writes_waiting"]:
                return time.perf_counter() - started
            time.sleep(0.1)
        raise MiscountError("clicks are still not in the database")

    def memory(self) -> int:
        """Resident bytes."""
        text = Path(f"/proc/{self.running.process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024


@contextlib.contextmanager
def ours(data_dir: Path, *, core: int | None = SERVER_CORE, **settings: object) -> Iterator[Ours]:
    """Run our service, on one core unless that is None. Ends it without loss."""
    command = (sys.executable, "-m", "shortener", "serve")
    started = process.start(data_dir, command=tuple(pinned(core, *command)), LOG_LEVEL="warning", **settings)
    try:
        with grpc.insecure_channel(started.url) as channel:
            yield Ours(started, channel)
    finally:
        status = started.stop()
    if status:
        raise RuntimeError(started.log.read_text()[-5000:])


@contextlib.contextmanager
def python_peer(module: str, *arguments: str) -> Iterator[str]:
    """Run `tests.bench.peers.<module>` and yield its address once it accepts."""
    port = _free_port()
    command = [sys.executable, "-m", f"tests.bench.peers.{module}", str(port), *arguments]
    with _serving(command, port) as address:
        yield address


def python_figure(module: str, *arguments: str) -> float:
    """Run `tests.bench.peers.<module>` to its end and return the number that it prints."""
    command = pinned(SERVER_CORE, sys.executable, "-m", f"tests.bench.peers.{module}", *arguments)
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location / {{ return 302 {destination}; }} }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, destination: str) -> Iterator[str]:
    """Run nginx with one worker that answers everything with a 302."""
    port = _free_port()
    settings = folder / "nginx.conf"
    settings.write_text(NGINX.format(folder=folder, port=port, destination=destination))
    command = ["nginx", "-c", str(settings), "-p", str(folder), "-e", str(folder / "error.log")]
    with _serving(command, port) as address:
        yield address


@contextlib.contextmanager
def _serving(command: list[str], port: int) -> Iterator[str]:
    running = subprocess.Popen(pinned(SERVER_CORE, *command))
    try:
        for _ in range(200):
            if running.poll() is not None:
                raise RuntimeError(f"{command} ended with {running.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def as_json(link: Any) -> str:
    """A URL message as JSON, for peers that are to answer the same."""
    return json.dumps({field.name: getattr(link, field.name) for field in link.DESCRIPTOR.fields})
