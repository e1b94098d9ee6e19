"""What all connections of one server share."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from shortener.rpc.http2.eager import Runner
from shortener.rpc.http2.head import Method
from shortener.rpc.http2.limits import Limits
from shortener.rpc.http2.outbound import Held
from shortener.rpc.settings import RpcSettings


@dataclass(slots=True)
class Shared:
    """Handlers, limits and the loop; `held` counts the bytes held for all clients together."""

    loop: asyncio.AbstractEventLoop
    methods: Mapping[str, Method]
    settings: RpcSettings
    limits: Limits
    runner: Runner
    held: Held = field(default_factory=Held)
