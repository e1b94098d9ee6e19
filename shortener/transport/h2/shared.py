"""What all connections of one server share."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from shortener.transport.h2.head import Method
from shortener.transport.h2.limits import Limits
from shortener.transport.h2.outbox import Held
from shortener.transport.h2.ride import Runner
from shortener.transport.settings import RpcSettings


@dataclass(slots=True)
class Shared:
    """Handlers, limits and the loop; `held` counts the bytes held for all clients together."""

    loop: asyncio.AbstractEventLoop
    methods: Mapping[str, Method]
    settings: RpcSettings
    limits: Limits
    runner: Runner
    held: Held = field(default_factory=Held)
