"""Reads the head of the simplest requests, and refuses to read any other; pure.

Everything here is stricter than aiohttp's parser: what is accepted here means the same there (RFC 9112).
"""

from urllib.parse import unquote_to_bytes

from shortener.redirect.decision import Visit

BLANK_LINE = b"\r\n\r\n"
LINE_MAX = 4096
"""Bytes of one header line."""
FIELDS_MAX = 60
"""Header lines of one request."""
CODE_SIZE_MIN = 3
CODE_SIZE_MAX = 50

_GET = b"GET /"
_HEAD = b"HEAD /"
_VERSION = b" HTTP/1.1"

_VISIBLE = bytes(range(0x21, 0x7F))
_LINE_BYTES = b"\r\n " + _VISIBLE
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_CODE_CHARACTERS = frozenset(_LETTERS.decode() + "-_")
_NO_CODE_BYTES = bytes(set(range(256)) - set(_LETTERS + b"-_"))
_NAME_BYTES = _LETTERS + b"-"  # others are allowed, but some servers take "_" for "-"
_HOST_BYTES = _LETTERS + b"-._:[]"
_QUERY_BYTES = _LETTERS + b"-._~%&=+!*,;:@/$'()?"
_TARGET_BYTES = _VISIBLE.translate(None, b'#"<>\\^`{|}')

_NOT_PLAIN = frozenset(
    {
        b"connection",
        b"content-encoding",
        b"content-length",
        b"expect",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"sec-websocket-key1",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that frame a message or change the connection: with one of them a request is not plain."""


def short_code_in(line: bytes) -> str:
    """Return what stands for the short code in the request line of a GET, empty for any other line.

    A query is left out. Whether the rest can be a short code is for the caller to find out.
    """
    if line[:5] != _GET or line[-9:] != _VERSION:
        return ""
    target = line[5:-9]
    if len(target) > CODE_SIZE_MAX or b"?" in target:
        target, _, query = target.partition(b"?")
        if len(target) > CODE_SIZE_MAX or len(query) > LINE_MAX or query.translate(None, _QUERY_BYTES):
            return ""
    return target.decode("latin-1")


def can_be_short_code(text: str) -> bool:
    """Tell whether `text` has the length and the characters of a short code."""
    return CODE_SIZE_MIN <= len(text) <= CODE_SIZE_MAX and _CODE_CHARACTERS.issuperset(text)


def decoded_path(path: str) -> str:
    """Return a path without percent-encoding, each octet as one character.

    An octet and its percent-encoding name the same path (RFC 9110, 4.2.3). This holds for reserved characters too as
    far as we are concerned: none of our paths has one behind the slash that it begins with.
    """
    return unquote_to_bytes(path).decode("latin-1") if "%" in path else path


def short_code_at(path: str) -> str:
    """Return the short code that a decoded path asks for; empty when there cannot be one.

    What cannot be part of a code is dropped from the end, because sentences leave it there: a full stop, a bracket, a
    closing quotation mark. No code ends with any of it, so the code that stands there is never passed over.
    """
    short_code = path[1:].encode("latin-1").rstrip(_NO_CODE_BYTES).decode("latin-1")
    return short_code if can_be_short_code(short_code) else ""


def is_plain_line(line: bytes) -> bool:
    """Tell whether this is the request line of a GET or HEAD in origin form, with nothing odd about it."""
    if not line.startswith((_GET, _HEAD)) or not line.endswith(_VERSION):
        return False
    target = line[line.index(b"/") : -len(_VERSION)]
    return 0 < len(target) <= LINE_MAX and not target.translate(None, _TARGET_BYTES)


def may_become_plain(start: bytes) -> bool:
    """Tell whether more bytes after `start`, which holds no blank line, could make it a plain request."""
    if not (start.startswith((_GET, _HEAD)) or _GET.startswith(start) or _HEAD.startswith(start)):
        return False
    if start.translate(None, _LINE_BYTES):
        return False
    pairs = start.count(b"\r\n")
    return start.count(b"\n") == pairs and start.count(b"\r") - start.endswith(b"\r") == pairs


def read_fields(block: bytes) -> Visit | None:
    """Return what the header lines in `block` say; None unless they are those of a plain request without a body.

    `block` is all that follows the request line's CR LF, and must end with the blank line, nothing after it.
    Plain means: visible ASCII and blanks only, no folding, no field twice (but X-Forwarded-For), one Host of ordinary
    characters, and no field that frames a body or changes the connection.
    """
    if block[-4:] != BLANK_LINE or block.translate(None, _LINE_BYTES):
        return None
    lines = block[:-4].split(b"\r\n")
    if len(lines) > FIELDS_MAX or not block.count(b"\r") == block.count(b"\n") == len(lines) + 1:
        return None
    found: dict[bytes, bytes] = {}
    forwarded: list[str] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or len(line) > LINE_MAX or name.translate(None, _NAME_BYTES):
            return None
        name = name.lower()
        value = value.strip(b" ")
        if name == b"x-forwarded-for":
            forwarded.append(value.decode("ascii"))
        elif name in found or (name in _NOT_PLAIN and not (name == b"connection" and value.lower() == b"keep-alive")):
            return None
        else:
            found[name] = value
    host = found.get(b"host", b"")
    if not host or host.translate(None, _HOST_BYTES):
        return None
    return Visit(
        found.get(b"user-agent", b"").decode("ascii"), found.get(b"referer", b"").decode("ascii"), tuple(forwarded)
    )
