"""Says before a start what would prevent it."""

from collections.abc import Callable
from pathlib import Path

from shortener.accounts.signing_keys import load_keys, parse_keys
from shortener.analytics.clients.geo import open_reader
from shortener.analytics.clients.visitors import parse_key
from shortener.config.loading import service_token
from shortener.config.sections import Config
from shortener.errors import OperatorError
from shortener.idempotency.module import parse_secret
from shortener.links.lists.screen import load_screen
from shortener.links.module import addresses_of
from shortener.server import tls
from shortener.server.sockets import check_addresses
from shortener.storage import files
from shortener.storage.data_dir import check_data_dir, check_is_whole, owner_of
from shortener.storage.sqlite.migrate import check_applied, load_migrations
from shortener.storage.sqlite.snapshot import open_snapshot


def check_start(config: Config) -> None:
    """Raise the `OperatorError` that `serve` would end with, and change nothing.

    Where a server runs on the data directory already, addresses in use are taken to be its own.
    """
    data_dir = Path(config.storage.data_dir)
    check_addresses(config, may_be_taken=owner_of(data_dir) != 0)
    addresses_of(config.redirect)
    service_token(config)
    tls.server_context(config.grpc)
    load_screen(config.links)
    check_data_dir(data_dir, for_owner=True)
    check_is_whole(data_dir)
    _check_database(data_dir / files.DATABASE)
    _check_keys(config, data_dir)
    if config.analytics.city_database:
        open_reader(Path(config.analytics.city_database)).close()


def _check_database(path: Path) -> None:
    if path.exists():
        is_closed = not path.with_name(f"{path.name}-wal").exists()
        with open_snapshot(path, is_frozen=is_closed) as raw:
            check_applied(path, raw, load_migrations())


def _check_keys(config: Config, data_dir: Path) -> None:
    """See that the keys can be read that the configuration names, or else that `serve` has made before."""
    own: dict[str, Callable[[Path, bytes], object]] = {files.VISITOR_KEY: parse_key, files.REPLAY_KEY: parse_secret}
    if config.auth.secret or config.auth.secret_file:
        load_keys(config.auth, data_dir)
    else:
        own[files.SECRET] = lambda path, text: parse_keys(text, f"[auth] secret_file is empty, and {path}")
    for name, parse in own.items():
        path = data_dir / name
        if path.exists():
            try:
                parse(path, path.read_bytes())
            except OSError as error:
                raise OperatorError(f"cannot use {path}: {files.reason(error)}") from None
