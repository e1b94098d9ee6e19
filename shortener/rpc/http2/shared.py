"""What all connections of one server share."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shortener.rpc.http2.eager import Runner
from shortener.rpc.http2.head import Method
from shortener.rpc.http2.limits import Limits
from shortener.rpc.http2.outbound import Held
from shortener.rpc.settings import RpcSettings


class Receiver(Protocol):
    """The receiving half of a connection, as others see it."""

    held: int

    def refuse_largest(self) -> None:
        """Refuse the call that holds most, and let go of what it holds."""


class Received:
    """The bytes of unfinished requests on the whole server: `size` of them, on the connections in `receivers`."""

    __slots__ = ("_most", "receivers", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = 0
        self.receivers: dict[Receiver, None] = {}  # in the order in which they began to hold some

    def refuse_largest(self) -> None:
        """While there are too many, refuse a call of the connection that holds most, whoever comes last."""
        while self.size > self._most:
            max(self.receivers, key=lambda receiver: receiver.held).refuse_largest()


@dataclass(slots=True)
class Shared:
    """Handlers, limits and the loop; `received` and `held` count the bytes held for all clients together."""

    loop: asyncio.AbstractEventLoop
    methods: Mapping[str, Method]
    settings: RpcSettings
    limits: Limits
    runner: Runner
    received: Received
    held: Held = field(default_factory=Held)
