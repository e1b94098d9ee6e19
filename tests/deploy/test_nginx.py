"""The nginx example as it stands, but for names and ports, in front of a real server."""

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import process
from tests.support.certificates import Authority

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
EXAMPLE = Path(__file__).parents[2] / "deploy" / "nginx.conf"
FRAME = """\
daemon off; master_process off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
{servers}
}}
"""
START_SECONDS = 20


def configuration(home: Path, port: int, server: process.Running) -> str:
    """The example with this test's ports and files."""
    pair = Authority(home).issue("nginx")
    text = EXAMPLE.read_text()
    for old, new in (
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("127.0.0.1:8081", server.redirect),
        ("127.0.0.1:8080", server.gateway),
        ("/etc/ssl/s.example.com.pem", str(pair.certificate)),
        ("/etc/ssl/s.example.com.key", str(pair.key)),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return FRAME.format(home=home, servers=text)


class Proxy:
    """Asks nginx from one address or another of this machine."""

    def __init__(self, port: int, authority: Path) -> None:
        self._port = port
        self._tls = ssl.create_default_context(cafile=str(authority))

    def ask(
        self, host: str, method: str, path: str, body: object = None, *, source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=20, context=self._tls, source_address=(source, 0)
        )
        sent = {"Host": host, "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            content = answer.read()
            kept = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        is_json = "json" in kept.get("content-type", "")
        return answer.status, kept, json.loads(content) if is_json else content

    def wait(self) -> None:
        """Return when nginx accepts."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self._port), timeout=5).close()
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "nginx does not start"
                time.sleep(0.05)


def test_redirects_and_rest_through_nginx(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"ANALYTICS_TRUSTED_PROXIES": "127.0.0.1", "REDIRECT_BASE_URL": "https://s.example.com"}
    with process.running(tmp_path / "data", **settings) as server:
        file = tmp_path / "nginx.conf"
        file.write_text(configuration(tmp_path, port, server))
        nginx = subprocess.Popen(["nginx", "-p", str(tmp_path), "-c", str(file)], stderr=subprocess.PIPE)
        try:
            proxy = Proxy(port, tmp_path / "authority.pem")
            proxy.wait()
            _through(proxy)
        finally:
            nginx.terminate()
            _, said = nginx.communicate(timeout=20)
    assert b"[emerg]" not in said
    assert nginx.returncode == 0


def _through(proxy: Proxy) -> None:
    api, short = "api.s.example.com", "s.example.com"
    person = {"email": "n@example.com", "password": "secret-1", "name": "N"}
    status, _, account = proxy.ask(api, "POST", "/api/auth/register", person)
    assert status == 201
    bearer = {"Authorization": f"Bearer {account['token']}"}
    destination = "http://example.com:80/%41/../b?q=%2f#x"
    link = {"alias": "printed", "long_url": destination, "omit_qr_code": True}
    status, headers, made = proxy.ask(api, "POST", "/api/urls/custom", link, **bearer)
    assert (status, headers["location"]) == (201, "/api/urls/printed")
    assert made["short_url"] == "https://s.example.com/printed"
    for source in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
        for forged in ("203.0.113.1", "203.0.113.2, 127.0.0.1"):
            status, headers, _ = proxy.ask(short, "GET", "/printed?x=1", source=source, X_Forwarded_For=forged)
            assert (status, headers["location"]) == (302, destination)
    assert proxy.ask(short, "GET", "/nothere")[0] == 404
    assert proxy.ask(api, "GET", "/metrics")[0] == 403
    assert proxy.ask(api, "GET", "/healthz")[0] == 200
    deadline = time.monotonic() + 20
    while True:
        _, _, stats = proxy.ask(api, "GET", "/api/urls/printed/stats", **bearer)
        if stats["total_clicks"] == 6 or time.monotonic() > deadline:
            break
    assert (stats["total_clicks"], stats["unique_visitors"]) == (6, 2)
