"""Starts that must fail do so at once, in one clear line; and starts of every other kind work."""

import contextlib
import dataclasses
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shortener.cli.program import main
from shortener.config.sections import Config, Gateway, Grpc, Redirect, Storage
from shortener.errors import OperatorError
from shortener.server.check import check_start
from shortener.server.process import run_migrations
from shortener.storage.data_dir import lock_data_dir
from tests.support import process, program
from tests.support.certificates import Authority

SECONDS_MAX = 2.0
TOKEN = "a-service-token-of-some-length"


Refused = Callable[..., tuple[int, str]]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Starts a server that cannot start; gives its status and its one line, which `check-config` has said before.

    In this process, which takes a tenth of the time. The processes themselves are `test_it_ends_within_two_seconds`.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shortener.observe.log.set_up", lambda level, line_format: None)

    def start(*arguments: str, **settings: object) -> tuple[int, str]:
        data_dir = Path(str(settings.pop("STORAGE_DATA_DIR", tmp_path / "data")))
        with monkeypatch.context() as patch:
            for name, value in process.environment(data_dir, **settings).items():
                patch.setenv(name, value)
            before = sorted(tmp_path.rglob("*"))
            foretold = ended("check-config", *arguments)
            assert sorted(tmp_path.rglob("*")) == before
            status, line = ended("serve", *arguments)
        assert foretold == (2, line)
        return status, line

    def ended(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert isinstance(caught.value.code, int)
        output, complaint = capfd.readouterr()
        assert output == ""
        return caught.value.code, one_line(complaint)

    return start


def one_line(complaint: str) -> str:
    found = re.fullmatch(r"shortener: ([^\n]+)\n", complaint)
    assert found, complaint
    return found[1]


@contextlib.contextmanager
def started(cwd: Path, **settings: object) -> Iterator[Callable[[], tuple[int, str]]]:
    """Start a server that cannot start, as a process; gives what waits for its status and its one line."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as complaint:
        began = time.monotonic()
        server = subprocess.Popen(
            [sys.executable, "-m", "shortener", "serve"],
            cwd=cwd,
            env=process.environment(cwd / "data", **settings),
            stdout=output,
            stderr=complaint,
        )

        def wait() -> tuple[int, str]:
            os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
            seconds = time.monotonic() - began - queued(server.pid)
            status = server.wait()
            output.seek(0)
            complaint.seek(0)
            assert output.read() == ""
            assert seconds < SECONDS_MAX
            return status, one_line(complaint.read())

        yield wait


def test_it_ends_within_two_seconds(tmp_path: Path) -> None:
    """As processes, two at a time."""
    for name in ("locked", "damaged"):
        (tmp_path / name).mkdir()
    line = damaged(tmp_path / "damaged" / "data")
    with socket.create_server(("127.0.0.1", 0)) as taken, lock_data_dir(tmp_path / "locked" / "data"):
        port = taken.getsockname()[1]
        with started(tmp_path, REDIRECT_PORT=port) as busy, started(tmp_path, GRPC_TLS_KEY="x") as half:
            assert busy() == (1, f"cannot listen on 127.0.0.1:{port} (redirect.port): Address already in use")
            assert half() == (2, "[grpc] tls_certificate and tls_key belong together")
        with started(tmp_path / "locked") as locked, started(tmp_path / "damaged") as spoilt:
            assert locked() == (1, f"data directory {tmp_path}/locked/data is in use by process {os.getpid()}")
            assert spoilt()[1].startswith(line)


def queued(pid: int) -> float:
    """Seconds that a process was ready to run while others ran: how busy the machine is, is not its fault."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def prepared(data_dir: Path) -> Path:
    """Migrate a data directory, and return its database."""
    run_migrations(Config(storage=Storage(data_dir=str(data_dir))), lambda done, total: None)
    return data_dir / "shortener.db"


def test_unknown_keys_and_wrong_types(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "config.toml").write_text("[redirect]\nprot = 8081\n")
    assert refused("--config", "config.toml") == (
        2,
        "config.toml: unknown key [redirect] prot (did you mean port?)",
    )
    (tmp_path / "config.toml").write_text("[redirect]\nport = '8081'\n")
    assert refused("--config", "config.toml") == (
        2,
        "config.toml: [redirect] port must be a whole number, not '8081'",
    )
    assert refused(CACHE_TTL_SECOND="1") == (
        2,
        "environment: unknown key SHORTENER_CACHE_TTL_SECOND (did you mean ttl_seconds?)",
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "config.toml"]


def test_a_busy_port(tmp_path: Path, refused: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused(REDIRECT_PORT=port) == (
            1,
            f"cannot listen on 127.0.0.1:{port} (redirect.port): Address already in use",
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"GATEWAY_PORT": "45678", "REDIRECT_PORT": "45678"},
            "cannot listen on 127.0.0.1:45678 (redirect.port): gateway.port is the same",
        ),
        (
            {"GRPC_URL_PORT": "45678", "GRPC_ANALYTICS_PORT": "45678"},
            "cannot listen on 127.0.0.1:45678 (grpc.analytics_port): grpc.url_port is the same",
        ),
        (
            {"GRPC_USER_PORT": "45678", "GATEWAY_PORT": "45678", "GATEWAY_HOST": "0.0.0.0"},
            "cannot listen on 0.0.0.0:45678 (gateway.port): grpc.user_port is the same",
        ),
        (
            {"GATEWAY_PORT": "45678", "GATEWAY_HOST": "::", "REDIRECT_PORT": "45678", "REDIRECT_HOST": "localhost"},
            "cannot listen on localhost:45678 (redirect.port): gateway.port is the same",
        ),
    ],
)
def test_two_listeners_with_one_address(tmp_path: Path, refused: Refused, settings: dict[str, str], line: str) -> None:
    assert refused(**settings) == (1, line)
    assert list(tmp_path.iterdir()) == []


