"""A gRPC server over HTTP/2 as an asyncio protocol; it takes the handler mappings made for grpclib unchanged.

`frames` and `hpack` are pure readers; `head` judges a request, `connection` keeps RFC 9113's states, `stream` is
what a handler sees, `ride` runs handlers without a task until they wait, `server` owns the listener.
"""

from shortener.rpc.http2.limits import Limits
from shortener.rpc.http2.server import RpcServer

__all__ = ["Limits", "RpcServer"]
