"""Hosts as browsers read them: every spelling of one host gives one value. Pure."""

import ipaddress
import re
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from ada_url import URL

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Host: TypeAlias = str | Address

ODD_LENGTH_MAX = 1_000
"""Characters of a host that is percent-encoded or not ASCII. Longer ones take milliseconds to read."""
DNS_NAME_MAX = 253

_PLAIN = re.compile(r"(?:[A-Za-z0-9_-]+\.)*[A-Za-z][A-Za-z0-9_-]*\.?")
"""Names that browsers change nothing in but capital letters and a final dot: what nearly all hosts are."""
_REG_NAME_PLAIN = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=-]+")
_LONG_A_LABEL = re.compile(r"xn--[^.]{60}")
_IPV_FUTURE = re.compile(r"[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+")
_LOOPBACK_NAMES = frozenset(
    {
        "localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "localhost.localdomain",
        "localhost4.localdomain4", "localhost6.localdomain6",
    }
)  # fmt: skip

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""What stands before the IPv4 address in the last 64 bits of an ISATAP address (RFC 5214)."""


def to_ascii(host: str) -> str | None:
    """Return the host of a URL with A-labels for whatever is not ASCII (UTS 46, as browsers do); None if it has none.

    Unlike IDNA 2008 this allows symbols such as emoji, which are registered and in use. `host` holds no character
    that ends a host in a URL.
    """
    name = _read(host)
    if name is None or len(name.removesuffix(".")) > DNS_NAME_MAX or _LONG_A_LABEL.search(name):
        return None
    return name if _REG_NAME_PLAIN.fullmatch(name) else None


def canonical(host: str) -> Host:
    """Return one value for all spellings of a URL's host (RFC 3986 text, an IPv6 address in its brackets).

    IPv4 addresses are read as browsers and inet_aton read them: 1 to 4 parts, decimal, octal or hexadecimal.
    """
    if host.startswith("["):
        return _ipv6(host[1:-1])
    if not _PLAIN.fullmatch(host):
        host = to_ascii(host) or host
    name = host.lower().removesuffix(".")
    if name[-1:].isdigit():
        try:
            return ipaddress.IPv4Address(name)
        except ValueError:
            pass
    return name


def is_readable(host: str) -> bool:
    """Tell whether whoever can read this host of a URL reads what `canonical` says.

    Percent-encoding may hide names that `to_ascii` refuses and some browser takes: those over its length limit (a
    thousand soft hyphens vanish), characters newer than our tables, quotation marks. What is not UTF-8 nobody reads.
    """
    if "%" not in host:
        return True
    try:
        unquote_to_bytes(host).decode()
    except UnicodeDecodeError:
        return True
    return to_ascii(host) is not None


def same_hosts(host: Host) -> tuple[Host, ...]:
    """Return a canonical host, and the IPv4 addresses that it leads to through a translator or a tunnel."""
    if not isinstance(host, ipaddress.IPv6Address):
        return (host,)
    return (host, *map(ipaddress.IPv4Address, _embedded(host)))


def is_loopback(host: Host) -> bool:
    """Tell whether a canonical host is this machine: a loopback name or address, or the unspecified address."""
    if isinstance(host, str):
        return host in _LOOPBACK_NAMES or host.endswith(".localhost")
    return host.is_loopback or host.is_unspecified


def is_ip_literal(text: str) -> bool:
    """Tell whether this is what RFC 3986 allows between brackets: an IPv6 address (without a zone) or IPvFuture."""
    return bool(_IPV_FUTURE.fullmatch(text)) or ("%" not in text and not isinstance(_ipv6(text), str))


def _read(host: str) -> str | None:
    """Return what browsers make of a host; None when they refuse it."""
    if len(host) > ODD_LENGTH_MAX:
        return None
    try:
        name: str = URL(f"http://{host}/").hostname
    except ValueError:
        return None
    return name


def _ipv6(text: str) -> Host:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return text.lower()
    return address.ipv4_mapped or address


def _embedded(address: ipaddress.IPv6Address) -> set[int]:
    """Return the IPv4 addresses, as numbers, that packets to this address may be sent on to."""
    bits = int(address)
    last = bits & 0xFFFF_FFFF
    found = set()
    if any(address in network for network in (_COMPATIBLE, _TRANSLATED, _NAT64)):
        found.add(last)
    elif address in _NAT64_LOCAL:
        # The prefix may have any length of RFC 6052 from 48 bits on; the octet after 64 bits is passed over.
        squeezed = bits >> 64 << 56 | bits & (1 << 56) - 1
        found = {last, *(squeezed >> shift & 0xFFFF_FFFF for shift in (40, 32, 24))}
    if address.sixtofour is not None:
        found.add(int(address.sixtofour))
    if address.teredo is not None:
        found |= {int(each) for each in address.teredo}
    if bits >> 32 & 0xFFFF_FFFF in _ISATAP:
        found.add(last)
    return found - {0}
