"""Our services over grpclib's channel in memory, for clients of the generated stubs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from grpclib.client import Channel
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.testing import ChannelFor

from shortener.rpc.codec import StrictCodec
from shortener.rpc.guard import Service, guarded
from tests.support.messages import ANSWERS


class _BothEnds(StrictCodec):
    """The server's codec, and betterproto's own for the answers that the client reads: the channel takes one codec."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        return message_type.FromString(data) if message_type in ANSWERS else super().decode(data, message_type)


@asynccontextmanager
async def channel_for(services: Sequence[Service]) -> AsyncIterator[Channel]:
    """Open a channel to `services` behind the guard; unexpected errors have the request id "request"."""
    behind = guarded(services, new_id=lambda: "request")
    async with ChannelFor(behind, codec=_BothEnds(), status_details_codec=ProtoStatusDetailsCodec()) as channel:
        yield channel
