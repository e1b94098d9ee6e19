"""Who calls over gRPC: trusted callers, whom no limit touches, and the addresses of all others."""

from collections.abc import Callable
from typing import Any

from shortener.caller import TRUSTED, Caller
from shortener.config.sections import Grpc
from shortener.net.addresses import ClientAddresses, find_address

CallerOf = Callable[[Any], Caller]
"""Takes a call's stream and returns who calls."""


class Callers:
    """`CallerOf` for listeners that require nothing: callers on this machine are trusted."""

    def __init__(self, addresses: ClientAddresses) -> None:
        self._addresses = addresses

    def __call__(self, stream: Any) -> Caller:
        """Return who calls. Behind a trusted proxy, the metadata `x-forwarded-for` names the client."""
        peer = stream.peer.addr()
        host = str(peer[0]) if isinstance(peer, tuple) else "unknown"
        found = find_address(host)
        if found is not None and found.is_loopback:
            return TRUSTED
        if not self._addresses.is_proxy(host):
            return Caller(address=host)
        forwarded = tuple(map(str, stream.metadata.getall("x-forwarded-for", ())))
        return Caller(address=self._addresses.client(host, forwarded))


def callers_of(grpc: Grpc, addresses: ClientAddresses) -> Callers | None:
    """Return how to tell callers apart as configured, None where a token or a certificate makes everyone trusted."""
    asks = grpc.service_token or grpc.service_token_file or grpc.tls_client_ca
    return None if asks else Callers(addresses)
