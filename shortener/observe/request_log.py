"""The access log and the slow log: who asked for what is never in them, only routes, statuses and times.

Slow requests are warnings like any other. Access lines are many, so nobody who serves waits for them: they go into a
bounded buffer that a thread of their own writes out, and are dropped and counted when it is full.
"""

import json
import logging
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from threading import Event, Thread
from typing import TypeAlias

from shortener.config.sections import Log
from shortener.observe.histogram import Gauge
from shortener.observe.log import facts_text, is_json, timestamp

log = logging.getLogger(__name__)

WRITE_SECONDS = 0.1
WAITING_MAX = 20_000
CLOSE_SECONDS = 2.0
"""How long the end waits for a reader of standard error that does not read."""
SLOW_LINES_MAX = 10
"""Warnings a second."""
PIPE_BYTES = 4096
"""What a pipe takes in one piece (PIPE_BUF): lines of others never land inside ours."""

Write: TypeAlias = Callable[[bytes], object]
_Facts: TypeAlias = tuple[float, str, str, int | str, float, str, int | None]
"""When (Unix seconds), protocol, route, status, seconds, request id, bytes."""


class RequestLog:
    """Told of finished requests. Bound to the thread of the event loop; opened by `open_request_log`.

    `least_seconds` is how long a request must have taken to be of interest: whoever tells may leave out the others.
    """

    def __init__(self, settings: Log) -> None:
        self.slow = 0
        self.dropped = 0
        self._access = settings.access
        self._slow_seconds = settings.slow_seconds or inf
        self.least_seconds = 0.0 if settings.access else self._slow_seconds
        self._slow_since = -inf
        self._slow_lines = 0
        self.waiting: deque[_Facts] = deque()

    def add(
        self,
        protocol: str,
        route: str,
        status: int | str,
        seconds: float,
        *,
        request_id: str = "",
        size: int | None = None,
        may_be_slow: bool = True,
    ) -> None:
        """Take note of one request of "grpc", "rest" or "redirect".

        `route` is a method's path or an HTTP method and a route's pattern, never a path that somebody asked for;
        `request_id` is what the answer names, if it does; `size` the bytes of its body or message, where known.
        Something that lasts by its nature is not slow.
        """
        if seconds >= self._slow_seconds and may_be_slow:
            self.slow += 1
            self._warn(protocol, route, status, seconds, request_id)
        if not self._access:
            return
        if len(self.waiting) >= WAITING_MAX:
            self.dropped += 1
            return
        self.waiting.append((time.time(), protocol, route, status, seconds, request_id, size))

    def gauges(self) -> Iterator[Gauge]:
        """Yield what `/metrics` shows of both logs."""
        yield "shortener_slow_requests_total", "Requests that took log.slow_seconds.", {}, lambda: self.slow
        yield "shortener_access_lines_dropped_total", "Lines that found no room.", {}, lambda: self.dropped

    def _warn(self, protocol: str, route: str, status: int | str, seconds: float, request_id: str) -> None:
        now = time.monotonic()
        if now - self._slow_since >= 1.0:
            self._slow_since, self._slow_lines = now, 0
        self._slow_lines += 1
        if self._slow_lines > SLOW_LINES_MAX:
            return  # when everything is slow, `slow` tells how much; lines would make it slower
        facts = {"protocol": protocol, "route": route, "status": status, "ms": round(seconds * 1000, 3)}
        log.warning("slow request", extra=facts | ({"request_id": request_id} if request_id else {}))


OFF = RequestLog(Log(access=False, slow_seconds=0))


@contextmanager
def open_request_log(settings: Log, write: Write | None = None) -> Iterator[RequestLog]:
    """Keep a log until the block ends; 0 `slow_seconds` is never.

    Access lines go to `write`, by default standard error, from a thread that ends with the block.
    """
    requests = RequestLog(settings)
    if not settings.access:
        yield requests
        return
    done, as_json = Event(), is_json(settings.format)

    def run() -> None:
        is_over = False
        while not is_over:
            is_over = done.wait(WRITE_SECONDS)
            for lines in _pieces(requests.waiting, as_json=as_json):
                try:
                    (write or _to_stderr)(b"".join(lines))
                except OSError:  # standard error is closed or its disk full: there is nowhere to say so but the counter
                    requests.dropped += len(lines)

    thread = Thread(target=run, name="access-log", daemon=True)  # stuck in a write it ends with us
    thread.start()
    try:
        yield requests
    finally:
        done.set()
        thread.join(CLOSE_SECONDS)


def _pieces(waiting: deque[_Facts], *, as_json: bool) -> Iterator[list[bytes]]:
    """Yield the lines that wait, as many at a time as a pipe takes whole."""
    lines: list[bytes] = []
    size = 0
    while waiting:
        line = _line(waiting.popleft(), as_json=as_json)
        if lines and size + len(line) > PIPE_BYTES:
            yield lines
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield lines


def _to_stderr(data: bytes) -> None:
    descriptor = sys.stderr.fileno()
    while data:
        data = data[os.write(descriptor, data) :]


def _line(facts: _Facts, *, as_json: bool) -> bytes:
    at, protocol, route, status, seconds, request_id, size = facts
    shown: dict[str, object] = {"protocol": protocol, "route": route, "status": status, "ms": round(seconds * 1000, 3)}
    shown["request_id"] = request_id or secrets.token_hex(16)
    if size is not None:
        shown["bytes"] = size
    if not as_json:
        return f"{timestamp(at)} info    shortener.access: request{facts_text(shown)}\n".encode()
    start = {"time": timestamp(at), "level": "info", "logger": "shortener.access", "event": "request"}
    return json.dumps(start | shown, separators=(",", ":")).encode() + b"\n"
