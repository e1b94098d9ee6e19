"""Taking the five listeners' addresses, before anything else is begun: by binding them, or from who holds them."""

import errno
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from shortener.config.loading import require_secured
from shortener.config.sections import Config
from shortener.errors import OperatorError

NAMES = ("url", "user", "analytics", "gateway", "redirect")
GRPC = NAMES[:3]
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Sockets:
    """Five listening sockets, by the names of the ready line. Who connects before the start waits in their backlog."""

    by_name: dict[str, socket.socket]

    def address(self, name: str) -> str:
        """Return HOST:PORT; port 0 has become what the system picked."""
        return join(*self.by_name[name].getsockname()[:2])

    def port(self, name: str) -> int:
        """Return the port."""
        return int(self.by_name[name].getsockname()[1])


@contextmanager
def bind(config: Config, handed: Mapping[str, socket.socket] | None = None) -> Iterator[Sockets]:
    """Have all listeners' addresses until the block ends: those of `handed`, and the others by binding them.

    Raises `OperatorError`, also for a gRPC socket that strangers reach and nothing protects.
    """
    with ExitStack() as stack:
        by_name = {name: stack.enter_context(each) for name, each in (handed or {}).items()}
        for name in by_name.keys() & set(GRPC):
            require_secured(config.grpc, by_name[name].getsockname()[0])
        wanted = {name: each for name, each in _wanted(config).items() if name not in by_name}
        for name, address in _resolved(wanted).items():
            with wanted[name].told():
                both = address[0] == "::" and socket.has_dualstack_ipv6()  # every address, of IPv4 too
                family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
                listening = socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
                by_name[name] = stack.enter_context(listening)
        yield Sockets({name: by_name[name] for name in NAMES})


def check_addresses(config: Config, *, may_be_taken: bool) -> None:
    """See that all listeners could have their addresses, and accept no connection on them. Raises `OperatorError`.

    `may_be_taken` allows for addresses that are in use by now, because a server runs.
    """
    wanted = _wanted(config)
    for name, (host, port) in _resolved(wanted).items():
        with wanted[name].told(), socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not may_be_taken:
                    raise


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An address as it is configured, and the key of its port."""

    key: str
    host: str
    port: int

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn what prevents listening into one line."""
        try:
            yield
        except socket.gaierror as error:
            raise self.refusal(str(error.strerror)) from None
        except UnicodeError:
            raise self.refusal("that is no host name") from None
        except OSError as error:
            raise self.refusal(os.strerror(error.errno or 0)) from None

    def refusal(self, why: str) -> OperatorError:
        return OperatorError(f"cannot listen on {join(self.host, self.port)} ({self.key}): {why}")


def _wanted(config: Config) -> dict[str, _Wanted]:
    grpc, gateway, redirect = config.grpc, config.gateway, config.redirect
    return {
        "url": _Wanted("grpc.url_port", grpc.host, grpc.url_port),
        "user": _Wanted("grpc.user_port", grpc.host, grpc.user_port),
        "analytics": _Wanted("grpc.analytics_port", grpc.host, grpc.analytics_port),
        "gateway": _Wanted("gateway.port", gateway.host, gateway.port),
        "redirect": _Wanted("redirect.port", redirect.host, redirect.port),
    }


def _resolved(wanted: Mapping[str, _Wanted]) -> dict[str, tuple[str, int]]:
    """Return the IP address and port of each listener. Raises `OperatorError`, also for two that exclude each other."""
    found: dict[str, tuple[str, int]] = {}
    for name, each in wanted.items():
        with each.told():
            [address, *_] = socket.getaddrinfo(each.host, each.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        host, port = str(address[4][0]), int(address[4][1])
        for other, (its_host, its_port) in found.items():
            if port == its_port != 0 and (host == its_host or {host, its_host} & {"0.0.0.0", "::"}):  # noqa: S104 - compared
                raise each.refusal(f"{wanted[other].key} is the same")
        found[name] = (host, port)
    return found


def join(host: str, port: int) -> str:
    """Return HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