def test_check_config_allows_what_serve_does(tmp_path: Path) -> None:
    """One port on two addresses; the addresses and the directory of a server that runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = Config(
        grpc=Grpc(url_port=0, user_port=0, analytics_port=0),
        gateway=Gateway(port=port),
        redirect=Redirect(host="127.0.0.2", port=port),
        storage=Storage(data_dir=str(tmp_path / "data")),
    )
    check_start(config)
    with process.running(tmp_path / "data", REDIRECT_HOST="127.0.0.2", REDIRECT_PORT=port, GATEWAY_PORT=port):
        check_start(config)
        elsewhere = dataclasses.replace(config, storage=Storage(data_dir=str(tmp_path / "other")))
        with pytest.raises(OperatorError, match="Address already in use"):
            check_start(elsewhere)
    check_start(config)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a..b"])
def test_a_host_that_is_not_ours(refused: Refused, host: str) -> None:
    status, line = refused(GATEWAY_HOST=host, GATEWAY_PORT="8080")
    assert (status, line.partition(": ")[0]) == (1, f"cannot listen on {host}:8080 (gateway.port)")


def test_an_unwritable_data_directory(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("")
    assert refused(STORAGE_DATA_DIR=tmp_path / "file") == (
        1,
        f"cannot use data directory {tmp_path / 'file'}: it is not a directory",
    )
    assert refused(STORAGE_DATA_DIR=tmp_path / "file" / "data") == (
        1,
        f"cannot use data directory {tmp_path / 'file' / 'data'}: {tmp_path / 'file'} is not a directory",
    )


def damaged(data_dir: Path) -> str:
    data_dir.mkdir(mode=0o700)
    (data_dir / "shortener.db").write_bytes(b"SQLite format 3\0" + b"\xa5" * 8192)
    return f"cannot use database {data_dir}/shortener.db: "


def foreign(data_dir: Path) -> str:
    data_dir.mkdir(mode=0o700)
    (data_dir / "shortener.db").write_bytes(b"no database at all, but a text of some length" * 100)
    return f"cannot use database {data_dir}/shortener.db: it is not an SQLite database"


def newer(data_dir: Path) -> str:
    with sqlite3.connect(prepared(data_dir)) as database:
        database.execute("INSERT INTO schema_migrations VALUES (9999, 'from_the_future', 'x', 0)")
    database.close()
    return f"database {data_dir}/shortener.db is newer than this program: its schema is 9999"


def edited(data_dir: Path) -> str:
    with sqlite3.connect(prepared(data_dir)) as database:
        database.execute("UPDATE schema_migrations SET checksum = 'x' WHERE version = 1")
    database.close()
    return f"migration 0001_links.sql was edited after it was applied to {data_dir}/shortener.db"


def half_restored(data_dir: Path) -> str:
    (prepared(data_dir).parent / "restoring").touch()
    return f"data directory {data_dir} holds half a backup: run `shortener restore --force` again"


def spoilt_secret(data_dir: Path) -> str:
    (prepared(data_dir).parent / "secret").write_text("short\n")
    return f"[auth] secret_file is empty, and {data_dir}/secret: line 1 has 5 bytes; a key needs at least 32"


def spoilt_visitor_key(data_dir: Path) -> str:
    (prepared(data_dir).parent / "visitor.key").write_text("")
    return f"cannot use visitor key {data_dir}/visitor.key: it is damaged"


def spoilt_idempotency_key(data_dir: Path) -> str:
    (prepared(data_dir).parent / "idempotency.key").mkdir()
    return f"cannot use {data_dir}/idempotency.key: Is a directory"


@pytest.mark.parametrize(
    "spoil",
    [damaged, foreign, newer, edited, half_restored, spoilt_secret, spoilt_visitor_key, spoilt_idempotency_key],
)
def test_a_data_directory_that_cannot_be_used(tmp_path: Path, refused: Refused, spoil: Callable[[Path], str]) -> None:
    expected = spoil(tmp_path / "data")
    status, line = refused()
    assert (status, line[: len(expected)]) == (1, expected)


@pytest.mark.parametrize(
    ("settings", "status", "expected"),
    [
        ({"AUTH_SECRET_FILE": "none"}, 1, "[auth] secret_file none cannot be used: No such file or directory"),
        ({"AUTH_SECRET_FILE": "text"}, 1, "[auth] secret_file text: line 1 has 9 bytes; a key needs at least 32"),
        ({"ANALYTICS_CITY_DATABASE": "text"}, 1, "cannot use geo database text: it is not in MaxMind's format"),
        ({"ANALYTICS_CITY_DATABASE": "none"}, 1, "cannot use geo database none: No such file or directory"),
        (
            {"GRPC_TLS_CERTIFICATE": "none", "GRPC_TLS_KEY": "none"},
            2,
            "[grpc] tls_certificate none: cannot be read: No such file or directory",
        ),
        (
            {"GRPC_TLS_CERTIFICATE": "text", "GRPC_TLS_KEY": "text"},
            2,
            "[grpc] tls_certificate, tls_key, tls_client_ca: no usable PEM files: ",
        ),
        ({"LINKS_BLOCKLIST_FILE": "none"}, 2, "[links] blocklist_file none: cannot be read: No such file or directory"),
        ({"LINKS_QUARANTINE_FILE": "text"}, 2, "[links] quarantine_file text: is no list of short codes: 1 lines hold"),
        ({"GRPC_SERVICE_TOKEN_FILE": "none"}, 2, "[grpc] service_token_file none: cannot be read: No such file"),
        (
            {"GRPC_HOST": "0.0.0.0"},
            2,
            "[grpc] host 0.0.0.0 is not loopback: set tls_certificate and tls_key, or service_token_file, or",
        ),
    ],
)
def test_files_and_hosts_that_cannot_be_used(
    tmp_path: Path, refused: Refused, settings: dict[str, str], status: int, expected: str
) -> None:
    (tmp_path / "text").write_text("some text")
    (tmp_path / "text").chmod(0o600)
    answer = refused(**settings)
    assert (answer[0], answer[1][: len(expected)]) == (status, expected)


def create(pb: SimpleNamespace, channel: grpc.Channel, *, token: str = "") -> str:
    stub = pb.url_pb2_grpc.URLServiceStub(channel)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="me")
    return str(stub.CreateURL(request, metadata=metadata, timeout=5).short_code)


def status_of(pb: SimpleNamespace, channel: grpc.Channel, *, token: str = "") -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        create(pb, channel, token=token)
    return caught.value.code()


def is_serving(channel: grpc.Channel) -> bool:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def test_the_stock_server_serves_too_and_ipv6_works(tmp_path: Path, pb: SimpleNamespace) -> None:
    hosts = {"GRPC_HOST": "::1", "GATEWAY_HOST": "::1", "REDIRECT_HOST": "::1"}
    with process.running(tmp_path / "data", GRPC_SERVER="grpclib", **hosts) as server:
        assert server.url.startswith("[::1]:")
        assert server.redirect.startswith("[::1]:")
        with grpc.insecure_channel(server.url) as channel:
            code = create(pb, channel)
            assert is_serving(channel)
        with socket.create_connection(("::1", int(server.redirect.rpartition(":")[2])), timeout=5) as browser:
            browser.sendall(f"GET /{code} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert browser.makefile("rb").readline() == b"HTTP/1.1 302 Found\r\n"


@pytest.mark.parametrize("implementation", ["own", "grpclib"])
def test_mutual_tls_and_a_service_token(tmp_path: Path, pb: SimpleNamespace, implementation: str) -> None:
    authority, strangers = Authority(tmp_path), tmp_path / "strangers"
    strangers.mkdir()
    ours, theirs = authority.issue("server"), Authority(strangers).issue("client")
    settings = {
        "GRPC_SERVER": implementation,
        "GRPC_TLS_CERTIFICATE": ours.certificate,
        "GRPC_TLS_KEY": ours.key,
        "GRPC_TLS_CLIENT_CA": authority.certificate,
        "GRPC_SERVICE_TOKEN": TOKEN,
    }
    root = authority.certificate.read_bytes()
    client = authority.issue("client")
    with process.running(tmp_path / "data", **settings) as server:
        trusted = grpc.ssl_channel_credentials(root, client.key.read_bytes(), client.certificate.read_bytes())
        with grpc.secure_channel(server.url, trusted) as channel:
            assert is_serving(channel)
            assert status_of(pb, channel) is grpc.StatusCode.UNAUTHENTICATED
            assert status_of(pb, channel, token=TOKEN + "x") is grpc.StatusCode.UNAUTHENTICATED
            assert len(create(pb, channel, token=TOKEN)) == 7
        stranger = grpc.ssl_channel_credentials(root, theirs.key.read_bytes(), theirs.certificate.read_bytes())
        for credentials in (stranger, grpc.ssl_channel_credentials(root)):
            with grpc.secure_channel(server.url, credentials) as channel:
                assert status_of(pb, channel, token=TOKEN) is grpc.StatusCode.UNAVAILABLE
        with grpc.insecure_channel(server.url) as channel:
            assert status_of(pb, channel, token=TOKEN) is grpc.StatusCode.UNAVAILABLE
        settings["GRPC_URL_PORT"] = server.url.rpartition(":")[2]
        listed = program.shortener("list", cwd=tmp_path, STORAGE_DATA_DIR=tmp_path / "data", **settings)
        assert (listed.stdout, listed.stderr, listed.returncode) == ("0 of 0\n", "", 0)


def test_health_stays_open_where_calls_need_a_token(tmp_path: Path, pb: SimpleNamespace) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    settings = {"GRPC_HOST": "0.0.0.0", "GRPC_SERVICE_TOKEN_FILE": tmp_path / "token"}
    with process.running(tmp_path / "data", **settings) as server:
        for address in (server.url, server.user, server.analytics):
            with grpc.insecure_channel(address.replace("0.0.0.0", "127.0.0.1")) as channel:
                assert is_serving(channel)
        with grpc.insecure_channel(server.url.replace("0.0.0.0", "127.0.0.1")) as channel:
            assert status_of(pb, channel) is grpc.StatusCode.UNAUTHENTICATED
            assert len(create(pb, channel, token=TOKEN)) == 7
