"""A gRPC server over HTTP/2 as an asyncio protocol; it takes the handler mappings made for grpclib unchanged.

`frames` and `hpack` are pure readers; `head` judges a request, `connection` handles the frames of a connection, `calls`
those of its streams with `inbound` and `outbound` for either direction; `stream` is what a handler sees, `eager` runs
handlers without a task until they wait, `budget` bounds what clients cost, `server` owns the listener.
"""

from shortener.rpc.http2.server import RpcServer

__all__ = ["RpcServer"]
