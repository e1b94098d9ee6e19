"""Opens the links module."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from shortener import errors
from shortener.config.loading import ConfigError
from shortener.config.sections import Redirect
from shortener.core import Core
from shortener.idempotency import Replays
from shortener.links.cache import MemoryLinkCache
from shortener.links.codes import random_codes
from shortener.links.destination import OwnAddresses, own_addresses
from shortener.links.lists.blocklist import Blocklist
from shortener.links.lists.file import ListFile
from shortener.links.lists.hash_set import Fingerprints
from shortener.links.lists.screen import Screen, followed, load_screen
from shortener.links.ports import IsErased, Outbox, RenderQr
from shortener.links.qr import QrCodes
from shortener.links.service import LinkService
from shortener.links.sqlite import SqliteLinkStore
from shortener.observe.histogram import Gauge
from shortener.tasks import cancel, in_thread

QR_AFTER_SECONDS = 1.0
"""When the tables of QR codes are prepared: until then the event loop is the start's."""


@dataclass(frozen=True, slots=True)
class LinksModule:
    """The running parts of links."""

    service: LinkService
    cache: MemoryLinkCache
    screen: Screen | None
    """What is kept from visitors by the operator's lists; None without any."""


async def open_links(core: Core, replays: Replays, *, is_erased: IsErased, outbox: Outbox | None = None) -> LinksModule:
    """Open the cache, the operator's lists and the service over them. Raises `ConfigError`."""
    config = core.config
    own = addresses_of(config.redirect)
    store = SqliteLinkStore(core.database)
    cache = MemoryLinkCache(store, config.cache)
    core.stack.push_async_callback(cache.close)
    qr_codes, new_code = QrCodes(own.base_url), random_codes(config.links.code_length)
    core.stack.push_async_callback(cancel, asyncio.create_task(_prepare(qr_codes, own.short_url(new_code()))))
    screen = await in_thread("lists", lambda: load_screen(config.links))
    if screen is not None:
        await core.stack.enter_async_context(followed(screen, every_seconds=config.links.lists_check_seconds))
    service = LinkService(
        store=store,
        cache=cache,
        transactions=core.database.transaction,
        clock=core.clock,
        new_code=new_code,
        render_qr=qr_codes,
        own=own,
        blocks=screen.blocks if screen is not None and screen.hosts is not None else None,
        replays=replays,
        is_erased=is_erased,
        outbox=outbox,
    )
    core.gauges.extend(_gauges(cache, screen))
    return LinksModule(service, cache, screen)


def addresses_of(redirect: Redirect) -> OwnAddresses:
    """Return where short URLs live. Raises `ConfigError`."""
    try:
        return own_addresses(redirect.base_url or f"http://localhost:{redirect.port}", redirect.port)
    except errors.Invalid as error:
        raise ConfigError(f"[redirect] {error.message}, not {redirect.base_url!r:.80}") from None


async def _prepare(render_qr: RenderQr, short_url: str) -> None:
    """Draw a code of the usual length, so that no caller has to wait for what is drawn for the first one only."""
    await asyncio.sleep(QR_AFTER_SECONDS)
    await render_qr(short_url, "png")


def _gauges(cache: MemoryLinkCache, screen: Screen | None) -> Iterator[Gauge]:
    hits = "Look-ups of links in the cache, by outcome."
    yield "shortener_cache_lookups_total", hits, {"outcome": "hit"}, lambda: cache.stats.hits
    yield "shortener_cache_lookups_total", hits, {"outcome": "unknown"}, lambda: cache.stats.unknown_hits
    yield "shortener_cache_lookups_total", hits, {"outcome": "miss"}, lambda: cache.stats.misses
    yield "shortener_cache_links", "Links in the cache.", {}, lambda: len(cache.links)
    if screen is not None and screen.hosts is not None:
        yield from _list_gauges("blocklist", screen.hosts)
    if screen is not None and screen.codes is not None:
        yield from _list_gauges("quarantine", screen.codes)


def _list_gauges(name: str, file: ListFile[Blocklist] | ListFile[Fingerprints]) -> Iterator[Gauge]:
    labels = {"list": name}
    yield "shortener_list_entries", "Entries of the operator's lists.", labels, lambda: len(file.value)
    yield "shortener_list_failures_total", "Lists that could not be read again.", labels, lambda: file.failures
