"""A damaged page, a database that another program holds, a second instance: a clear line, and no wrong redirect."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from tests.e2e.test_crash import follow
from tests.promises.async_clients import redirect_connection_to
from tests.support import process
from tests.support.clients import stubs_of
from tests.support.waiting import wait_for

LINKS = 60
PAGE = 4096


def destination(number: int) -> str:
    return f"https://example.com/{number}?{'x' * 300}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, pb: SimpleNamespace) -> tuple[Path, dict[str, str]]:
    """A data directory of a stopped server, and where its links lead."""
    data_dir = tmp_path_factory.mktemp("filled") / "data"
    links = {}
    with process.running(data_dir) as server, stubs_of(pb, server) as stubs:
        for number in range(LINKS):
            request = pb.url_pb2.CreateURLRequest(long_url=destination(number), user_id="x")
            links[stubs.urls.CreateURL(request, timeout=30).short_code] = destination(number)
    return data_dir, links


def clear_line(failed: AssertionError) -> None:
    """A server that could not start said what is wrong with the database, in one line and without a traceback."""
    assert re.search(r"exit 1: (\{.*\}\n)*shortener: cannot use database [^\n]+\n$", str(failed)), failed


@pytest.mark.timeout(7200)
async def test_a_damaged_page_gives_no_wrong_redirect(
    tmp_path: Path,
    filled: tuple[Path, dict[str, str]],
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
) -> None:
    source, links = filled
    pages = (source / "shortener.db").stat().st_size // PAGE
    with closing(sqlite3.connect(source / "shortener.db")) as raw:
        (read_at_start,) = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'journal_position'").fetchone()
    tried = list(range(pages)) if size(0, 1) else [read_at_start - 1, pages // 2]
    right = refused = not_started = 0
    for page in tried:
        data_dir = tmp_path / "data"
        shutil.copytree(source, data_dir)
        with (data_dir / "shortener.db").open("r+b") as file:
            file.seek(page * PAGE)
            file.write(b"\xa5" * PAGE)
        try:
            server = process.start(data_dir)
        except AssertionError as failed:
            clear_line(failed)
            not_started += 1
        else:
            async with redirect_connection_to(server) as browser:
                for code, wanted in links.items():
                    status, location = await browser.ask(code)
                    assert (status, location) == (302, wanted) or (status >= 400 and not location), (page, code)
                    right += status == 302
                    refused += status != 302
            assert server.process.poll() is None
            server.kill()
        shutil.rmtree(data_dir)
    assert right + refused + not_started > 0
    figure(
        "a corrupt page",
        f"each of {len(tried)} pages overwritten in turn: {not_started} starts refused in one line, {right:,} "
        f"redirects right, {refused:,} answered by an error, 0 wrong, 0 crashes",
    )


@pytest.mark.timeout(600)
def test_while_another_program_holds_the_database_reads_go_on_and_writes_wait_or_are_refused(
    tmp_path: Path, pb: SimpleNamespace, filled: tuple[Path, dict[str, str]]
) -> None:
    source, links = filled
    data_dir = tmp_path / "data"
    shutil.copytree(source, data_dir)
    request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="x")
    with (
        process.running(data_dir, STORAGE_BUSY_TIMEOUT_SECONDS=0.5) as server,
        stubs_of(pb, server) as stubs,
        closing(sqlite3.connect(data_dir / "shortener.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(grpc.RpcError) as caught:
            stubs.urls.CreateURL(request, timeout=10)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, "the database is busy")
        assert [follow(server.redirect, code) for code in list(links)[:10]] == [302] * 10
        other.execute("ROLLBACK")
        code = stubs.urls.CreateURL(request, timeout=10).short_code
        assert follow(server.redirect, code) == 302
        wanted = pb.url_pb2.GetURLRequest(short_code=code)
        wait_for(lambda: stubs.urls.GetURL(wanted, timeout=10).url.clicks == 1, seconds=30)


@pytest.mark.timeout(600)
def test_a_start_beside_another_program_or_instance_says_why_in_one_line(
    tmp_path: Path, filled: tuple[Path, dict[str, str]]
) -> None:
    source, links = filled
    data_dir = tmp_path / "data"
    shutil.copytree(source, data_dir)
    with closing(sqlite3.connect(data_dir / "shortener.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(AssertionError) as caught:
            process.start(data_dir, STORAGE_BUSY_TIMEOUT_SECONDS=0.1)
    line = f"cannot use database {data_dir}/shortener.db: another process has it locked"
    assert str(caught.value).endswith(f"exit 1: shortener: {line}\n")
    with process.running(data_dir) as server:
        with pytest.raises(AssertionError) as caught:
            process.start(data_dir)
        line = f"data directory {data_dir} is in use by process {server.process.pid}"
        assert str(caught.value).endswith(f"exit 1: shortener: {line}\n")
        assert follow(server.redirect, next(iter(links))) == 302
