"""GetURL over a dict, on grpcio's aio server.

python -m tests.bench.peers.grpcio_get_url PORT LINK, where LINK is a JSON object of the message URL.
"""

import asyncio
import json
import sys
from typing import Any

import grpc
import grpc.aio

from tests.bench.messages import message_class


async def serve(port: int, link: dict[str, Any]) -> None:
    request, reply, url = (message_class(f"url.{name}") for name in ("GetURLRequest", "GetURLResponse", "URL"))
    links = {link["short_code"]: link}

    async def get_url(asked: Any, context: Any) -> Any:
        found = links.get(asked.short_code)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "short_code is unknown")
        return reply(url=url(**found), found=True)

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        get_url, request_deserializer=request.FromString, response_serializer=reply.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("url.URLService", {"GetURL": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), json.loads(sys.argv[2])))
