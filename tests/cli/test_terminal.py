"""What people see at a terminal: the ready message, colours, columns, a chart, a QR code; and completion in bash."""

import os
import pty
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.cli.test_display import scanned
from tests.support.process import PORT_KEYS, Running
from tests.support.program import done, environment, on_a_terminal, shortener
from tests.support.waiting import wait_for

CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
INTERRUPT = "\x03"


@pytest.fixture(autouse=True)
def _a_terminal_with_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("PYTHONUTF8", "1")


def lines_of(shown: str) -> list[str]:
    return [CONTROL.sub("", line).rstrip() for line in shown.splitlines()]


def test_the_server_tells_people_where_to_click(tmp_path: Path) -> None:
    ports = dict.fromkeys(PORT_KEYS, 0)
    status, shown = on_a_terminal(
        "serve", cwd=tmp_path, typed=(INTERRUPT,), prompt="/data", SERVER_NOTICE_SECONDS=0, **ports
    )
    lines = lines_of(shown)
    assert status == 0
    assert re.fullmatch(r"shortener \S+ is ready, process \d+; Ctrl-C stops it", lines[0])
    address = r"http://localhost:\d+/"
    assert re.fullmatch(f"  short links  {address}", lines[1])
    assert re.fullmatch(f"  REST API     {address}", lines[2])
    assert re.fullmatch(
        r"  gRPC         127\.0\.0\.1:\d+; accounts 127\.0\.0\.1:\d+, statistics 127\.0\.0\.1:\d+", lines[3]
    )
    assert lines[4] == f"  data         {tmp_path}/data"
    assert "{" not in shown
    told = CONTROL.sub("", shown).replace("\r", "")
    assert re.findall(r"shortener\.server\.process: (.*)", told) == ["stopping signal='SIGINT'", "stopped"]


@pytest.mark.parametrize("is_coloured", [True, False])
def test_links_and_accounts_in_columns(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_coloured: bool
) -> None:
    if not is_coloured:
        monkeypatch.setenv("NO_COLOR", "1")
    owner, port = f"columns-{is_coloured}", server.url.rpartition(":")[2]
    for destination in ("https://example.com/short", f"https://example.com/{'x' * 100}"):
        done(shortener("shorten", destination, "--user", owner, cwd=tmp_path, GRPC_URL_PORT=port))
    status, shown = on_a_terminal("list", "--user", owner, cwd=tmp_path, GRPC_URL_PORT=port)
    head, first, second, count = lines_of(shown)
    assert (status, count) == (0, "2 of 2")
    assert head.split() == ["created", "clicks", "short", "URL", "leads", "to"]
    at = head.index("leads to")
    assert first[at:] == f"https://example.com/{'x' * (99 - at - 20)}…"
    assert second[at:] == "https://example.com/short"
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)) is is_coloured

    email = f"{owner}@example.com".lower()
    done(
        shortener(
            "user", "create", "--email", email, "--username", owner, cwd=tmp_path, GRPC_URL_PORT=port, PASSWORD="secret"
        )
    )
    status, shown = on_a_terminal("user", "list", "--limit", "1", cwd=tmp_path, GRPC_URL_PORT=port)
    assert (status, lines_of(shown)[1].split()[3:]) == (0, [email, owner, owner])
    piped = done(shortener("user", "list", "--limit", "1", cwd=tmp_path, GRPC_URL_PORT=port)).splitlines()
    assert piped[0].split()[3:] == [email, owner, owner]
    assert re.fullmatch(r"1 of \d+", piped[1])


