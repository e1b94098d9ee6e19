"""Services and settings for the servers' tests: small handlers that do what a test needs."""

import asyncio
from dataclasses import replace
from typing import Any

from grpclib.const import Handler

from shortener import errors
from shortener.config.sections import Grpc
from shortener.gen import url as pb

GRPC = Grpc(message_size_max=65_536, connections_max=50, handshake_seconds=5.0)


def settings(**changes: Any) -> Grpc:
    return replace(GRPC, **changes)


class Urls(pb.UrlServiceBase):
    """GetURL does what its short code says; ListURLs waits for `release`."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.metadata: list[tuple[str, Any]] = []

    async def get_url(self, get_url_request: pb.GetUrlRequest) -> pb.GetUrlResponse:
        code = get_url_request.short_code
        failures: dict[str, Exception] = {
            "": errors.Invalid("short_code is required", field="short_code"),
            "missing": errors.NotFound("short URL not found"),
            "taken": errors.Conflict("alias is taken", field="alias", suggestions=("a1", "a2", "a3")),
            "limit": errors.Exhausted("too many", retry_after_seconds=7),
            "stopped": errors.Unavailable("try again later"),
            "bug": RuntimeError("a secret detail"),
            "timeout": TimeoutError("inner"),
        }
        if code in failures:
            raise failures[code]
        return pb.GetUrlResponse(url=pb.Url(short_code=code), found=True)

    async def list_ur_ls(self, list_ur_ls_request: pb.ListUrLsRequest) -> pb.ListUrLsResponse:
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return pb.ListUrLsResponse(total=7)

    async def create_url(self, create_url_request: pb.CreateUrlRequest) -> pb.CreateUrlResponse:
        return pb.CreateUrlResponse(qr_code="q" * create_url_request.expires_at)

    def __mapping__(self) -> dict[str, Handler]:
        mapping = super().__mapping__()
        inner = mapping["/url.URLService/GetURL"].func

        async def note(stream: Any) -> None:
            self.metadata = list(stream.metadata.items())
            await inner(stream)

        mapping["/url.URLService/GetURL"] = mapping["/url.URLService/GetURL"]._replace(func=note)
        return mapping
