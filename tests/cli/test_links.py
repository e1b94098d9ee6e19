"""Commands about links: what people paste, mistype and mean; one link; the clicks of the last days."""

import io
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
import zxingcpp
from PIL import Image

from shortener.cli.durations import parse_moment
from shortener.cli.links import parse_link_name, with_scheme
from shortener.cli.program import main
from tests.support.process import Running
from tests.support.program import Run, done, environment, failed


@pytest.mark.parametrize(
    ("text", "code", "host"),
    [
        ("hello", "hello", ""),
        ("  hello\n", "hello", ""),
        ("Hello_-9", "Hello_-9", ""),
        ("http://localhost:8081/hello", "hello", "localhost"),
        ("https://s.example.com/hello", "hello", "s.example.com"),
        ("HTTPS://S.Example.COM/Hello", "Hello", "s.example.com"),
        ("localhost:8081/hello", "hello", "localhost"),
        ("s.example.com/hello/", "hello", "s.example.com"),
        ("//s.example.com/hello", "hello", "s.example.com"),
        ("https://s.example.com/l/hello?utm_source=x#top", "hello", "s.example.com"),
        ("http://[::1]:8081/hello", "hello", "::1"),
        ("<https://s.example.com/hello>", "hello", "s.example.com"),
        ('"http://127.0.0.1:8081/hello"', "hello", "127.0.0.1"),
        ("/hello", "hello", ""),
    ],
)
def test_a_code_is_found_in_what_people_paste(text: str, code: str, host: str) -> None:
    assert parse_link_name(text)[:2] == (code, host)


@pytest.mark.parametrize("text", ["http://localhost:8081/", "http://localhost:8081", "https://", "/", "a.example/?x"])
def test_a_url_without_a_code_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="has no short code in it"):
        parse_link_name(text)


@pytest.mark.parametrize(
    ("url", "offered"),
    [
        ("example.com", "https://example.com"),
        ("www.example.com/a/b?c=d#e", "https://www.example.com/a/b?c=d#e"),
        ("//example.com/x", "https://example.com/x"),
        ("example.com:8443/x", "https://example.com:8443/x"),
        ("localhost:3000", "https://localhost:3000"),
        ("192.0.2.1/x", "https://192.0.2.1/x"),
        ("m\u00fcnchen.example", "https://m\u00fcnchen.example"),
        ("http:example.com", "http://example.com"),
        ("HTTPS:/example.com/x", "https://example.com/x"),
        (" example.com ", "https://example.com"),
        ("https://example.com", ""),
        ("ftp://example.com", ""),
        ("mailto:a@example.com", ""),
        ("javascript:alert(1)", ""),
        ("user@example.com", ""),
        ("nope", ""),
        ("a b.com", ""),
        ("example.com/a b", ""),
        ("", ""),
        (".", ""),
        ("..", ""),
        ("/etc/passwd", ""),
    ],
)
def test_a_url_without_its_scheme_is_offered_with_one(url: str, offered: str) -> None:
    assert with_scheme(url) == offered


def test_a_pasted_short_url_is_understood_wherever_a_code_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORTENER_REDIRECT_BASE_URL", "https://s.example")  # the running server has its own
    pasted = done(run("shorten", "https://example.com/", "--alias", "pasted")).strip()
    assert done(run("stats", pasted)).splitlines()[0] == "clicks           0"
    assert done(run("qr", pasted, "--out", "pasted.svg")) == f"{pasted} -> pasted.svg\n"
    assert json.loads(done(run("link", "show", pasted, "--json")))["url"]["short_code"] == "pasted"
    for command in (("stats",), ("qr", "--out", "x.png"), ("link", "show"), ("link", "delete")):
        line = failed(run(*command, "https://other.example/pasted"), 1)
        begin = pasted.removesuffix("pasted")
        assert line == f"https://other.example/pasted is not of this server, whose short URLs begin with {begin}"
    assert done(run("link", "delete", pasted)) == f"deleted {pasted} -> https://example.com/\n"
    assert failed(run("link", "show", pasted), 1) == "short_code is unknown"


