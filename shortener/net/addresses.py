"""Who asks: the client's address behind proxies that are trusted to name it."""

import ipaddress
import re
from collections.abc import Iterator, Sequence

from shortener.net.memo import Memo

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

FORWARDED_SIZE_MAX = 2048
"""Characters of one X-Forwarded-For line that are looked at, from its right end."""

HOPS_MAX = 32
"""Hops that are walked back before the header is taken for garbage."""

_TEXT_MAX = 100  # the longest IPv6 text has 45 characters; a zone may follow
_WITH_PORT = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


class ClientAddresses:
    """Finds the client's address: the right-most hop of `X-Forwarded-For` that is not a trusted proxy.

    `trusted_proxies` are addresses or networks in CIDR notation; raises `ValueError` for anything else.
    """

    def __init__(self, trusted_proxies: Sequence[str], *, memo_max: int) -> None:
        self._networks = tuple(ipaddress.ip_network(text, strict=False) for text in trusted_proxies)
        self._memo: Memo[tuple[str, tuple[str, ...]], str] = Memo(memo_max)

    def is_proxy(self, peer: str) -> bool:
        """Tell whether what `peer` forwards is believed."""
        address = _address(peer) if self._networks else None
        return address is not None and self._is_trusted(address)

    def client(self, peer: str, forwarded: tuple[str, ...]) -> str:
        """Return the client's address as text.

        `forwarded` are the values of the request's X-Forwarded-For lines in order. A hop may be quoted, and may have a
        port; empty ones are nothing (RFC 9110, section 5.6.1). A hop that is no address makes the whole header
        worthless: the answer is then `peer`, as it is without a trusted proxy. Where every hop is trusted the request
        comes from among them, from the first.
        """
        if not forwarded or not self._networks:
            return peer
        key = (peer, forwarded)
        found = self._memo.get(key)
        if found is None:
            found = self._walk(forwarded) if self.is_proxy(peer) else None
            found = found or peer
            if sum(map(len, forwarded)) <= FORWARDED_SIZE_MAX:
                self._memo.put(key, found)
        return found

    def _walk(self, forwarded: tuple[str, ...]) -> str | None:
        hops = [hop for line in forwarded for hop in _hops(line)][-HOPS_MAX:]
        first = None
        for hop in reversed(hops):
            address = _address(hop)
            if address is None:
                return None
            first = str(address)
            if not self._is_trusted(address):
                return first
        return first

    def _is_trusted(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def _hops(line: str) -> Iterator[str]:
    """Yield the elements of a line that are not empty, without their quotes; of a long line those that are whole."""
    elements = line[-FORWARDED_SIZE_MAX:].split(",")
    for element in elements[1:] if len(line) > FORWARDED_SIZE_MAX else elements:
        hop = element.strip(" \t")
        if len(hop) >= 2 and hop[0] == hop[-1] == '"':
            hop = hop[1:-1]
        if hop:
            yield hop


def network_of(peer: str) -> str | None:
    """Return what connections from the address `peer` are counted under: itself, or of IPv6 its /64.

    None for loopback, and for a peer without an address: a client of our own machine.
    """
    address = _address(peer)
    if address is None or address.is_loopback:
        return None
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def find_address(text: str) -> Address | None:
    """Return the address that `text` is, None for anything else (the peer of a Unix socket, say).

    IPv4 in IPv6 becomes IPv4 and a zone is dropped, so that one client is one value in every spelling.
    """
    if len(text) > _TEXT_MAX:
        return None
    try:
        if ":" not in text:
            return ipaddress.IPv4Address(text)
        address = ipaddress.IPv6Address(text)
    except ipaddress.AddressValueError:
        return None
    return address.ipv4_mapped or (ipaddress.IPv6Address(int(address)) if address.scope_id else address)


def _address(text: str) -> Address | None:
    """Return the address that `text` is, with or without a port."""
    found = _WITH_PORT.fullmatch(text)
    return find_address(text if found is None else found[1] or found[2] or "")
