"""A plain aiohttp application that answers every request with the same 302.

python -m tests.bench.peers.aiohttp_302 PORT DESTINATION [uvloop]
"""

import asyncio
import sys

from aiohttp import web


def main() -> None:
    port, destination = int(sys.argv[1]), sys.argv[2]

    async def redirect(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": destination})

    loop: asyncio.AbstractEventLoop | None = None
    if sys.argv[3:] == ["uvloop"]:
        import uvloop

        loop = uvloop.new_event_loop()
    app = web.Application()
    app.router.add_get("/{code}", redirect)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=loop)


if __name__ == "__main__":
    main()
