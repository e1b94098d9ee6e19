"""What a redirect answer is. The lane and the handler both get it here, so that they cannot differ."""

from email.utils import formatdate
from http import HTTPStatus

SERVER = "shortener"
CACHE_CONTROL = "private, max-age=0"
STATUSES = (301, 302, 303, 307, 308)

_LOCATION_MARK = "<location>"
_DATE_MARK = "<date>"


class RedirectAnswer:
    """Makes redirect answers of one status: as headers for aiohttp, as bytes for the lane."""

    def __init__(self, status: int) -> None:
        if status not in STATUSES:
            raise ValueError(f"status must be one of {STATUSES}, not {status}")
        self.status = status
        self.reason = HTTPStatus(status).phrase
        self._second = -1
        self._date = ""
        lines = "".join(f"{name}: {value}\r\n" for name, value in _headers(_LOCATION_MARK, _DATE_MARK).items())
        before, rest = f"HTTP/1.1 {status} {self.reason}\r\n{lines}".split(_LOCATION_MARK)
        between, after = rest.split(_DATE_MARK)
        self._before, self._between, self._after = before.encode(), between.encode(), after.encode()
        self._tail = b""
        self._closing_tail = b""

    def headers(self, destination: str, now: int) -> dict[str, str]:
        """Return the header fields in the order in which they are sent; `now` is in Unix seconds."""
        self._at(now)
        return _headers(destination, self._date)

    def encode(self, destination: str, now: int, *, closing: bool) -> bytes:
        """Return the whole answer for HTTP/1.1; `closing` tells the client that the connection ends with it."""
        if now != self._second:
            self._at(now)
        return self._before + destination.encode("ascii") + (self._closing_tail if closing else self._tail)

    def _at(self, now: int) -> None:
        if now == self._second:
            return
        self._second = now
        self._date = formatdate(now, usegmt=True)
        end = self._between + self._date.encode() + self._after
        self._tail = end + b"\r\n"
        self._closing_tail = end + b"Connection: close\r\n\r\n"


def _headers(destination: str, date: str) -> dict[str, str]:
    return {
        "Location": destination,
        "Cache-Control": CACHE_CONTROL,
        "Content-Length": "0",
        "Date": date,
        "Server": SERVER,
    }
