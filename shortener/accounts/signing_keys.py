"""The secret that signs tokens: where it is kept, how it is made, what is accepted."""

import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joserfc.jwk import OctKey

from shortener.config.sections import Auth
from shortener.errors import OperatorError
from shortener.storage import files

_log = logging.getLogger(__name__)

KEY_LENGTH_MIN = 32
"""Bytes of one key at least: what HMAC-SHA256 gives (RFC 7518 section 3.2)."""
KEYS_MAX = 100
SECRET_SIZE_MAX = 65_536


def load_keys(auth: Auth, data_dir: Path) -> tuple[bytes, ...]:
    """Return the signing keys, the first of which signs: those of `secret`, else of `secret_file`, else our own.

    Our own is the file `secret` in the data directory, made at the first start; the caller owns that directory.
    Waits for the disk. Raises `OperatorError`.
    """
    if auth.secret:
        return parse_keys(os.fsencode(auth.secret), "[auth] secret")
    if auth.secret_file:
        origin = f"[auth] secret_file {auth.secret_file}"
        return parse_keys(_read(Path(auth.secret_file), origin), origin)
    path = data_dir / files.SECRET
    origin = f"[auth] secret_file is empty, and {path}"
    with _told(origin):
        if not path.exists():
            files.create(path, f"{secrets.token_hex(KEY_LENGTH_MIN)}\n".encode())
    return parse_keys(_read(path, origin, is_own=True), origin)


def parse_keys(text: bytes, origin: str) -> tuple[bytes, ...]:
    """Return the keys in `text`: one a line, the bytes of the line as they are; empty lines are passed over.

    A line ends with LF or CR LF. `origin` names the source in errors. Raises `OperatorError`.
    """
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    for number, line in enumerate(lines, 1):
        if line and len(line) < KEY_LENGTH_MIN:
            raise OperatorError(f"{origin}: line {number} has {len(line)} bytes; a key needs at least {KEY_LENGTH_MIN}")
        try:
            if line:
                OctKey.import_key(line)
        except ValueError:
            raise OperatorError(f"{origin}: line {number} is a public key, which anybody could sign with") from None
    keys = tuple(dict.fromkeys(line for line in lines if line))
    if not keys:
        raise OperatorError(f"{origin}: holds no key; it needs one a line, at least {KEY_LENGTH_MIN} bytes each")
    if len(keys) > KEYS_MAX:
        raise OperatorError(f"{origin}: holds {len(keys)} keys; at most {KEYS_MAX} are read")
    return keys


def _read(path: Path, origin: str, *, is_own: bool = False) -> bytes:
    """Return what a secret file holds. Our own is taken back from others, should a restored backup have opened it."""
    with _told(origin), open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OperatorError(f"{origin} is not a regular file")
        text = file.read(SECRET_SIZE_MAX + 1)
        is_open_to_others = status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        if is_open_to_others and is_own:
            os.fchmod(file.fileno(), files.PRIVATE_FILE)
            _log.warning("the secret file could be read by others; its mode is now 0600", extra={"path": str(path)})
    if len(text) > SECRET_SIZE_MAX:
        raise OperatorError(f"{origin} has more than {SECRET_SIZE_MAX} bytes")
    if is_open_to_others and not is_own:
        # Mounted secrets are often readable by a group on purpose, so this is for the operator to judge.
        _log.warning("the secret file can be read by others than its owner", extra={"path": str(path)})
    return text


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a FIFO that nobody writes to as well, so that it can be refused."""
    return os.open(path, flags | os.O_NONBLOCK)


@contextmanager
def _told(origin: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OperatorError(f"{origin} cannot be used: {error.strerror or error}") from None
