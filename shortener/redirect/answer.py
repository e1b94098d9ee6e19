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
        lines = "".join(f"{name}: {value}\r\n" for name, value in _headers(_LOCATION_MARK, _DATE_MARK).items())
        before, self._behind = f"HTTP/1.1 {status} {self.reason}\r\n{lines}".split(_LOCATION_MARK)
        self._before = before.encode()

    def headers(self, destination: str, now: int) -> dict[str, str]:
        """Return the header fields in the order in which they are sent; `now` is in Unix seconds."""
        return _headers(destination, formatdate(now, usegmt=True))

    def around_destination(self, now: int, *, closing: bool) -> tuple[bytes, bytes]:
        """Return what stands before and behind the destination in the whole answer for HTTP/1.1.

        `closing` tells the client that the connection ends with it.
        """
        behind = self._behind.replace(_DATE_MARK, formatdate(now, usegmt=True))
        return self._before, (behind + ("Connection: close\r\n\r\n" if closing else "\r\n")).encode()


def _headers(destination: str, date: str) -> dict[str, str]:
    return {
        "Location": destination,
        "Cache-Control": CACHE_CONTROL,
        "Content-Length": "0",
        "Date": date,
        "Server": SERVER,
    }
