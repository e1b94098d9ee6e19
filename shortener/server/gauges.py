"""Where the numbers behind `/metrics` are read from."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Protocol

from shortener.app import App
from shortener.limits import Limiter
from shortener.links.lists.screen import Screen
from shortener.observe.loop_lag import LoopLag
from shortener.observe.metrics import Reading
from shortener.observe.request_log import RequestLog
from shortener.redirect.server import RedirectServer
from shortener.rest.server import HttpServer


def of_app(app: App) -> Iterator[Reading]:
    """Yield the readings of cache, journal, collector and database."""
    cache, journal, collector, database = app.cache, app.journal, app.collector, app.database
    hits = "Look-ups of links in the cache, by outcome."
    yield "shortener_cache_lookups_total", hits, {"outcome": "hit"}, lambda: cache.stats.hits
    yield "shortener_cache_lookups_total", hits, {"outcome": "unknown"}, lambda: cache.stats.unknown_hits
    yield "shortener_cache_lookups_total", hits, {"outcome": "miss"}, lambda: cache.stats.misses
    yield "shortener_cache_links", "Links in the cache.", {}, lambda: cache.size
    yield "shortener_clicks_journaled_total", "Clicks handed to the kernel.", {}, lambda: journal.records
    yield "shortener_clicks_dropped_total", "Clicks lost because a write failed.", {}, lambda: journal.dropped
    yield "shortener_journal_sync_failures_total", "Syncs that failed.", {}, lambda: journal.sync_failures
    yield "shortener_clicks_stored_total", "Clicks moved to the database.", {}, lambda: collector.stats.clicks
    yield "shortener_click_batches_total", "Transactions that did.", {}, lambda: collector.stats.batches
    yield "shortener_click_batch_failures_total", "Those tried again.", {}, lambda: collector.stats.failures
    yield "shortener_journal_lost_bytes_total", "Damaged bytes skipped.", {}, lambda: collector.stats.lost_bytes
    yield "shortener_click_backlog_bytes", "Bytes of clicks that wait.", {}, collector.backlog_bytes
    yield "shortener_idempotency_keys", "Idempotency keys remembered.", {}, lambda: app.replays.count
    yield "shortener_replayed_answers_total", "Answers given again.", {}, lambda: app.replays.replayed
    yield "shortener_clicks_removed_total", "Old raw clicks removed.", {}, lambda: app.retention.stats.removed
    yield "shortener_accounts_erased_total", "Accounts erased.", {}, lambda: app.erasure.stats.accounts
    yield "shortener_links_erased_total", "Links erased with them.", {}, lambda: app.erasure.stats.links
    yield "shortener_commits_total", "Commits.", {}, lambda: database.writer_stats.commits
    yield "shortener_writes_total", "Units of work committed.", {}, lambda: database.writer_stats.units
    yield "shortener_commit_seconds", "Transactions, by the time they took.", {}, database.writer_stats.commit_seconds
    yield "shortener_commit_units", "Transactions, by writes in them.", {}, database.writer_stats.commit_units
    yield "shortener_writes_failed_total", "Writes that failed.", {}, lambda: database.writer_stats.units_failed
    yield "shortener_writes_waiting", "Units of work that wait.", {}, lambda: database.waiting_writes
    yield "shortener_reads_total", "Database reads.", {}, lambda: database.reader_stats.reads
    yield "shortener_read_seconds_total", "Time in reads.", {}, lambda: database.reader_stats.read_seconds
    yield "shortener_reads_waiting", "Reads that wait.", {}, lambda: database.waiting_reads
    yield "shortener_passwords_waiting", "Passwords being hashed or waiting.", {}, lambda: app.passwords.waiting
    yield "shortener_qr_codes_waiting", "QR codes being drawn or waiting.", {}, lambda: app.qr_codes.waiting
    if app.screen is not None:
        yield from _of_lists(app.screen)


def of_loop(lag: LoopLag) -> Iterator[Reading]:
    """Yield how late the event loop is."""
    yield "shortener_event_loop_lag_seconds", "How late the event loop runs what is due.", {}, lag.seconds


class RpcListener(Protocol):
    """What is read of a gRPC server."""

    refused_connections: int

    @property
    def connections(self) -> int:
        """How many clients are connected."""


def _connections(server: RpcListener) -> int:
    return server.connections


def _refused_connections(server: RpcListener) -> int:
    return server.refused_connections


def of_listeners(rpc: Mapping[str, RpcListener], gateway: HttpServer, redirect: RedirectServer) -> Iterator[Reading]:
    """Yield the connections of every listener, by the names of the ready line."""
    name, meaning = "shortener_connections", "Open connections, by listener."
    refused, too_many = "shortener_connections_refused_total", "Connections refused: too many were open."
    for listener, server in rpc.items():
        yield name, meaning, {"listener": listener}, partial(_connections, server)
        yield refused, too_many, {"listener": listener}, partial(_refused_connections, server)
    yield name, meaning, {"listener": "gateway"}, lambda: gateway.connections
    yield name, meaning, {"listener": "redirect"}, lambda: redirect.connections
    yield refused, too_many, {"listener": "redirect"}, lambda: redirect.refused_connections
    yield refused, too_many, {"listener": "gateway"}, lambda: gateway.refusals.count
    evicted, made_room = "shortener_connections_evicted_total", "Idle connections closed to make room for new ones."
    yield evicted, made_room, {"listener": "gateway"}, lambda: gateway.evicted_connections
    yield evicted, made_room, {"listener": "redirect"}, lambda: redirect.traffic.evicted_connections
    slow = "Connections closed because the client was too slow."
    timed_out = "shortener_connections_timed_out_total"
    yield timed_out, slow, {"listener": "redirect"}, lambda: redirect.traffic.timed_out_connections


def of_requests(requests: RequestLog) -> Iterator[Reading]:
    """Yield the readings of the slow log and the access log."""
    yield "shortener_slow_requests_total", "Requests that took log.slow_seconds.", {}, lambda: requests.slow
    yield "shortener_access_lines_dropped_total", "Lines that found no room.", {}, lambda: requests.dropped


def _of_lists(screen: Screen) -> Iterator[Reading]:
    hosts, codes = screen.hosts, screen.codes
    entries, failures = "shortener_list_entries", "shortener_list_failures_total"
    if hosts is not None:
        yield entries, "Entries of the operator's lists.", {"list": "blocklist"}, lambda: len(hosts.value)
        yield failures, "Lists that could not be read again.", {"list": "blocklist"}, lambda: hosts.failures
    if codes is not None:
        yield entries, "Entries of the operator's lists.", {"list": "quarantine"}, lambda: len(codes.value)
        yield failures, "Lists that could not be read again.", {"list": "quarantine"}, lambda: codes.failures


def of_limits(app: App) -> Iterator[Reading]:
    """Yield the readings of all limits."""
    for name, limiter in {**app.limits.limiters, **app.throttle.limiters}.items():
        yield from _of_limiter(name, limiter)


def _of_limiter(name: str, limiter: Limiter) -> Iterator[Reading]:
    labels = {"limit": name}
    yield "shortener_limit_refusals_total", "Requests over a limit.", labels, lambda: limiter.refused
    yield "shortener_limit_keys", "Addresses and accounts remembered.", labels, lambda: len(limiter)


def of_redirects(server: RedirectServer) -> Iterator[Reading]:
    """Yield the readings of the redirect server."""
    traffic = server.traffic
    total, lane = "shortener_redirects_total", "Redirects, by who answered: the lane or aiohttp."
    yield total, lane, {"lane": "fast"}, lambda: traffic.fast
    yield total, lane, {"lane": "slow"}, lambda: traffic.slow
    refusals, meaning = "shortener_redirect_refusals_total", "Requests that were not redirected, by reason."
    yield refusals, meaning, {"reason": "not_found"}, lambda: traffic.not_found
    yield refusals, meaning, {"reason": "gone"}, lambda: traffic.gone
    yield refusals, meaning, {"reason": "withheld"}, lambda: traffic.withheld
    yield refusals, meaning, {"reason": "limited"}, lambda: traffic.limited
    yield refusals, meaning, {"reason": "failed"}, lambda: traffic.failed
    yield refusals, meaning, {"reason": "malformed"}, lambda: traffic.malformed
    yield "shortener_redirect_clicks_lost_total", "Redirects not counted.", {}, lambda: traffic.lost_clicks
