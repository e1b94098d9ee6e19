"""Callers that send a request and leave before its answer, in six ways."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import betterproto
import grpc.aio
import h2.connection
import h2.errors

from shortener.gen import analytics, url, user

Leave = Callable[[int], Awaitable[None]]
RACES_MAX = 0.02
"""Seconds within which most calls are answered: a caller leaves at some moment of them."""


def requests_of(number: int, code: str) -> list[tuple[str, betterproto.Message]]:
    """Return a call of each kind that does something."""
    return [
        ("/url.URLService/CreateURL", url.CreateUrlRequest(long_url="https://example.com/", user_id="cancelling")),
        (
            "/url.URLService/CreateCustomURL",
            url.CreateCustomUrlRequest(alias=f"left-{number}", long_url="https://example.com/", user_id="cancelling"),
        ),
        ("/url.URLService/GetURL", url.GetUrlRequest(short_code=f"cold-{number}")),
        ("/url.URLService/IncrementClicks", url.IncrementClicksRequest(short_code=code)),
        ("/url.URLService/ListURLs", url.ListUrLsRequest(user_id="cancelling", limit=20)),
        ("/url.URLService/DeleteURL", url.DeleteUrlRequest(short_code=f"left-{number - 7}")),
        ("/analytics.AnalyticsService/TrackClick", analytics.TrackClickRequest(short_code=code, ip_address="::1")),
        ("/analytics.AnalyticsService/GetStats", analytics.GetStatsRequest(short_code=code)),
        ("/user.UserService/ListUsers", user.ListUsersRequest()),
    ]


class CancellingCallers:
    """The ways to leave a call. Each takes the number of the attempt."""

    def __init__(self, addresses: dict[str, str], code: str, dice: random.Random) -> None:
        self._addresses, self._code, self._dice = addresses, code, dice
        self.ways: list[Leave] = [
            self.grpc_cancel, self.grpc_deadline, self.reset_streams, self.close_connection, self.leave_gateway,
            self.leave_redirect,
        ]  # fmt: skip
        self.answered = 0

    def _call(self, number: int) -> tuple[str, bytes]:
        path, request = self._dice.choice(requests_of(number, self._code))
        return path, bytes(request)

    async def _a_moment(self) -> None:
        """Let some time pass, often none at all."""
        if self._dice.random() < 0.5:
            for _ in range(self._dice.randrange(6)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(self._dice.uniform(0, RACES_MAX))

    @contextlib.asynccontextmanager
    async def grpc_channel(self) -> AsyncIterator[None]:
        """Have a channel of grpcio for as long as the block lasts."""
        async with grpc.aio.insecure_channel(self._addresses["url"]) as self._channel:
            yield

    async def grpc_cancel(self, number: int) -> None:
        path, request = self._call(number)
        call = self._channel.unary_unary(path)(request)
        await self._a_moment()
        call.cancel()
        await self._ended(call)

    async def grpc_deadline(self, number: int) -> None:
        path, request = self._call(number)
        await self._ended(self._channel.unary_unary(path)(request, timeout=self._dice.uniform(0.0005, RACES_MAX)))

    async def _ended(self, call: Any) -> None:
        try:
            await call
            self.answered += 1
        except asyncio.CancelledError:
            if not call.cancelled():
                raise
        except grpc.aio.AioRpcError:
            return  # its deadline, or what is wrong with the request

    @contextlib.asynccontextmanager
    async def _connected(self, name: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        host, _, port = self._addresses[name].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield reader, writer
        finally:
            if self._dice.random() < 0.5:
                writer.transport.abort()  # RST instead of FIN
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _ask(self, peer: h2.connection.H2Connection, stream: int, number: int) -> None:
        path, request = self._call(number)
        named = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
        peer.send_headers(stream, [*named, ("te", "trailers"), ("content-type", "application/grpc")])
        data = b"\0" + len(request).to_bytes(4, "big") + request
        if self._dice.random() < 0.8:
            peer.send_data(stream, data, end_stream=True)
        else:  # an unfinished request
            peer.send_data(stream, data[: len(data) // 2])

    async def reset_streams(self, number: int) -> None:
        async with self._connected("url") as (_, writer):
            peer = h2.connection.H2Connection()
            peer.initiate_connection()
            streams = range(1, 2 * self._dice.randrange(1, 8), 2)
            for stream in streams:
                self._ask(peer, stream, number)
            writer.write(peer.data_to_send())
            await self._a_moment()
            for stream in streams:
                peer.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
                writer.write(peer.data_to_send())
                await self._a_moment()

    async def close_connection(self, number: int) -> None:
        async with self._connected("url") as (_, writer):
            peer = h2.connection.H2Connection()
            peer.initiate_connection()
            for stream in range(1, 2 * self._dice.randrange(1, 8), 2):
                self._ask(peer, stream, number)
            writer.write(peer.data_to_send())
            await self._a_moment()

    async def leave_gateway(self, number: int) -> None:
        person = {"email": f"q{number}@example.com", "password": "123", "name": "Q"}
        body = json.dumps(person).encode()
        head = "POST /api/auth/register HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}"
        async with self._connected("gateway") as (_, writer):
            writer.write(head.encode() + b"\r\n\r\n" + body[: self._dice.choice([0, 5, len(body)])])
            await self._a_moment()

    async def leave_redirect(self, number: int) -> None:
        code = self._dice.choice([self._code, f"cold-{number}"])
        async with self._connected("redirect") as (_, writer):
            writer.write(f"GET /{code} HTTP/1.1\r\nHost: a\r\n\r\n".encode()[: self._dice.choice([10, 1000])])
            await self._a_moment()


async def honest(pb: SimpleNamespace, stubs: Any, name: str, over: asyncio.Event) -> int:
    """Make whole rounds of calls, all of which must be right, until it is over; return how many calls."""
    calls = 0
    while not over.is_set():
        request = pb.url_pb2.CreateURLRequest(long_url=f"https://example.com/{calls}", user_id=name)
        code = (await stubs.urls.CreateURL(request, timeout=60)).short_code
        increment = pb.url_pb2.IncrementClicksRequest(short_code=code)
        assert (await stubs.urls.IncrementClicks(increment, timeout=60)).clicks == 1
        click = pb.analytics_pb2.TrackClickRequest(short_code=code, ip_address="203.0.113.1")
        assert (await stubs.analytics.TrackClick(click, timeout=60)).success
        found = (await stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code=code), timeout=60)).url
        assert (found.long_url, found.clicks) == (request.long_url, 2)
        assert (await stubs.urls.DeleteURL(pb.url_pb2.DeleteURLRequest(short_code=code), timeout=60)).success
        calls += 5
    return calls
