"""GetURL over a dict, on stock grpclib with betterproto's own messages.

python -m tests.bench.peers.grpclib_get_url PORT LINK, where LINK is a JSON object of the message URL.
"""

import asyncio
import json
import sys
from typing import Any

from grpclib import GRPCError
from grpclib.const import Status
from grpclib.server import Server

from shortener.gen.url import GetUrlRequest, GetUrlResponse, Url, UrlServiceBase


class Urls(UrlServiceBase):
    def __init__(self, links: dict[str, dict[str, Any]]) -> None:
        self.links = links

    async def get_url(self, get_url_request: GetUrlRequest) -> GetUrlResponse:
        found = self.links.get(get_url_request.short_code)
        if found is None:
            raise GRPCError(Status.NOT_FOUND, "short_code is unknown")
        return GetUrlResponse(url=Url(**found), found=True)


async def serve(port: int, link: dict[str, Any]) -> None:
    server = Server([Urls({link["short_code"]: link})])
    await server.start("127.0.0.1", port)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), json.loads(sys.argv[2])))
