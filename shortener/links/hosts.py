"""Hosts as browsers read them: every spelling of one host gives one value. Pure, and linear in the text's length."""

import ipaddress
import re
import string
import unicodedata
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

import idna

Host: TypeAlias = str | ipaddress.IPv4Address | ipaddress.IPv6Address

HOST_LENGTH_MAX = 1_000
"""Characters of a host that has to be mapped: a DNS name has at most 253, and mapping seldom shrinks one."""
DNS_NAME_MAX = 253
DNS_LABEL_MAX = 63

_REG_NAME_PLAIN = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=-]+")
_LAST_LABEL_NUMERIC = re.compile(r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)")
_BASE_DIGITS = {8: string.octdigits, 10: string.digits, 16: string.hexdigits}
_LOOPBACK_NAMES = frozenset(
    {
        "localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "localhost.localdomain",
        "localhost4.localdomain4", "localhost6.localdomain6",
    }
)  # fmt: skip


def to_ascii(host: str) -> str | None:
    """Return the host of a URL with A-labels for whatever is not ASCII (UTS 46, as browsers do); None if it has none.

    Unlike IDNA 2008 this allows symbols such as emoji, which are registered and in use.
    """
    decoded = _decode(host)
    if decoded is None or len(decoded) > HOST_LENGTH_MAX:
        return None
    try:
        labels = [_a_label(label) for label in idna.uts46_remap(decoded, std3_rules=False).split(".")]
    except ValueError:  # IDNAError and UnicodeError are; idna raises it bare for characters newer than Python's tables
        return None
    # Mapping may give "/", "@" and the like (U+2100 is "a/c"): what is no host must not come out as one.
    name = ".".join(labels)
    if len(name.removesuffix(".")) > DNS_NAME_MAX or not _REG_NAME_PLAIN.fullmatch(name):
        return None
    return name


def canonical(host: str) -> Host:
    """Return one value for all spellings of a URL's host (RFC 3986 text, an IPv6 address in its brackets).

    IPv4 addresses are read as browsers and inet_aton read them: 1 to 4 parts, decimal, octal or hexadecimal.
    """
    if host.startswith("["):
        return _ipv6(host[1:-1])
    if "%" in host or not host.isascii():
        host = to_ascii(host) or host
    name = host.lower().removesuffix(".")
    return _ipv4(name) or name


def is_readable(host: str) -> bool:
    """Tell whether whoever can read this host of a URL reads what `canonical` says.

    Percent-encoding may hide names that `to_ascii` refuses and some browser takes: those over its length limit (a
    thousand soft hyphens vanish), characters newer than our tables, quotation marks. What is not UTF-8 nobody reads.
    """
    return "%" not in host or _decode(host) is None or to_ascii(host) is not None


def is_loopback(host: Host) -> bool:
    """Tell whether a canonical host is this machine: a loopback name or address, or the unspecified address."""
    if isinstance(host, str):
        return host in _LOOPBACK_NAMES or host.endswith(".localhost")
    return host.is_loopback or host.is_unspecified


def is_ip_literal(text: str) -> bool:
    """Tell whether this is what RFC 3986 allows between brackets: an IPv6 address (without a zone) or IPvFuture."""
    if re.fullmatch(r"[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+", text):
        return True
    return "%" not in text and isinstance(_ipv6(text), ipaddress.IPv6Address | ipaddress.IPv4Address)


def _decode(host: str) -> str | None:
    """Undo percent-encoding; None when that is not UTF-8."""
    if "%" not in host:
        return host
    try:
        return unquote_to_bytes(host).decode()
    except UnicodeDecodeError:
        return None


def _a_label(label: str) -> str:
    """Return one mapped label in ASCII. Raises `idna.IDNAError`."""
    if label.isascii():
        return label
    if len(label) > DNS_LABEL_MAX:
        raise idna.IDNAError("label too long")  # before Punycode, whose cost grows with the square
    if unicodedata.category(label[0]).startswith("M"):
        raise idna.IDNAError("label begins with a combining mark")
    idna.check_bidi(label)
    for position, character in enumerate(label):
        if character in "\u200c\u200d" and not idna.valid_contextj(label, position):
            raise idna.IDNAError("joiner out of place")
    a_label = "xn--" + label.encode("punycode").decode("ascii")
    if len(a_label) > DNS_LABEL_MAX:
        raise idna.IDNAError("label too long")
    return a_label


def _ipv6(text: str) -> Host:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return text.lower()
    return address.ipv4_mapped or address


def _ipv4(name: str) -> ipaddress.IPv4Address | None:
    """Read an IPv4 address in any of its spellings (WHATWG URL, "IPv4 parser"); None when it is none."""
    if not _LAST_LABEL_NUMERIC.fullmatch(name.rpartition(".")[2]):
        return None
    parts = name.split(".", maxsplit=4)
    if len(parts) > 4:
        return None
    numbers = [_ipv4_number(part) for part in parts]
    value = 0
    for number in numbers[:-1]:
        if number is None or number > 255:
            return None
        value = value << 8 | number
    last_bits = 8 * (5 - len(parts))
    if numbers[-1] is None or numbers[-1] >> last_bits:
        return None
    return ipaddress.IPv4Address(value << last_bits | numbers[-1])


def _ipv4_number(text: str) -> int | None:
    """Read one part; None when it is no number or cannot be part of an address."""
    if not text:
        return None
    base, digits = 10, text
    if text[:2] in {"0x", "0X"}:
        base, digits = 16, text[2:]
    elif text[0] == "0":
        base = 8
    digits = digits.lstrip("0") or "0"
    if len(digits) > 11 or not all(digit in _BASE_DIGITS[base] for digit in digits):
        return None
    return int(digits, base)
