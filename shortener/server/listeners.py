"""The five listeners over one `App`: bound first, started together, drained in order."""

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias

from shortener.accounts.api import authenticator
from shortener.app import App, open_app
from shortener.config.loading import is_loopback, service_token
from shortener.config.sections import Config
from shortener.net.listener import Listener
from shortener.observe.loop_lag import LoopLag
from shortener.observe.metrics import Metrics
from shortener.observe.request_log import OFF, RequestLog, open_request_log
from shortener.redirect.ports import RedirectPorts
from shortener.redirect.server import RedirectServer, open_redirect_server
from shortener.rest import cors, gateway, openapi
from shortener.rest import docs as docspage
from shortener.rest import operations as ops
from shortener.rest.problems import problems
from shortener.rest.server import HttpServer
from shortener.rpc.callers import callers_of
from shortener.rpc.guard import Service, guarded, holders_of, mounted
from shortener.rpc.health import SERVICE as HEALTH
from shortener.rpc.health import Health, Serving
from shortener.rpc.http2 import server as h2
from shortener.rpc.reflection import reflection
from shortener.rpc.stock import StockServer
from shortener.server import tls
from shortener.server.sockets import NAMES, Sockets
from shortener.tasks import finish
from shortener.version import __version__

RpcServer: TypeAlias = StockServer | h2.RpcServer


class Servers:
    """The running listeners."""

    def __init__(self, app: App, sockets: Sockets) -> None:
        self.app = app
        app.addresses.update({name: sockets.address(name) for name in NAMES})
        self.sockets = sockets
        self.serving = Serving()
        self.metrics = Metrics()
        self.requests: RequestLog = OFF
        self.lag = LoopLag()
        self.rpc: dict[str, RpcServer] = {}
        self.gateway: HttpServer
        self.redirect: RedirectServer

    async def drain(self) -> None:
        """Report unready, after `server.notice_seconds` take nothing new, and let what runs finish.

        That is for `server.drain_seconds` at most.
        """
        self.serving.stop()
        grace = self.app.core.config.server.drain_seconds
        await asyncio.sleep(self.app.core.config.server.notice_seconds)
        rpc = (server.drain(grace) for server in self.rpc.values())
        await asyncio.gather(*rpc, self.gateway.drain(grace), self.redirect.drain(grace))

    @property
    def listeners(self) -> dict[str, Listener]:
        """The listeners by the names of the ready line; the stock gRPC servers have none of ours."""
        own = {name: server.listener for name, server in self.rpc.items() if isinstance(server, h2.RpcServer)}
        return {**own, "gateway": self.gateway.listener, "redirect": self.redirect.listener}

    async def close_rpc(self) -> None:
        """End the gRPC listeners, all at the same time: each waits a moment for clients to take their last bytes."""
        for server in self.rpc.values():
            server.close()
        await asyncio.gather(*(server.wait_closed() for server in self.rpc.values()))


@asynccontextmanager
async def open_servers(config: Config, sockets: Sockets) -> AsyncIterator[Servers]:
    """Run the whole service on bound sockets until the block ends, and drain it then.

    Raises what `open_app` raises, and `ConfigError` for TLS files and tokens that cannot be used.
    """
    token, context = service_token(config), tls.server_context(config.grpc)
    stack = AsyncExitStack()
    try:
        redirect = dataclasses.replace(config.redirect, port=sockets.port("redirect"))
        app = await stack.enter_async_context(open_app(dataclasses.replace(config, redirect=redirect)))
        servers = Servers(app, sockets)
        stack.callback(servers.lag.close)
        servers.requests = stack.enter_context(open_request_log(config.log))
        await _start_redirect(stack, servers)
        await _start_gateway(stack, servers)
        await _start_rpc(stack, servers, token, context)
        shown = [listener.gauges(name) for name, listener in servers.listeners.items()]
        shown += [servers.redirect.traffic.gauges(), servers.requests.gauges(), servers.lag.gauges()]
        for each in (app.core.gauges, *shown):
            servers.metrics.watch(each)
        servers.serving.start()
        try:
            yield servers
        finally:
            await servers.drain()
    finally:
        await finish(stack.aclose())  # A caller who is cancelled cuts the draining short, and nothing else.


