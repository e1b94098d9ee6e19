"""Short codes and aliases are given once, however many ask at the same time, over whichever interface."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest

from tests.promises.async_clients import aio_stubs_of
from tests.support import process

CALLERS = 64
CONNECTIONS = 8
PROMISE = "short codes and aliases are unique under concurrency"


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Running]:
    """A server with codes of four characters, so that hundreds of creates meet one that is taken."""
    with process.running(tmp_path_factory.mktemp("unique") / "data", LINKS_CODE_LENGTH=4) as server:
        yield server


@pytest.mark.timeout(7200)
async def test_random_codes_are_given_once(
    short: process.Running, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    creates, acknowledged = size(300, 100_000), dict[str, str]()
    numbers = iter(range(creates))

    async def caller(stubs: Any) -> None:
        for number in numbers:
            destination = f"https://example.com/{number}"
            request = pb.url_pb2.CreateURLRequest(long_url=destination, user_id=f"u{number % 100}")
            answer = await stubs.urls.CreateURL(request, timeout=60)
            assert acknowledged.setdefault(answer.short_code, destination) == destination, answer.short_code

    async with AsyncExitStack() as stack:
        stubs = [await stack.enter_async_context(aio_stubs_of(pb, short)) for _ in range(CONNECTIONS)]
        await asyncio.gather(*(caller(stubs[number % CONNECTIONS]) for number in range(CALLERS)))
        assert len(acknowledged) == creates
        for code, destination in acknowledged.items():
            found = await stubs[0].urls.GetURL(pb.url_pb2.GetURLRequest(short_code=code), timeout=60)
            assert found.url.long_url == destination, code
    figure(PROMISE, f"{creates:,} creates by {CALLERS} callers, {len(acknowledged):,} distinct codes of 4 characters")


class Interfaces:
    """Callers who ask for one alias: every other one over gRPC, every other one over HTTP."""

    def __init__(
        self, pb: SimpleNamespace, server: process.Running, stubs: Any, session: aiohttp.ClientSession
    ) -> None:
        self._pb, self._stubs, self._session = pb, stubs, session
        self._address = f"http://{server.gateway}/api/urls/custom"
        self.tokens: list[str] = []

    async def register(self, count: int) -> None:
        for number in range(count):
            request = self._pb.user_pb2.RegisterRequest(
                email=f"a{number}@example.com", password="secret-of-interfaces", name="A"
            )
            self.tokens.append((await self._stubs.users.Register(request, timeout=30)).token)

    async def ask(self, number: int, alias: str, destination: str) -> str:
        """Return the name of the status."""
        if number % 2:
            return await self._over_http(number, alias, destination)
        request = self._pb.url_pb2.CreateCustomURLRequest(alias=alias, long_url=destination, user_id=f"u{number}")
        try:
            await self._stubs.urls.CreateCustomURL(request, timeout=60)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
        return "OK"

    async def _over_http(self, number: int, alias: str, destination: str) -> str:
        token = self.tokens[number // 2 % len(self.tokens)]
        body = json.dumps({"alias": alias, "long_url": destination})
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        async with self._session.post(self._address, data=body, headers=headers) as response:
            await response.read()
            return {201: "OK", 409: "ALREADY_EXISTS"}.get(response.status, str(response.status))


@pytest.mark.timeout(7200)
async def test_one_of_many_gets_an_alias(
    short: process.Running, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    rounds = size(2, 50)
    async with aio_stubs_of(pb, short) as stubs, aiohttp.ClientSession() as session:
        interfaces = Interfaces(pb, short, stubs, session)
        await interfaces.register(4)
        for turn in range(rounds):
            alias = f"alias-{turn}"
            destinations = [f"https://example.com/{turn}/{number}" for number in range(CALLERS)]
            found = await asyncio.gather(
                *(interfaces.ask(number, alias, destination) for number, destination in enumerate(destinations))
            )
            assert Counter(found) == {"OK": 1, "ALREADY_EXISTS": CALLERS - 1}
            answer = await stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code=alias), timeout=30)
            assert answer.url.long_url == destinations[found.index("OK")]
    figure(PROMISE, f"{rounds} aliases, {CALLERS} callers each over gRPC and HTTP: one won each time")


@pytest.mark.timeout(7200)
async def test_one_of_many_gets_its_own_deleted_alias_again(
    short: process.Running, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    rounds = size(2, 50)
    async with aio_stubs_of(pb, short) as stubs:
        interfaces = Interfaces(pb, short, stubs, None)  # type: ignore[arg-type] # it has no use for one
        for turn in range(rounds):
            found = await asyncio.gather(
                *(interfaces.ask(0, "again", f"https://example.com/{turn}/{number}") for number in range(CALLERS))
            )
            assert Counter(found) == {"OK": 1, "ALREADY_EXISTS": CALLERS - 1}
            answer = await stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code="again"), timeout=30)
            assert answer.url.long_url == f"https://example.com/{turn}/{found.index('OK')}"
            await stubs.urls.DeleteURL(pb.url_pb2.DeleteURLRequest(short_code="again"), timeout=30)
    figure(PROMISE, f"{rounds} times an alias deleted and asked for by {CALLERS} callers: one won each time")
