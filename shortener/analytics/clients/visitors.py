"""Visitors: keyed digests of client addresses, so that people can be counted and no address is kept.

A digest is HMAC-SHA256 over the normalised address, cut to 16 bytes. The key is made once and kept in a private
file; who has both the key and the database can test whether an address is among the visitors, so the key file is
worth as much as the addresses.

With daily rotation every UTC day has a key of its own, and yesterday's is overwritten: not even the operator can then
link two days. The price: one person who clicks on three days is three visitors in a range that covers them, and a
restart in mid-day keeps counting right because the day's key is on disk until the day ends.
"""

import hmac
import logging
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias

from shortener import errors
from shortener.analytics.model import VISITOR_SIZE, Address
from shortener.clock import Clock
from shortener.errors import OperatorError
from shortener.net.addresses import find_address
from shortener.storage import files

_log = logging.getLogger(__name__)

FOR_EVER: Final = 1 << 62

_KEY_SIZE = 32
_DAY = 86_400

Rotation: TypeAlias = Literal["never", "daily"]


def parse_address(text: str) -> Address | None:
    """Return the client address, None for an empty text.

    IPv4 in IPv6 (`::ffff:192.0.2.1`) becomes IPv4 and a zone (`fe80::1%eth0`) is dropped, so that one client is one
    value in every spelling. Raises `errors.Invalid` (field `ip_address`) for anything that is no address.
    """
    if not text:
        return None
    address = find_address(text)
    if address is None:
        raise errors.Invalid("ip_address must be an IPv4 or IPv6 address", field="ip_address")
    return address


def visitor_digest(key: bytes, address: Address) -> bytes:
    """Return the 16 bytes that stand for an address under this key."""
    return hmac.digest(key, address.packed, "sha256")[:VISITOR_SIZE]


class Visitors:
    """Knows visitors by the key of the day. Open it with `open_visitors`."""

    def __init__(self, path: Path, rotation: Rotation, key: bytes, day: int) -> None:
        self._path = path
        self._rotation = rotation
        self._key = key
        self.key_until = _until(rotation, day)
        """Unix seconds from which on the key is another one, and remembered digests are void."""

    def identify(self, address: Address, now: int) -> bytes:
        """Return the digest of an address, under the key of `now`."""
        self.renew(now)
        return visitor_digest(self._key, address)

    def renew(self, now: int) -> None:
        """Take the key of the day, if the last one's day is over; that one is then forgotten. Never raises."""
        if now < self.key_until:
            return
        day = now // _DAY
        self._key = secrets.token_bytes(_KEY_SIZE)
        self.key_until = _until(self._rotation, day)
        try:
            files.replace(self._path, _text(self._rotation, self._key, day))
        except OSError as error:
            # Counting goes on; only a restart before the day ends would begin with yet another key.
            _log.warning("the visitor key of the day cannot be kept: %s", error.strerror)
            with suppress(OSError):
                self._path.unlink(missing_ok=True)  # Yesterday's key is to be forgotten all the same.


def open_visitors(path: Path, *, rotation: Rotation, clock: Clock) -> Visitors:
    """Read the key file at `path`, or make one (mode 0600) when there is none or its day is over.

    Raises `OperatorError` when the file cannot be read, made or understood: a new key would make all
    known visitors new ones, so that is left to the operator.
    """
    day = clock() // _DAY if rotation == "daily" else 0
    try:
        kept = _read(path)
        if kept is None or kept[0] != rotation or (rotation == "daily" and kept[2] != day):
            kept = (rotation, secrets.token_bytes(_KEY_SIZE), day)
            files.replace(path, _text(*kept))
            files.sync_directory(path.parent)
    except OSError as error:
        raise OperatorError(f"cannot use visitor key {path}: {error.strerror}") from None
    return Visitors(path, rotation, kept[1], day)


def _until(rotation: Rotation, day: int) -> int:
    return (day + 1) * _DAY if rotation == "daily" else FOR_EVER


def _read(path: Path) -> tuple[str, bytes, int] | None:
    """Return rotation, key and day (0: none) from a key file; None when there is none."""
    try:
        kept = parse_key(path, path.read_bytes())
    except FileNotFoundError:
        return None
    path.chmod(0o600)
    return kept


def parse_key(path: Path, text: bytes) -> tuple[str, bytes, int]:
    """Return rotation, key and day (0: none) from the text of the key file at `path`. Raises `OperatorError`."""
    try:
        rotation, day, digits = (word.decode("ascii") for word in text.split())
        kept = rotation, bytes.fromhex(digits), int(day)
    except ValueError:
        raise OperatorError(
            f"cannot use visitor key {path}: it is damaged; restore it, or remove it to begin anew"
        ) from None
    if len(kept[1]) != _KEY_SIZE:
        raise OperatorError(f"cannot use visitor key {path}: it must hold {_KEY_SIZE} bytes")
    return kept


def _text(rotation: str, key: bytes, day: int) -> bytes:
    return f"{rotation} {day} {key.hex()}\n".encode()
