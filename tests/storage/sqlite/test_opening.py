import asyncio
import gc
import os
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from shortener.errors import OperatorError
from shortener.storage.sqlite.sql import sql
from tests.support.storage_databases import CREATE, adding, notes_database, opening, texts


def open_files() -> set[str]:
    """What this process has open, sockets and pipes of event loops aside."""
    names = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue  # the listing's own
    return {name for name in names if name.startswith("/") and not name.startswith("/proc/")}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_nothing_is_left_when_it_is_closed(tmp_path: Path) -> None:
    files, threads, tasks = open_files(), set(threading.enumerate()), asyncio.all_tasks()
    async with notes_database(tmp_path / "test.db", readers=3) as database:
        await database.transaction(adding("one"))
        assert await texts(database) == ["one"]
        names = sorted(thread.name for thread in set(threading.enumerate()) - threads)
        assert names == ["sqlite-reader-1", "sqlite-reader-2", "sqlite-reader-3", "sqlite-writer"]
    assert (open_files(), set(threading.enumerate()) - threads, asyncio.all_tasks()) == (files, set(), tasks)
    assert os.listdir(tmp_path) == ["test.db"]


async def test_nothing_is_left_when_the_block_fails_or_is_cancelled(tmp_path: Path) -> None:
    files, threads, tasks = open_files(), set(threading.enumerate()), asyncio.all_tasks()
    with pytest.raises(LookupError):
        async with notes_database(tmp_path / "test.db"):
            raise LookupError
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02), notes_database(tmp_path / "test.db"):
            await asyncio.Event().wait()
    assert (open_files(), set(threading.enumerate()) - threads, asyncio.all_tasks()) == (files, set(), tasks)


async def test_nothing_is_left_when_the_opening_is_cancelled(tmp_path: Path) -> None:
    files, threads, tasks = open_files(), set(threading.enumerate()), asyncio.all_tasks()

    async def open_and_wait() -> None:
        async with notes_database(tmp_path / "test.db"):
            await asyncio.Event().wait()

    for turns in range(40):
        task = asyncio.create_task(open_and_wait())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    gc.collect()
    assert (open_files(), set(threading.enumerate()) - threads, asyncio.all_tasks()) == (files, set(), tasks)


def test_it_opens_again_in_another_event_loop(tmp_path: Path) -> None:
    async def use(text: str) -> list[str]:
        async with notes_database(tmp_path / "test.db") as database:
            await database.transaction(adding(text))
            return await texts(database)

    assert asyncio.run(use("a")) == ["a"]
    assert asyncio.run(use("b")) == ["a", "b"]


async def test_two_databases_live_side_by_side(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "a.db") as a, notes_database(tmp_path / "b.db") as b:
        await asyncio.gather(a.transaction(adding("a")), b.transaction(adding("b")))
        assert (await texts(a), await texts(b)) == (["a"], ["b"])


async def test_all_database_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    for umask in (0o000, 0o377):
        path = tmp_path / f"{umask}.db"
        before = os.umask(umask)
        try:
            async with notes_database(path) as database:
                await database.transaction(adding("one"))
                files = [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]
                assert [mode(file) for file in files] == [0o600] * 3
        finally:
            os.umask(before)


async def test_the_connections_are_set_up_as_the_design_says(tmp_path: Path) -> None:
    names = ["journal_mode", "synchronous", "foreign_keys", "temp_store", "query_only", "wal_autocheckpoint"]
    async with notes_database(tmp_path / "test.db", readers=1) as database:

        def settings(connection: object) -> list[object]:
            return [connection.row(f"PRAGMA {name}")[0] for name in names]  # type: ignore[attr-defined] # Sql or SqlTx

        assert await database.transaction(settings) == ["wal", 2, 1, 2, 0, 1000]
        assert (await database.read(settings))[2:] == [1, 2, 1, 0]


async def test_the_end_leaves_an_empty_write_ahead_log_even_beside_another_reader(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "test.db") as database:
        other = sqlite3.connect(tmp_path / "test.db")
        assert other.execute("SELECT count(*) FROM notes").fetchall() == [(0,)]
        await database.transaction(adding("one"))
        assert (tmp_path / "test.db-wal").stat().st_size > 0
    assert (tmp_path / "test.db-wal").stat().st_size == 0
    other.close()


async def test_the_end_does_not_wait_for_another_reader(tmp_path: Path) -> None:
    """A backup reads for as long as it takes, and a server has to stop within seconds."""
    path = tmp_path / "read.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with opening(path, busy_timeout_seconds=60) as database:
            await database.transaction(lambda tx: sql(tx).run(CREATE))
            other.execute("BEGIN")
            other.execute("SELECT * FROM notes").fetchall()
            await database.transaction(adding("later"))
            ended = time.monotonic()
        assert time.monotonic() - ended < 30
        assert other.execute("SELECT * FROM notes").fetchall() == []
    async with opening(path) as again:
        assert await texts(again) == ["later"]


@pytest.mark.parametrize("length", [10, 5000])
async def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path, length: int) -> None:
    path = tmp_path / "test.db"
    path.write_bytes(b"no database at all, but long enough" * 200 if length > 100 else b"no dataset")
    threads = set(threading.enumerate())
    with pytest.raises(OperatorError) as caught:
        async with opening(path):
            pass
    assert str(caught.value) == f"cannot use database {path}: it is not an SQLite database"
    assert set(threading.enumerate()) <= threads


async def test_a_damaged_database_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    async with notes_database(path):
        pass
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)
    with pytest.raises(OperatorError) as caught:
        async with opening(path):
            pass
    assert str(caught.value) == f"cannot use database {path}: the file is damaged; restore a backup"


async def test_a_directory_in_the_way_or_none_at_all_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "dir.db").mkdir()
    with pytest.raises(OperatorError, match=r"^cannot use database .*dir\.db: it cannot be opened or created$"):
        async with opening(tmp_path / "dir.db"):
            pass
    with pytest.raises(OperatorError, match=r"^cannot create .*none.test\.db: No such file or directory$"):
        async with opening(tmp_path / "none" / "test.db"):
            pass


async def test_a_read_only_file_or_directory_is_one_clear_line(commoner_dir: Path) -> None:
    async with notes_database(commoner_dir / "test.db"):
        pass
    os.chmod(commoner_dir / "test.db", 0o400)
    with pytest.raises(OperatorError, match="it is not readable and writable"):
        async with opening(commoner_dir / "test.db"):
            pass
    os.chmod(commoner_dir, 0o500)
    with pytest.raises(OperatorError, match="Permission denied"):
        async with opening(commoner_dir / "other.db"):
            pass


async def test_aiosqlite_still_has_the_private_part_that_runs_a_unit_of_work() -> None:
    async with aiosqlite.connect(":memory:") as connection:
        assert await connection._execute(threading.get_ident) != threading.get_ident()  # type: ignore[no-untyped-call] # private
