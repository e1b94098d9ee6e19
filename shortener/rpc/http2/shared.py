"""What all connections of one server share."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from shortener.rpc.http2.budget import Pool
from shortener.rpc.http2.eager import Runner
from shortener.rpc.http2.head import Method
from shortener.rpc.http2.inbound import Inbound
from shortener.rpc.http2.limits import Limits
from shortener.rpc.http2.outbound import Outbound
from shortener.rpc.settings import RpcSettings


@dataclass(slots=True)
class Shared:
    """Handlers, limits and the loop; `received` and `unsent` are the bytes held for all clients together."""

    loop: asyncio.AbstractEventLoop
    methods: Mapping[str, Method]
    settings: RpcSettings
    limits: Limits
    runner: Runner
    received: Pool[Inbound]
    unsent: Pool[Outbound]
