"""The sections of the configuration, each a frozen dataclass with the defaults that `config.toml` documents."""

from dataclasses import dataclass, field
from typing import Any, Literal


def _number(default: float, low: float, high: float) -> Any:  # a dataclass field passes for its type
    return field(default=default, metadata={"low": low, "high": high})


def _text(default: str, length_max: int) -> Any:  # a dataclass field passes for its type
    return field(default=default, metadata={"length_max": length_max})


@dataclass(frozen=True, slots=True)
class Grpc:
    """The three gRPC listeners."""

    host: str = "127.0.0.1"
    url_port: int = _number(50051, 0, 65535)
    user_port: int = _number(50052, 0, 65535)
    analytics_port: int = _number(50053, 0, 65535)
    server: Literal["own", "grpclib"] = "own"
    message_size_max: int = _number(262_144, 1024, 67_108_864)
    streams_max: int = _number(100, 1, 10_000)
    connections_max: int = _number(1000, 1, 100_000)
    connections_per_address_max: int = _number(250, 1, 100_000)
    header_list_size_max: int = _number(16_384, 1024, 1_048_576)
    handshake_seconds: float = _number(10.0, 0.1, 3600)
    idle_seconds: float = _number(0.0, 0, 31_536_000)
    timeout_seconds: float = _number(5.0, 0.1, 3600)
    statistics_timeout_seconds: float = _number(10.0, 0.1, 3600)
    keepalive_seconds: float = _number(30.0, 1, 3600)
    keepalive_timeout_seconds: float = _number(20.0, 1, 3600)
    idle_frames_max: int = _number(1000, 10, 1_000_000)
    idle_frames_per_second: int = _number(100, 1, 1_000_000)
    window_size: int = _number(262_144, 65_535, 16_777_216)
    unsent_max: int = _number(262_144, 16_384, 1_073_741_824)
    unsent_total_max: int = _number(16_777_216, 16_384, 17_179_869_184)
    receive_max: int = _number(0, 0, 1_073_741_824)
    held_max: int = _number(0, 0, 17_179_869_184)
    message_timeout_seconds: float = _number(10.0, 0.1, 3600)
    write_timeout_seconds: float = _number(20.0, 0.1, 3600)
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    service_token: str = ""
    service_token_file: str = ""
    allow_insecure: bool = False


@dataclass(frozen=True, slots=True)
class Gateway:
    """The REST gateway."""

    host: str = "127.0.0.1"
    port: int = _number(8080, 0, 65535)
    body_size_max: int = _number(65_536, 1024, 16_777_216)
    exports_max: int = _number(2, 1, 1000)
    line_size_max: int = _number(8190, 1024, 1_048_576)
    connections_max: int = _number(1000, 1, 100_000)
    connections_per_address_max: int = _number(250, 1, 100_000)
    head_timeout_seconds: float = _number(10.0, 0.1, 3600)
    body_timeout_seconds: float = _number(10.0, 0.1, 3600)
    keepalive_seconds: float = _number(75.0, 1, 3600)
    write_timeout_seconds: float = _number(20.0, 0.1, 3600)
    held_max: int = _number(33_554_432, 65_536, 17_179_869_184)
    cors_origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """The redirect server."""

    host: str = "127.0.0.1"
    port: int = _number(8081, 0, 65535)
    base_url: str = ""
    status: Literal[301, 302, 303, 307, 308] = 302
    connections_max: int = _number(10_000, 1, 1_000_000)
    connections_per_address_max: int = _number(1000, 1, 1_000_000)
    head_size_max: int = _number(16_384, 1024, 1_048_576)
    heads_max: int = _number(2000, 1, 10_000_000)
    answer_timeout_seconds: float = _number(5.0, 0.1, 3600)
    head_timeout_seconds: float = _number(10.0, 0.1, 3600)
    keepalive_seconds: float = _number(75.0, 1, 3600)
    write_timeout_seconds: float = _number(20.0, 0.1, 3600)
    held_max: int = _number(33_554_432, 65_536, 17_179_869_184)


@dataclass(frozen=True, slots=True)
class Storage:
    """The data directory and the database in it."""

    data_dir: str = _text("data", 4096)
    readers: int = _number(2, 1, 64)
    batch_max: int = _number(1000, 1, 100_000)
    queue_max: int = _number(20_000, 1, 1_000_000)
    gather_seconds: float = _number(0.01, 0, 1)
    cache_bytes: int = _number(16_777_216, 65_536, 17_179_869_184)
    busy_timeout_seconds: float = _number(5.0, 0, 3600)


