"""What all connections of one server share."""

import asyncio
from collections.abc import Mapping

from shortener.config.sections import Grpc
from shortener.rpc.http2.budget import Pool
from shortener.rpc.http2.eager import Runner
from shortener.rpc.http2.head import Method
from shortener.rpc.http2.inbound import Inbound
from shortener.rpc.http2.outbound import Outbound

SLICE_SECONDS = 0.002
"""How long one connection may keep the event loop before others have their turn."""
_RECEIVE_MIN, _RECEIVE_MESSAGES = 1_048_576, 4
_HELD_MIN, _HELD_MESSAGES = 8_388_608, 16


class Shared:
    """The configuration, the handlers and the loop; `received` and `unsent` are the bytes held for all clients.

    `receive_max` bounds the bytes of unfinished requests on one connection. `refusals` answer in place of `methods`
    where a connection has only a reserved place.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        grpc: Grpc,
        methods: Mapping[str, Method],
        refusals: Mapping[str, Method],
    ) -> None:
        self.loop = loop
        self.grpc = grpc
        self.methods = methods
        self.refusals = refusals
        self.runner = Runner(loop)
        self.receive_max = grpc.receive_max or max(_RECEIVE_MIN, _RECEIVE_MESSAGES * grpc.message_size_max)
        self.received = Pool[Inbound](grpc.held_max or max(_HELD_MIN, _HELD_MESSAGES * grpc.message_size_max))
        self.unsent = Pool[Outbound](grpc.unsent_total_max)
