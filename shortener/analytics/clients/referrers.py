"""Referrers: the origin of the page a click came from. Path, query and credentials are dropped for privacy."""

import re

import idna

from shortener.analytics.model import DIRECT, REFERRER_MAX

# How much of a header is looked at: an origin of the greatest length, with generous credentials before it.
HEADER_MAX = 1024
BLANKS = " \t"

_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)")
_AUTHORITY = re.compile(r"([A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]*))?")
_PORT_MAX = 65_535


def parse_referrer(text: str) -> str:
    """Return `scheme://host[:port]` of a Referer header in lower case, the port as it was sent; else `direct`.

    Any scheme with a host will do (`android-app://com.example`). A host beyond ASCII becomes its A-label.
    No host, blanks within, or more than `REFERRER_MAX` characters are `direct`. Takes linear time; never raises.
    """
    text = text.strip(BLANKS)
    found = _ORIGIN.match(text, 0, HEADER_MAX)
    if found is None or (found.end() == HEADER_MAX < len(text)):  # The latter cuts through a host.
        return DIRECT
    scheme, authority = found.groups()
    authority = authority.rpartition("@")[2]
    if not authority.isascii():
        authority = _ascii(authority)
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return DIRECT
    host, port = parts.groups()
    origin = f"{scheme}://{host}".lower()
    if port:
        if len(port) > 5 or int(port) > _PORT_MAX:
            return DIRECT
        origin = f"{origin}:{port}"
    return origin if len(origin) <= REFERRER_MAX else DIRECT


def _ascii(authority: str) -> str:
    """Return the authority with its host as A-labels; '' when that cannot be."""
    host, colon, port = authority.partition(":")
    if len(host) > REFERRER_MAX:
        return ""
    try:
        return idna.encode(host, uts46=True).decode("ascii") + colon + port
    except (idna.IDNAError, UnicodeError):
        return ""
