"""Where a link may lead: the rules of `long_url`, and which addresses are our own."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from shortener import errors
from shortener.links.hosts import (
    Host,
    canonical,
    is_ip_literal,
    is_loopback,
    is_readable,
    same_hosts,
    to_ascii,
)

LENGTH_MAX = 8_000
"""Bytes of a destination, as sent and as stored."""
PORT_MAX = 65_535
BASE_URL_LENGTH_MAX = 200
"""Characters; keeps short URLs fit for QR codes that people can print small."""
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Classes of RFC 3986. What follows a repeated class never begins with one of its characters: matching is linear.
_PCHARS = r"[A-Za-z0-9._~!$&'()*+,;=:@/-]*(?:%[0-9A-Fa-f]{2}[A-Za-z0-9._~!$&'()*+,;=:@/-]*)*"
_PCHARS_OR_MARK = r"[A-Za-z0-9._~!$&'()*+,;=:@/?-]*(?:%[0-9A-Fa-f]{2}[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)*"
_REG_NAME = r"(?=[^:/?#])[A-Za-z0-9._~!$&'()*+,;=-]*(?:%[0-9A-Fa-f]{2}[A-Za-z0-9._~!$&'()*+,;=-]*)*"
_RFC3986 = re.compile(
    rf"([Hh][Tt][Tt][Pp][Ss]?)://({_REG_NAME}|\[[^\[\]/?#@]+\])(?::([0-9]*))?"
    rf"(?:/{_PCHARS})?(?:\?{_PCHARS_OR_MARK})?(?:\#{_PCHARS_OR_MARK})?"
)
_HOST = re.compile(r"[^:]*://(\[[^\]]*\]|[^/?#:]*)")
_LOOSE = re.compile(r"([Hh][Tt][Tt][Pp][Ss]?)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
# Controls (C0, DEL, C1), white space of every script, lone surrogates and the backslash, which browsers read as "/".
_FORBIDDEN = re.compile("[\x00-\x20\\\\\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff]")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAFE = "%!$&'()*+,;=:@/-._~"


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """Where our own short URLs live. Made by `own_addresses`."""

    base_url: str
    host: Host
    ports: frozenset[int]

    def short_url(self, short_code: str) -> str:
        """Return the whole short URL of this code."""
        return f"{self.base_url}/{short_code}"

    def include(self, host: Host, port: int) -> bool:
        """Tell whether this is one of us: our host or any loopback one, or what leads to them, on one of our ports."""
        return port in self.ports and any(each == self.host or is_loopback(each) for each in same_hosts(host))


def own_addresses(base_url: str, redirect_port: int) -> OwnAddresses:
    """Return our addresses: what people see (`base_url`, a trailing slash is dropped) and the port that redirects.

    Raises `errors.Invalid` (field `base_url`) unless it is an absolute http or https URL (RFC 3986, ASCII) without
    query or fragment, of at most 200 characters.
    """
    if len(base_url) > BASE_URL_LENGTH_MAX:
        raise errors.Invalid(f"base_url must be at most {BASE_URL_LENGTH_MAX} characters", field="base_url")
    match = _RFC3986.fullmatch(base_url)
    if not match or "?" in base_url or "#" in base_url or not _is_host(match[2]):
        raise errors.Invalid(
            "base_url must be an absolute http or https URL without query or fragment", field="base_url"
        )
    scheme, host, digits = match.groups()
    port = _port(scheme, digits, field="base_url")
    return OwnAddresses(base_url.rstrip("/"), canonical(host), frozenset({port, redirect_port}))


def parse_destination(text: str, own: OwnAddresses) -> str:
    """Return the URL a link shall lead to, ASCII without blanks or controls, at most 8,000 bytes.

    A valid RFC 3986 URL is returned as it came, byte for byte. In others the host gets A-labels, and in path, query
    and fragment the characters RFC 3986 does not allow (non-ASCII, `"<>[]^`{|}`, a second `#`, a `%` that starts no
    triplet) are percent-encoded: they name the same page in practice, and people paste such URLs from browsers.
    Raises `errors.Invalid` with field `long_url`.
    """
    if not text:
        raise _invalid("long_url is required")
    if len(text) > LENGTH_MAX:
        raise _invalid(f"long_url must be at most {LENGTH_MAX} bytes")
    if _FORBIDDEN.search(text):
        raise _invalid("long_url must not contain blanks, control characters or backslashes")
    if not (match := _RFC3986.fullmatch(text)):
        text = _repaired(text)
        if not (match := _RFC3986.fullmatch(text)):
            raise _invalid("long_url must have a valid host")
    if len(text) > LENGTH_MAX:
        raise _invalid(f"long_url must be at most {LENGTH_MAX} bytes when percent-encoded")
    scheme, host, digits = match.groups()
    if not _is_host(host) or not is_readable(host):
        raise _invalid("long_url must have a valid host")
    if own.include(canonical(host), _port(scheme, digits, field="long_url")):
        raise _invalid("long_url must not be one of our own short URLs")
    return text


def host_of(destination: str) -> Host:
    """Return the canonical host of what `parse_destination` has returned."""
    match = _HOST.match(destination)
    return canonical(match[1]) if match else ""


def _repaired(text: str) -> str:
    """Return the URL with what RFC 3986 does not allow encoded. Raises `errors.Invalid`."""
    match = _LOOSE.fullmatch(text)
    if not match:
        raise _invalid("long_url must be an absolute http or https URL")
    scheme, authority, path, query, fragment = match.groups(default="")
    if "@" in authority:
        raise _invalid("long_url must not contain a user name or password")
    parts = _AUTHORITY.fullmatch(authority)
    if not parts:
        raise _invalid("long_url must have a valid host and port")
    host, digits = parts.groups()
    if not host:
        raise _invalid("long_url must have a host")
    if not host.isascii():
        host = to_ascii(host)
        if host is None:
            raise _invalid("long_url must have a valid host")
    port = "" if digits is None else f":{digits}"
    return f"{scheme}://{host}{port}{_encoded(path)}{_encoded(query, '?')}{_encoded(fragment, '#')}"


def _encoded(part: str, mark: str = "") -> str:
    """Percent-encode what is not allowed in a path, or in a query or fragment that starts with `mark`."""
    safe = _SAFE + "?" if mark else _SAFE
    return part[: len(mark)] + quote(_STRAY_PERCENT.sub("%25", part[len(mark) :]), safe=safe)


def _is_host(host: str) -> bool:
    """Tell whether the pattern's host is one: what it takes between brackets need not be an address."""
    return not host.startswith("[") or is_ip_literal(host[1:-1])


def _port(scheme: str, digits: str | None, *, field: str) -> int:
    """Return the port these digits name, the scheme's own when there are none. Raises `errors.Invalid`."""
    if not digits:
        return _DEFAULT_PORTS[scheme.lower()]
    # Leading zeros are allowed; int() alone would refuse thousands of them.
    significant = digits.lstrip("0") or "0"
    if len(significant) > 5 or int(significant) > PORT_MAX:
        raise errors.Invalid(f"{field} has a port over {PORT_MAX}", field=field)
    return int(significant)


def _invalid(message: str) -> errors.Invalid:
    return errors.Invalid(message, field="long_url")
