"""Taking the five listeners' addresses, before anything else is begun."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from shortener.sections import Config

NAMES = ("url", "user", "analytics", "gateway", "redirect")
BACKLOG = 1024


class ListenError(Exception):
    """A listener cannot have its address; the message is one line that names it."""


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
def bind(config: Config) -> Iterator[Sockets]:
    """Take all listeners' addresses until the block ends. Raises `ListenError`."""
    wanted = {
        "url": ("grpc.url_port", config.grpc.host, config.grpc.url_port),
        "user": ("grpc.user_port", config.grpc.host, config.grpc.user_port),
        "analytics": ("grpc.analytics_port", config.grpc.host, config.grpc.analytics_port),
        "gateway": ("gateway.port", config.gateway.host, config.gateway.port),
        "redirect": ("redirect.port", config.redirect.host, config.redirect.port),
    }
    with ExitStack() as stack:
        yield Sockets({name: stack.enter_context(_bound(*where)) for name, where in wanted.items()})


def _bound(key: str, host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise ListenError(f"cannot listen on {join(host, port)} ({key}): {error.strerror}") from None
    except UnicodeError:
        raise ListenError(f"cannot listen on {join(host, port)} ({key}): that is no host name") from None
    except OSError as error:
        raise ListenError(f"cannot listen on {join(host, port)} ({key}): {os.strerror(error.errno or 0)}") from None


def join(host: str, port: int) -> str:
    """Return HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
