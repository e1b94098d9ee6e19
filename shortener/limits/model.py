"""What is limited, and by which key."""

import ipaddress
from typing import Literal

Counted = Literal["creates", "registrations", "misses"]
"""What a request counts as: before it is done, but for misses, which count when they happen. Logins are not here."""

_KEY_LENGTH_MAX = 64
_V6_NETWORK_BYTES = 8


def address_key(address: str) -> str:
    """Return what an address is limited by: IPv4 by itself, IPv6 by its /64, which is what one subscriber gets.

    IPv4 in IPv6 (`::ffff:192.0.2.1`) is IPv4. A text that is no address, such as an empty one, is its own key.
    """
    if ":" not in address:
        return address[:_KEY_LENGTH_MAX]
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address[:_KEY_LENGTH_MAX]
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return parsed.packed[:_V6_NETWORK_BYTES].hex(":", 2) + "::/64"