def test_the_clicks_of_the_last_days_are_drawn(server: Running, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    done(shortener("shorten", "https://example.com/", "--alias", "charted", cwd=tmp_path, GRPC_URL_PORT=port))
    for _ in range(3):
        request = urllib.request.Request(
            f"http://{server.redirect}/charted", headers={"Referer": "https://news.example"}
        )
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.build_opener(_NoRedirect).open(request, timeout=5)

    def text() -> str:
        return shortener("stats", "charted", cwd=tmp_path, GRPC_URL_PORT=port).stdout

    wait_for(text, lambda shown: shown.startswith("clicks           3"))
    status, shown = on_a_terminal("stats", "charted", "--since", "30d", cwd=tmp_path, GRPC_URL_PORT=port)
    lines = lines_of(shown)
    assert status == 0
    assert lines[:3] == ["clicks           3", "unique visitors  1", "clicks by day"]
    assert [line.split("█")[0].strip() for line in lines[3:9]] == ["3", "", "", "", "", "0"]
    assert {line.count("█") for line in lines[3:9]} == {1}
    assert re.fullmatch(r"    \d{4}-\d\d-\d\d  to  \d{4}-\d\d-\d\d", lines[9])
    assert f"  https://news.example         3  100.0 %  {'█' * 20}" in lines


@pytest.mark.parametrize("is_coloured", [True, False])
def test_a_qr_code_is_drawn_and_scans(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_coloured: bool
) -> None:
    if not is_coloured:
        monkeypatch.setenv("NO_COLOR", "1")
    port = server.url.rpartition(":")[2]
    made = done(shortener("shorten", "https://example.com/", cwd=tmp_path, GRPC_URL_PORT=port))
    status, shown = on_a_terminal("qr", made.strip(), cwd=tmp_path, GRPC_URL_PORT=port)
    *drawn, short_url = [CONTROL.sub("", line) for line in shown.splitlines()]
    assert (status, short_url) == (0, made.strip())
    assert scanned(drawn, is_inverted=not is_coloured) == short_url
    assert ("\x1b[" in shown) is is_coloured


def test_before_a_link_is_deleted_at_a_terminal_somebody_is_asked(server: Running, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    made = done(shortener("shorten", "https://example.com/", "--alias", "asked", cwd=tmp_path, GRPC_URL_PORT=port))
    for answer, status in (("n", 130), ("y", 0)):
        command = ("link", "delete", "asked")
        ended, shown = on_a_terminal(*command, cwd=tmp_path, typed=(answer,), GRPC_URL_PORT=port)
        assert ended == status
        assert f"Delete {made.strip()} -> https://example.com/ for good? [y/N]: " in shown
        assert ("deleted" in shown) is (status == 0)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        return None


@pytest.fixture
def bash_home(tmp_path: Path) -> Path:
    """A home directory and a `shortener` on the path of the bash that runs there."""
    if shutil.which("bash") is None:
        pytest.skip("needs the tool bash")
    program = tmp_path / "bin" / "shortener"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m shortener "$@"\n')
    program.chmod(0o755)
    return tmp_path


def in_bash(home: Path) -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    return environment() | {"HOME": str(home), "PATH": path, "PYTHONPATH": root, "PS1": "$ ", "TERM": "dumb"}


def test_bash_learns_to_complete(bash_home: Path) -> None:
    installed = subprocess.run(
        ["bash", "-c", "shortener --install-completion; true"],
        env=in_bash(bash_home), capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert (installed.stderr, installed.stdout.startswith("bash completion installed in ")) == ("", True)
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        ["bash", "--noprofile", "-i"], env=in_bash(bash_home), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    ) as bash:  # fmt: skip
        os.close(theirs)
        os.write(terminal, b"shortener link sh\t")
        assert seen(terminal, b"shortener link show")
        os.write(terminal, b"\x15shortener stats --sin\t")
        assert seen(terminal, b"shortener stats --since")
        os.write(terminal, b"\x15exit\n")
        bash.wait(10)
    os.close(terminal)


def seen(terminal: int, wanted: bytes) -> bool:
    output, deadline = b"", time.monotonic() + 20
    while wanted not in output and time.monotonic() < deadline:
        output += os.read(terminal, 4096)
    return wanted in output


def test_the_script_for_completion_is_shown(bash_home: Path) -> None:
    shown = subprocess.run(
        ["bash", "-c", "shortener --show-completion; true"],
        env=in_bash(bash_home), capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert (shown.stderr, "complete -o default -F _shortener_completion shortener" in shown.stdout) == ("", True)
