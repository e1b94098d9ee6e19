"""Reads the configuration from TOML and the environment; every check of it is here."""

import dataclasses
import difflib
import ipaddress
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from shortener.config.sections import Config, Grpc
from shortener.errors import OperatorError

ENV_PREFIX = "SHORTENER_"
COMMAND_KEYS = frozenset({"SHORTENER_CONFIG", "SHORTENER_USER", "SHORTENER_PASSWORD"})
"""What the command line reads itself."""
_KUBERNETES = re.compile(r"SHORTENER_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)?)")
"""What a Kubernetes service called `shortener` puts into the environment of every container beside it."""
_ORIGIN = re.compile(
    r"(https?)://(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS = {("http", "80"), ("https", "443")}
_ORIGINS_MAX = 100

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")


class ConfigError(OperatorError):
    """The configuration cannot be used; the message names the key."""

    status = 2


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read `path` (none: defaults only), then lay `SHORTENER_<SECTION>_<KEY>` over it.

    Raises `ConfigError` for a file that cannot be read, an unknown key, a wrong type or a value out of range.
    """
    values = _read_toml(path) if path else {}
    origin = str(path) if path else "environment"
    sections = {item.name: typing.cast("type[Any]", item.default_factory) for item in dataclasses.fields(Config)}
    for name in values:
        if name not in sections:
            raise ConfigError(f"{origin}: unknown section [{name}]{_hint(name, sections)}")
    texts = _from_environment(os.environ if environ is None else environ, sections)
    built = {}
    for name, kind in sections.items():
        table = values.get(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{origin}: [{name}] must be a table")
        built[name] = _section(kind, name, table, texts[name], origin)
    config = Config(**built)
    check(config)
    return config


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from None


def _from_environment(environ: Mapping[str, str], sections: Mapping[str, type]) -> dict[str, dict[str, str]]:
    """Return the texts that the environment has for keys, by section."""
    found: dict[str, dict[str, str]] = {section: {} for section in sections}
    keys = {section: [item.name for item in dataclasses.fields(kind)] for section, kind in sections.items()}
    for variable, text in environ.items():
        if not variable.startswith(ENV_PREFIX) or variable in COMMAND_KEYS or _KUBERNETES.fullmatch(variable):
            continue
        section = next((each for each in keys if variable.startswith(f"{ENV_PREFIX}{each.upper()}_")), "")
        key = variable.removeprefix(f"{ENV_PREFIX}{section.upper()}_").lower()
        if key not in keys.get(section, ()):
            every = [f"{ENV_PREFIX}{each}_{key}".upper() for each in keys for key in keys[each]]
            hint = _hint(key, keys[section]) if section else _hint(variable, every)
            raise ConfigError(f"environment: unknown key {variable}{hint}")
        found[section][key] = text
    return found


def _section(kind: type[S], name: str, table: dict[str, object], texts: Mapping[str, str], origin: str) -> S:
    fields = {item.name: item for item in dataclasses.fields(kind)}
    for key in table:
        if key not in fields:
            raise ConfigError(f"{origin}: unknown key [{name}] {key}{_hint(key, fields)}")
    hints = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    for key, item in fields.items():
        if key in table:
            values[key] = _checked(table[key], hints[key], item, f"{origin}: [{name}] {key}")
        if key in texts:
            where = f"environment: {ENV_PREFIX}{name.upper()}_{key.upper()}"
            values[key] = _checked(_from_text(texts[key], _kind(hints[key]), where), hints[key], item, where)
    return kind(**values)


def _from_text(text: str, kind: object, where: str) -> object:
    if kind is bool:
        value = ConfigParser.BOOLEAN_STATES.get(text.lower())
        if value is None:
            raise ConfigError(f"{where} must be true or false, not {text!r}")
        return value
    if kind is int or kind is float:
        try:
            return int(text) if kind is int else float(text)
        except ValueError:
            raise ConfigError(f"{where} must be a number, not {text[:40]!r}") from None
    if kind == tuple[str, ...]:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


_KIND_NAMES: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


def _choices(hint: object) -> tuple[object, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _kind(hint: object) -> object:
    """Return the type of a key's values: that of its choices, where it has some."""
    choices = _choices(hint)
    return type(choices[0]) if choices else hint


def _checked(value: object, hint: object, item: "dataclasses.Field[object]", where: str) -> object:
    kind = _kind(hint)
    if kind == tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
            raise ConfigError(f"{where} must be a list of strings")
        return tuple(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where} must be {_KIND_NAMES[kind]}, not {value!r:.60}")
    if isinstance(value, str):
        _check_text(value, item, where)
    choices = _choices(hint)
    if choices and value not in choices:
        raise ConfigError(f"{where} must be one of {', '.join(map(str, choices))}, not {value!r:.60}")
    if "low" in item.metadata and not item.metadata["low"] <= value <= item.metadata["high"]:
        raise ConfigError(f"{where} must be from {item.metadata['low']} to {item.metadata['high']}, not {value}")
    return value


def _check_text(text: str, item: "dataclasses.Field[object]", where: str) -> None:
    if "\0" in text:
        raise ConfigError(f"{where} must not contain NUL characters")
    length_max = item.metadata.get("length_max")
    if length_max is not None and not 1 <= len(text) <= length_max:
        raise ConfigError(f"{where} must have 1 to {length_max} characters, not {len(text)}")


def _hint(name: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def service_token(config: Config) -> str:
    """Return the token that gRPC callers must send, "" when none is asked for. Raises `ConfigError`."""
    path = config.grpc.service_token_file
    if not path:
        return _header_text(config.grpc.service_token, "[grpc] service_token")
    try:
        token = Path(path).read_text("ascii").partition("\n")[0].strip()
    except OSError as error:
        raise ConfigError(f"[grpc] service_token_file {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"[grpc] service_token_file {path}: is not ASCII text") from None
    if not token:
        raise ConfigError(f"[grpc] service_token_file {path}: is empty")
    return _header_text(token, f"[grpc] service_token_file {path}: its first line")


def _header_text(token: str, where: str) -> str:
    """Return a token that callers can send in a header; the error does not repeat it."""
    if not all("!" <= character <= "~" for character in token):
        raise ConfigError(f"{where} must be visible ASCII characters without blanks")
    return token


def is_loopback(host: str) -> bool:
    """Tell whether a listener on `host` can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check(config: Config) -> None:
    """Check every value, also those of a `Config` that was made in Python. Raises `ConfigError`."""
    for section in dataclasses.fields(config):
        values = getattr(config, section.name)
        hints = typing.get_type_hints(type(values))
        for item in dataclasses.fields(values):
            _checked(getattr(values, item.name), hints[item.name], item, f"[{section.name}] {item.name}")
    _check_together(config)


def _check_together(config: Config) -> None:
    grpc = config.grpc
    require_secured(grpc, grpc.host)
    if bool(grpc.tls_certificate) != bool(grpc.tls_key):
        raise ConfigError("[grpc] tls_certificate and tls_key belong together")
    if grpc.tls_client_ca and not grpc.tls_certificate:
        raise ConfigError("[grpc] tls_client_ca needs tls_certificate and tls_key")
    _header_text(grpc.service_token, "[grpc] service_token")
    if grpc.service_token and grpc.service_token_file:
        raise ConfigError("[grpc] service_token and service_token_file exclude each other")
    if config.auth.secret and config.auth.secret_file:
        raise ConfigError("[auth] secret and secret_file exclude each other")
    base_url = config.redirect.base_url
    if base_url and not _is_base_url(base_url):
        raise ConfigError(f"[redirect] base_url must be an http or https URL without query, not {base_url!r:.80}")
    _check_origins(config.gateway.cors_origins)
    for proxy in config.analytics.trusted_proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise ConfigError(f"[analytics] trusted_proxies: {proxy!r} is not an address or network") from None


def require_secured(grpc: Grpc, host: str) -> None:
    """Raise `ConfigError` when strangers can reach `host` and nothing protects the gRPC listeners.

    grpclib's own server has none of the limits that strangers call for, so it is refused there in any case.
    """
    if grpc.server == "grpclib" and not is_loopback(host):
        raise ConfigError(f'[grpc] host {host} is not loopback, where server = "grpclib" has no limits: use "own"')
    secured = grpc.service_token or grpc.service_token_file or grpc.tls_client_ca
    if not is_loopback(host) and not (secured or grpc.tls_certificate or grpc.allow_insecure):
        raise ConfigError(
            f"[grpc] host {host} is not loopback: set tls_certificate and tls_key, or service_token_file, "
            "or allow_insecure = true"
        )


def _check_origins(origins: tuple[str, ...]) -> None:
    """Each must be as browsers write it, because it is compared as text: "*" would open the API to every page."""
    for origin in origins:
        match = _ORIGIN.fullmatch(origin)
        if match is None or (match[1], match[2]) in _DEFAULT_PORTS or int(match[2] or 1) > 65_535:
            raise ConfigError(
                "[gateway] cors_origins must be exact origins, such as https://app.example.com (lower case, no path, "
                f"no default port, no *), not {origin!r:.80}"
            )
    if len(origins) > _ORIGINS_MAX:
        raise ConfigError(f"[gateway] cors_origins must be {_ORIGINS_MAX} at most, not {len(origins)}")


def _is_base_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= 200
    extras = parts.query or parts.fragment or parts.username is not None or port == 0
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and not extras