@pytest.mark.parametrize("expires", ["2021-01-01", "2021-01-01T10:00:00+02:00", "0s", "0d"])
def test_a_link_that_has_expired_already_is_made_with_a_warning(run: Run, expires: str) -> None:
    for option in ((), ("--json",)):
        made = run("shorten", "https://example.com/", "--expires", expires, *option)
        assert made.returncode == 0
        assert made.stderr == (
            f"shortener: warning: --expires {expires} is in the past, so the link has expired already\n"
        )
        assert made.stdout
    assert done(run("list", "--limit", "1")).splitlines()[0].split()[4] == "(expired)"
    assert run("shorten", "https://example.com/", "--expires", "2019-12-31").returncode == 1


def test_one_link_is_shown_and_deleted(run: Run) -> None:
    short_url = done(run("shorten", "https://example.com/one", "--alias", "one-link", "--expires", "2031-12-31"))
    lines = done(run("link", "show", "one-link")).splitlines()
    assert lines[:4] + lines[5:] == [
        f"short URL  {short_url.strip()}",
        "leads to   https://example.com/one",
        "state      active",
        "clicks     0",
        "expires    2031-12-31 00:00",
    ]
    assert re.fullmatch(r"created    \d{4}-\d\d-\d\d \d\d:\d\d", lines[4])
    shown = json.loads(done(run("link", "show", "one-link", "--json")))
    assert (shown["found"], shown["url"]["long_url"]) == (True, "https://example.com/one")

    assert json.loads(done(run("link", "delete", "one-link", "--json"))) == {"success": True}
    for command in ("show", "delete"):
        assert failed(run("link", command, "one-link"), 1) == "short_code is unknown"


def test_the_clicks_of_the_last_days(run: Run) -> None:
    done(run("shorten", "https://example.com/", "--alias", "since-then"))
    for since, granularity, seconds in (("2d", "hour", 3600), ("30d", "day", 86_400), ("27w", "week", 604_800)):
        span = parse_moment(since, 0)
        first = (int(time.time()) - span, int(time.time()))
        document = json.loads(done(run("stats", "since-then", "--since", since, "--json")))
        assert (document["total_clicks"], document["granularity"]) == (0, granularity)
        points = document["points"]
        assert points[0]["timestamp"] <= first[0] < points[1]["timestamp"]
        assert abs(len(points) - span / seconds) <= 2

        text = done(run("stats", "since-then", "--since", since)).splitlines()
        assert text[:3] == ["clicks           0", "unique visitors  0", f"clicks by {granularity}"]
        form = "%Y-%m-%d %H:%M" if granularity == "hour" else "%Y-%m-%d"
        dates = [datetime.fromtimestamp(point["timestamp"], UTC).strftime(form) for point in points]
        assert text[3:] == [f"  {date}         0" for date in dates]
    assert done(run("stats", "since-then", "--since", "2026-01-01")).splitlines()[3] == "  2025-12-29         0"


def test_a_qr_code_in_a_pipe_is_a_png(
    server: Running, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("SHORTENER_GRPC_URL_PORT", server.url.rpartition(":")[2])

    def output(*arguments: str) -> bytes:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        out, err = capsysbinary.readouterr()
        assert (caught.value.code, err) == (0, b"")
        return out

    short_url = output("shorten", "https://example.com/").decode().strip()
    for arguments in ((), ("--out", "-")):
        [code] = zxingcpp.read_barcodes(Image.open(io.BytesIO(output("qr", short_url, *arguments))))
        assert code.text == short_url


def test_an_output_that_is_full_is_one_line(server: Running, tmp_path: Path) -> None:
    environ = environment(GRPC_URL_PORT=server.url.rpartition(":")[2]) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for arguments in (("shorten", "https://example.com/"), ("list", "--json")):
        with open("/dev/full", "wb") as full:
            ended = subprocess.run(
                [sys.executable, "-m", "shortener", *arguments],
                cwd=tmp_path, env=environ, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
            )  # fmt: skip
        assert (ended.returncode, ended.stderr) == (
            1,
            "shortener: cannot write standard output: No space left on device\n",
        )


def test_a_file_that_cannot_be_written_is_one_line(run: Run) -> None:
    done(run("shorten", "https://example.com/", "--alias", "no-file"))
    assert failed(run("qr", "no-file", "--out", "none/x.png"), 1) == (
        "cannot write none/x.png: No such file or directory"
    )
