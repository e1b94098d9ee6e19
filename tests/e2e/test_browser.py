"""What a browser makes of it: pages render without an error on its console, and a short link leads to its page."""

import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.metrics_client import Site
from tests.support.process import Running

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")

SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
]

Look = Callable[[str], str]


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Look:
    """Open an address in the browser; return the document it made of it, after seeing that its console is empty."""
    folder = tmp_path_factory.mktemp("browser")

    def open_page(url: str) -> str:
        done = subprocess.run(
            [str(CHROMIUM), *SWITCHES, f"--user-data-dir={folder / 'profile'}", "--dump-dom", url],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
        return done.stdout

    return open_page


@pytest.fixture(scope="module")
def token(server: Running) -> str:
    gateway = Site(server.gateway)
    person = {"email": "b@example.com", "password": "secret-1", "name": "B"}
    token = str(json.loads(gateway.ask("POST", "/api/auth/register", person)[1])["token"])
    gateway.close()
    return token


@pytest.fixture(scope="module")
def destination() -> Iterator[str]:
    """The address of a page that shows where it was asked for."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<!doctype html><title>arrived</title><p id=path>{self.path.partition('?')[0]}</p>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()
        thread.join()


def make(server: Running, token: str, alias: str, long_url: str, expires_at: int = 0) -> str:
    """Create a link; return its short URL at the address where the server listens."""
    gateway = Site(server.gateway)
    body = {"alias": alias, "long_url": long_url, "expires_at": expires_at, "omit_qr_code": True}
    assert gateway.ask("POST", "/api/urls/custom", body, token=token)[0] == 201
    gateway.close()
    return f"http://{server.redirect}/{alias}"


def heading(document: str) -> str:
    [found] = re.findall(r"<h1>(.*?)</h1>", document)
    return str(found)


def test_a_short_link_leads_to_its_page(server: Running, look: Look, token: str, destination: str) -> None:
    short_url = make(server, token, "to-a-page", f"{destination}/a/page?with=query")
    document = look(short_url)
    assert "<title>arrived</title>" in document
    assert '<p id="path">/a/page</p>' in document


def test_the_home_page(server: Running, look: Look) -> None:
    assert heading(look(f"http://{server.redirect}/")) == "Short links live here"


def test_an_unknown_link(server: Running, look: Look) -> None:
    assert heading(look(f"http://{server.redirect}/nothere")) == "This link does not exist"


def test_an_expired_link(server: Running, look: Look, token: str) -> None:
    short_url = make(server, token, "expired", "https://example.com/", expires_at=1_735_689_600)
    assert heading(look(short_url)) == "This link is no longer available"


def test_the_docs_page_and_its_script(server: Running, look: Look) -> None:
    document = look(f"http://{server.gateway}/docs")
    assert heading(document) == "shortener"
    gateway = Site(server.gateway)
    paths = json.loads(gateway.ask("GET", "/openapi.json")[1])["paths"]
    gateway.close()
    operations = [operation for methods in paths.values() for operation in methods.values()]
    for operation in operations:
        assert f'id="{operation["operationId"]}"' in document
    assert f"curl http://{server.gateway}/api/urls" in document, "the script names the server in the examples"
    assert "localhost:8080" not in document
    outside = [link for link in re.findall(r'(?:src|href)="([^"]*)"', document) if not link.startswith(("/", "#"))]
    assert outside == []


def test_the_root_of_the_gateway(server: Running, look: Look) -> None:
    document = look(f"http://{server.gateway}/")
    assert heading(document).startswith("shortener")
    assert f"curl http://{server.gateway}/api/urls" in document
    assert f'href="http://localhost:{server.redirect.rpartition(":")[2]}/"' in document


def test_the_pages_can_be_drawn(server: Running, tmp_path: Path) -> None:
    """Drawing needs what dumping does not: styles that the policy lets through."""
    picture = tmp_path / "page.png"
    subprocess.run(
        [
            str(CHROMIUM),
            *SWITCHES,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=800,400",
            f"--screenshot={picture}",
            f"http://{server.redirect}/",
        ],
        capture_output=True,
        timeout=60,
        check=True,
    )
    from PIL import Image

    with Image.open(picture) as image:
        assert image.size == (800, 400)
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
    assert (0x1E, 0x5A, 0xC8) in colours, "the line beside the text, which the style sheet draws"
