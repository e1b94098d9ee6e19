"""Reads a request's head before aiohttp's parser does, and gives that parser a form in which nothing misleads it; pure.

The parser knows a fixed set of methods, takes lines without a version for HTTP/0.9, refuses raw UTF-8 in a target, and
loses what follows a request to upgrade. Each of these is settled here, for whole heads.
"""

import re

BLANK_LINE = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_LINE = re.compile(rb"(" + _TOKEN + rb"{1,32}) ([^\x00-\x20\x7f]+) (HTTP/1\.[01])\r\n")
_METHOD_START = re.compile(_TOKEN + rb"{1,32} |" + _TOKEN + rb"{0,32}\r?\Z")
_ABSOLUTE = re.compile(rb"(?i:https?)://[A-Za-z0-9._~%!$&'()*+,;=:@\[\]-]+(?=[/?#]|\Z)")
_UPGRADE = re.compile(rb"\r\nUpgrade(?=:)", re.IGNORECASE)
_NOT_IN_HEADS = bytes([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"})
_OTHER_METHOD = b"TRACE"
"""Stands for every method that nothing here takes: it is answered 405, and the parser knows it."""


def is_hopeless(start: bytes, line_size_max: int) -> bool:
    """Tell whether no bytes after `start`, which holds no blank line, could make it a request's head."""
    if _METHOD_START.match(start) is None or len(start.translate(None, _NOT_IN_HEADS)) < len(start):
        return True
    pairs = start.count(b"\r\n")
    if start.count(b"\n") != pairs or start.count(b"\r") - start.endswith(b"\r") != pairs:
        return True
    if len(start) - start.rfind(b"\n") > line_size_max:
        return True
    return pairs > 0 and _LINE.match(start) is None


def for_parser(head: bytes) -> bytes | None:
    """Return the head, blank line included, as aiohttp's parser is to have it; None when its first line is no HTTP/1.

    A method that is not taken anywhere becomes another such one, a target in absolute or authority form its path,
    bytes that are not ASCII in it are percent-encoded, and a wish to upgrade, which is never granted, is renamed.
    """
    line = _LINE.match(head)
    if line is None:
        return None
    method, target, version = line.groups()
    if method not in _METHODS:
        target = b"/" if method == b"CONNECT" else target
        method = _OTHER_METHOD
    absolute = _ABSOLUTE.match(target)
    if absolute is not None:
        rest = target[absolute.end() :]
        target = rest if rest.startswith(b"/") else b"/" + rest
    if not target.isascii():
        target = b"".join(b"%%%02X" % byte if byte > 0x7F else bytes([byte]) for byte in target)
    fields = _UPGRADE.sub(b"\r\nX-Upgrade", head[line.end() - 2 :])
    return b"%b %b %b%b" % (method, target, version, fields)


def path_of(head: bytes) -> bytes:
    """Return the path in a head that `for_parser` returned."""
    return head.split(b" ", 2)[1].partition(b"?")[0]
