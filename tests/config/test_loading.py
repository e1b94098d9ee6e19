"""The configuration: defaults, the documented file, the environment, and every complaint."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from shortener.config import loading as config
from shortener.config import sections
from shortener.links.module import addresses_of

ROOT = Path(__file__).parents[2]


def as_table(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return {item.name: as_table(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


def load_text(tmp_path: Path, text: str, **environ: str) -> sections.Config:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return config.load(path, environ)


def test_no_file_and_no_environment_give_the_defaults() -> None:
    assert config.load(None, {}) == sections.Config()


def test_the_documented_file_holds_every_key_at_its_default() -> None:
    assert tomllib.loads((ROOT / "config.toml").read_text()) == as_table(sections.Config())


def test_every_key_of_the_documented_file_has_a_comment_or_says_what_it_is() -> None:
    lines = [line for line in (ROOT / "config.toml").read_text().splitlines() if " = " in line and line[0] != "#"]
    bare = [line for line in lines if "#" not in line]
    assert bare == ["port = 8080", "port = 8081"]


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "[redirect]\nport = 1\nstatus = 301\n",
        SHORTENER_REDIRECT_PORT="2",
        SHORTENER_ANALYTICS_TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8",
        SHORTENER_GRPC_ALLOW_INSECURE="true",
        SHORTENER_CACHE_TTL_SECONDS="1.5",
    )
    assert (loaded.redirect.port, loaded.redirect.status) == (2, 301)
    assert loaded.analytics.trusted_proxies == ("127.0.0.1", "10.0.0.0/8")
    assert loaded.grpc.allow_insecure is True
    assert loaded.cache.ttl_seconds == 1.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grpc]\nprot = 1", "unknown key [grpc] prot"),
        ("[grcp]\nport = 1", "unknown section [grcp] (did you mean grpc?)"),
        ("[redirect]\nport = '1'", "[redirect] port must be a whole number, not '1'"),
        ("[redirect]\nport = true", "[redirect] port must be a whole number, not True"),
        ("[redirect]\nport = 65536", "[redirect] port must be from 0 to 65535, not 65536"),
        ("[redirect]\nstatus = 200", "[redirect] status must be one of 301, 302, 303, 307, 308, not 200"),
        ("[cache]\nttl_seconds = nan", "[cache] ttl_seconds must be from"),
        ("[redirect]\nbase_url = 'ftp://x'", "[redirect] base_url must be an http or https URL"),
        ("[redirect]\nbase_url = 'https://x:0'", "[redirect] base_url must be an http or https URL"),
        ("[redirect]\nbase_url = 'http://me@example.com'", "[redirect] base_url must be an http or https URL"),
        ("[storage]\ndata_dir = ''", "[storage] data_dir must have 1 to 4096 characters, not 0"),
        ('[storage]\ndata_dir = "a\\u0000b"', "[storage] data_dir must not contain NUL characters"),
        ("[auth]\nissuer = ''", "[auth] issuer must have 1 to 256 characters, not 0"),
        (f"[auth]\naudience = '{'a' * 257}'", "[auth] audience must have 1 to 256 characters, not 257"),
        ("[grpc]\nservice_token = 'a b'", "[grpc] service_token must be visible ASCII characters without blanks"),
        ("[grpc]\nservice_token = 'é'", "[grpc] service_token must be visible ASCII characters without blanks"),
        ("[analytics]\ntrusted_proxies = ['x']", "[analytics] trusted_proxies: 'x' is not an address"),
        ("[analytics]\ntrusted_proxies = 'x'", "[analytics] trusted_proxies must be a list of strings"),
        ("[grpc]\nhost = '0.0.0.0'", "[grpc] host 0.0.0.0 is not loopback"),
        (
            "[grpc]\nhost = '::'\nserver = 'grpclib'\nallow_insecure = true",
            "[grpc] host :: is not loopback, where server",
        ),
        (
            "[grpc]\nhost = '192.0.2.1'\nserver = 'grpclib'\nservice_token = 'x'",
            "[grpc] host 192.0.2.1 is not loopback",
        ),
        ("[grpc]\ntls_key = 'x'", "[grpc] tls_certificate and tls_key belong together"),
        ("[auth]\nsecret = 'x'\nsecret_file = 'y'", "[auth] secret and secret_file exclude each other"),
        ("grpc = 1", "[grpc] must be a table"),
        ("[grpc", "is not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_with_one_line_that_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        load_text(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_value_in_the_file_is_refused_even_where_the_environment_overrides_it(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="must be a whole number"):
        load_text(tmp_path, "[redirect]\nport = '1'\n", SHORTENER_REDIRECT_PORT="1")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("SHORTENER_GRPC_PROT", "1", "unknown key SHORTENER_GRPC_PROT"),
        ("SHORTENER_GRCP_HOST", "1", r"unknown key SHORTENER_GRCP_HOST \(did you mean SHORTENER_GRPC_HOST\?\)"),
        ("SHORTENER_X", "1", "unknown key SHORTENER_X"),
        ("SHORTENER_REDIRECT_PORT", "x", "SHORTENER_REDIRECT_PORT must be a number"),
        ("SHORTENER_SERVER_UVLOOP", "maybe", "SHORTENER_SERVER_UVLOOP must be true or false"),
        ("SHORTENER_STORAGE_READERS", "0", "SHORTENER_STORAGE_READERS must be from 1 to 64"),
    ],
)
def test_a_bad_environment_is_refused_with_its_name(name: str, text: str, message: str) -> None:
    with pytest.raises(config.ConfigError, match=message):
        config.load(None, {name: text})


@pytest.mark.parametrize(
    "name",
    [
        "SHORTENER_USER",
        "SHORTENER_PASSWORD",
        "SHORTENER_CONFIG",
        "SHORTENER_SERVICE_HOST",
        "SHORTENER_SERVICE_PORT",
        "SHORTENER_SERVICE_PORT_GRPC",
        "SHORTENER_PORT",
        "SHORTENER_PORT_8080_TCP_ADDR",
        "OTHER_GRPC_PORT",
    ],
)
def test_what_others_put_into_the_environment_is_passed_over(name: str) -> None:
    assert config.load(None, {name: "tcp://10.0.0.1:80"}) == sections.Config()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="cannot be read"):
        config.load(tmp_path / "none.toml", {})


@pytest.mark.parametrize(
    "lines",
    ["service_token = 'x'", "allow_insecure = true", "tls_certificate = 'c'\ntls_key = 'k'"],
)
def test_grpc_beyond_loopback_needs_a_reason(tmp_path: Path, lines: str) -> None:
    assert load_text(tmp_path, f"[grpc]\nhost = '0.0.0.0'\n{lines}").grpc.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            sections.Config(redirect=sections.Redirect(port=70_000)),
            "[redirect] port must be from 0 to 65535, not 70000",
        ),
        (sections.Config(log=sections.Log(format="xml")), "[log] format must be one of auto, json, text, not 'xml'"),
        (
            sections.Config(storage=sections.Storage(data_dir=Path("x"))),  # type: ignore[arg-type]  # the mistake
            "[storage] data_dir must be a string, not PosixPath('x')",
        ),
        (sections.Config(cache=sections.Cache(ttl_seconds=60)), ""),
    ],
)
def test_a_configuration_made_in_python_is_checked_as_well(made: sections.Config, message: str) -> None:
    if not message:
        config.check(made)
        return
    with pytest.raises(config.ConfigError) as caught:
        config.check(made)
    assert str(caught.value) == message


def test_a_token_file_must_hold_what_a_header_can_carry(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("two words\n")
    made = sections.Config(grpc=sections.Grpc(service_token_file=str(file)))
    with pytest.raises(config.ConfigError) as caught:
        config.service_token(made)
    assert str(caught.value) == (
        f"[grpc] service_token_file {file}: its first line must be visible ASCII characters without blanks"
    )


@pytest.mark.parametrize("base_url", ["http://exa<mple.com", "http://example.com/%zz", "http://[v1.x]:99999"])
def test_a_base_url_that_short_urls_cannot_begin_with_ends_the_start_in_one_line(base_url: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        addresses_of(sections.Redirect(base_url=base_url))
    assert str(caught.value).startswith("[redirect] base_url ")
    assert "\n" not in str(caught.value)
