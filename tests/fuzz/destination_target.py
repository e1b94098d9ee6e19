"""Destinations: a link leads to a plain ASCII URL with a host, never to ourselves; all else is refused by its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from shortener import errors
from shortener.links.destination import LENGTH_MAX, parse_destination
from shortener.links.model import is_plain
from tests.fuzz.targets import Check
from tests.support.link_builders import some_addresses


@contextmanager
def target() -> Iterator[Check]:
    own = some_addresses("http://localhost:8081", 8081)

    def check(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        kept, refused = None, ""
        try:
            kept = parse_destination(text, own)
        except errors.Invalid as error:
            refused = error.field
        if kept is None:
            assert refused == "long_url"
            return
        assert 0 < len(kept) <= LENGTH_MAX
        assert kept.isascii()
        assert kept.isprintable()
        assert not set(kept) & set(' "<>\\^`{|}')
        assert is_plain(kept)
        assert parse_destination(kept, own) == kept
        parts = urlsplit(kept.lower())  # it refuses the "V" of an IP literal, which RFC 3986 allows
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        assert parts.username is None
        port = parts.port  # raises for what is none
        assert parts.hostname != "localhost" or port != 8081

    yield check
