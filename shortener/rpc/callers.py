"""Who calls over gRPC: trusted callers, whom no limit touches, and the addresses of all others."""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from shortener import errors
from shortener.config.sections import Grpc
from shortener.limits import Kind, RateLimits
from shortener.net.addresses import ClientAddresses
from shortener.rpc.guard import Service, Wrapped

KINDS: dict[str, Kind | None] = {
    "/url.URLService/CreateURL": "creates",
    "/url.URLService/CreateCustomURL": "creates",
    "/user.UserService/Register": "registrations",
    "/user.UserService/CreateUser": "registrations",
    "/user.UserService/UpdateProfile": "registrations",  # it tells as much about who is registered
    "/user.UserService/Login": None,  # has a throttle of its own
}
"""What a call counts as. Of every other method, the calls that end in NOT_FOUND count as misses."""

Caller = Callable[[Any], str]
"""Takes a call's stream and returns the caller's address, empty for a trusted caller."""


def trusted(stream: Any) -> str:
    """Be the `Caller` where whoever gets through is trusted: the service token or a client certificate is asked for."""
    return ""


class Callers:
    """The `Caller` where nothing is asked for: callers on this machine are trusted."""

    def __init__(self, addresses: ClientAddresses) -> None:
        self._addresses = addresses

    def __call__(self, stream: Any) -> str:
        """See `Caller`. Whom a trusted proxy forwards for is named by the metadata `x-forwarded-for`."""
        peer = stream.peer.addr()
        host = str(peer[0]) if isinstance(peer, tuple) else "unknown"
        if _is_loopback(host):
            return ""
        if not self._addresses.is_proxy(host):
            return host
        return self._addresses.client(host, tuple(map(str, stream.metadata.getall("x-forwarded-for", ()))))


def caller_of(grpc: Grpc, addresses: ClientAddresses) -> Caller:
    """Return the `Caller` for what is configured: who shows a service token or a client certificate is trusted."""
    asks = grpc.service_token or grpc.service_token_file or grpc.tls_client_ca
    return trusted if asks else Callers(addresses)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


Func = Callable[[Any], Any]  # the stream's type is the server's own


def limited(services: Sequence[Service], *, caller: Caller, limits: RateLimits) -> list[Service]:
    """Return `services` with every handler under its limit; order and paths stay. Domain errors pass through.

    Creates count by address alone: over gRPC a caller may claim any `user_id`.
    """
    wrapped: list[Service] = []
    for service in services:
        mapping = {}
        for path, handler in service.__mapping__().items():
            kind = KINDS.get(path)
            if kind is not None:
                mapping[path] = handler._replace(func=_admitted(handler.func, kind, caller, limits))
            elif path in KINDS:
                mapping[path] = handler
            else:
                mapping[path] = handler._replace(func=_counting_misses(handler.func, caller, limits))
        wrapped.append(Wrapped(mapping))
    return wrapped


def _admitted(func: Func, kind: Kind, caller: Caller, limits: RateLimits) -> Func:
    async def call(stream: Any) -> None:
        if address := caller(stream):
            limits.admit(kind, address)
        await func(stream)

    return call


def _counting_misses(func: Func, caller: Caller, limits: RateLimits) -> Func:
    async def call(stream: Any) -> None:
        address = caller(stream)
        if not address:
            await func(stream)
            return
        limits.check_misses(address)
        try:
            await func(stream)
        except errors.NotFound:
            limits.miss(address)
            raise

    return call