@dataclass(frozen=True, slots=True)
class Links:
    """Making links."""

    code_length: int = _number(7, 4, 32)
    blocklist_file: str = ""
    blocklist_size_max: int = _number(2_000_000, 1, 20_000_000)
    quarantine_file: str = ""
    quarantine_size_max: int = _number(100_000, 1, 20_000_000)
    lists_check_seconds: float = _number(5.0, 0.01, 86_400)


@dataclass(frozen=True, slots=True)
class Cache:
    """The in-memory cache of links."""

    ttl_seconds: float = _number(900.0, 0.001, 31_536_000)
    size_max: int = _number(100_000, 1, 100_000_000)
    missing_ttl_seconds: float = _number(5.0, 0.001, 3600)
    missing_size_max: int = _number(10_000, 1, 10_000_000)


@dataclass(frozen=True, slots=True)
class Auth:
    """Accounts: who may make one, tokens and passwords."""

    registration: Literal["open", "closed"] = "open"
    secret_file: str = ""
    secret: str = ""
    token_ttl_seconds: int = _number(604_800, 1, 315_360_000)
    issuer: str = _text("shortener", 256)
    audience: str = _text("shortener", 256)
    hash_threads: int = _number(1, 1, 64)
    hash_queue_max: int = _number(64, 1, 10_000)
    hash_wait_seconds: float = _number(1.5, 0.01, 3600)
    token_cache_size_max: int = _number(10_000, 1, 10_000_000)


@dataclass(frozen=True, slots=True)
class Analytics:
    """What is learned from a click."""

    city_database: str = ""
    trusted_proxies: tuple[str, ...] = ()
    count_bots: bool = True
    values_max: int = _number(1000, 1, 100_000)
    clients_max: int = _number(10_000, 1, 10_000_000)
    visitor_key_rotation: Literal["never", "daily"] = "never"
    retention_days: int = _number(0, 0, 36_500)


@dataclass(frozen=True, slots=True)
class Clicks:
    """The click journal and the writer that empties it."""

    durability: Literal["kernel", "power"] = "kernel"
    sync_seconds: float = _number(0.1, 0.001, 60)
    flush_seconds: float = _number(0.25, 0.01, 0.5)
    batch_max: int = _number(2000, 1, 100_000)
    replay_seconds: float = _number(10.0, 0, 3600)
    segment_size_max: int = _number(16_777_216, 65_536, 1_073_741_824)


@dataclass(frozen=True, slots=True)
class Limits:
    """What callers may ask for who are not trusted; a rate of 0 is no limit."""

    creates_per_minute: int = _number(6000, 0, 1_000_000_000)
    creates_burst: int = _number(60_000, 1, 1_000_000_000)
    registrations_per_minute: int = _number(600, 0, 1_000_000_000)
    registrations_burst: int = _number(600, 1, 1_000_000_000)
    logins_per_minute: int = _number(600, 0, 1_000_000_000)
    logins_burst: int = _number(600, 1, 1_000_000_000)
    address_login_failures_per_minute: int = _number(60, 0, 1_000_000_000)
    address_login_failures_burst: int = _number(300, 1, 1_000_000_000)
    login_failures_per_minute: int = _number(1, 0, 1_000_000_000)
    login_failures_burst: int = _number(100, 1, 1_000_000_000)
    misses_per_minute: int = _number(600, 0, 1_000_000_000)
    misses_burst: int = _number(600, 1, 1_000_000_000)
    keys_max: int = _number(20_000, 1, 100_000_000)


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Calls that come twice with one idempotency key."""

    ttl_seconds: int = _number(86_400, 60, 2_592_000)
    keys_max: int = _number(1_000_000, 1, 100_000_000)


@dataclass(frozen=True, slots=True)
class Server:
    """The process."""

    notice_seconds: float = _number(0.5, 0, 600)
    drain_seconds: float = _number(6.0, 0, 600)
    uvloop: bool = True


@dataclass(frozen=True, slots=True)
class Log:
    """Log lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    access: bool = False
    slow_seconds: float = _number(1.0, 0, 3600)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration. `Config()` is the embedded default."""

    grpc: Grpc = field(default_factory=Grpc)
    gateway: Gateway = field(default_factory=Gateway)
    redirect: Redirect = field(default_factory=Redirect)
    storage: Storage = field(default_factory=Storage)
    links: Links = field(default_factory=Links)
    cache: Cache = field(default_factory=Cache)
    auth: Auth = field(default_factory=Auth)
    analytics: Analytics = field(default_factory=Analytics)
    clicks: Clicks = field(default_factory=Clicks)
    limits: Limits = field(default_factory=Limits)
    idempotency: Idempotency = field(default_factory=Idempotency)
    server: Server = field(default_factory=Server)
    log: Log = field(default_factory=Log)