_PACKAGES = {"url": ("url", "user", "analytics"), "user": ("user",), "analytics": ("analytics",)}
"""What each gRPC listener serves."""


async def _start_rpc(stack: AsyncExitStack, servers: Servers, token: str, context: ssl.SSLContext | None) -> None:
    app, grpc = servers.app, servers.app.core.config.grpc
    stack.push_async_callback(servers.close_rpc)
    for name, packages in _PACKAGES.items():
        sock = servers.sockets.by_name[name]
        callers = None if is_loopback(sock.getsockname()[0]) else callers_of(grpc, app.core.client_addresses)
        services: list[Service] = []
        for package in packages:
            offered = [each for each in app.operations if each.path.startswith(f"/{package}.")]
            services.append(mounted(offered, caller_of=callers, limits=app.core.limits))
        served = [*services, Health(servers.serving, services)]
        served += reflection(served)
        open_services = frozenset([HEALTH])
        guards = guarded(
            served,
            new_id=app.core.new_id,
            service_token=token,
            open_services=open_services,
            observe=servers.metrics.rpc.observe,
            requests=servers.requests,
        )
        server: RpcServer
        if grpc.server == "grpclib":
            server = StockServer(guards)
        else:
            admits = holders_of(token, open_services) if token else None
            server = h2.RpcServer(guards, grpc, admits=admits, is_exempt=app.core.client_addresses.is_proxy)
        await server.start("", 0, ssl=context, sock=sock)
        servers.rpc[name] = server


async def _start_gateway(stack: AsyncExitStack, servers: Servers) -> None:
    app, limits, grpc = servers.app, servers.app.core.config.gateway, servers.app.core.config.grpc
    web = gateway.new_app(limits, problems(app.core.new_id, servers.metrics.http.observe, servers.requests))
    door = gateway.Door(authenticator(app.accounts), app.core.client_addresses, app.core.limits)
    gateway.mount(web, app.operations, door=door, gateway=limits, timeouts=grpc)
    if limits.cors_origins:
        cors.mount(web, limits.cors_origins)
    ops.mount(web, serving=servers.serving, registry=servers.metrics.registry)
    document = openapi.document(app.operations, title="shortener", version=__version__, description=DESCRIPTION)
    docspage.mount(web, document, links=app.links.short_url(""))
    servers.gateway = HttpServer(
        web, settings=limits, new_id=app.core.new_id, is_exempt=app.core.client_addresses.is_proxy
    )
    await servers.gateway.start("", 0, sock=servers.sockets.by_name["gateway"])
    stack.push_async_callback(servers.gateway.close)


DESCRIPTION = (
    "Create short links, follow what happens to them, delete them. "
    "Every body is the message of the gRPC method of the same name."
)


async def _start_redirect(stack: AsyncExitStack, servers: Servers) -> None:
    app = servers.app
    config = app.core.config
    ports = RedirectPorts(
        find=app.cache.find,
        peek=app.cache.links.peek,
        look_up=app.cache.links.look_up,
        clicks=app.clicks,
        withheld=app.screen.withholds if app.screen is not None else None,
        settled=app.clicks.settled if config.clicks.durability == "power" else None,
        misses=app.core.limits,
        clock=app.core.clock,
        new_id=app.core.new_id,
        observe=servers.metrics.redirect.observe,
        requests=servers.requests,
    )
    servers.redirect = await stack.enter_async_context(
        open_redirect_server(
            ports,
            config.redirect,
            host="",
            port=0,
            sock=servers.sockets.by_name["redirect"],
            trusted_proxies=config.analytics.trusted_proxies,
        )
    )
