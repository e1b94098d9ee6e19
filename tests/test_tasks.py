"""Threads that work behind the event loop step back; the loop's own thread does not."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shortener.config.sections import Storage
from shortener.storage.sqlite.database import open_database
from shortener.tasks import NICE, lower_thread_priority

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")


def priority(thread: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


@linux
def test_a_thread_steps_back_alone() -> None:
    before = priority(threading.get_native_id())
    with ThreadPoolExecutor(1, initializer=lower_thread_priority) as executor:
        assert executor.submit(lambda: priority(threading.get_native_id())).result() == min(before + NICE, 19)
    assert priority(threading.get_native_id()) == before


def test_where_it_is_forbidden_all_stay_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    lower_thread_priority()


@linux
async def test_of_the_database_the_writer_alone_steps_back(tmp_path: Path) -> None:
    path, seconds = tmp_path / "a.db", 1.0
    async with open_database(path, Storage(readers=1, busy_timeout_seconds=seconds)):
        here = priority(threading.get_native_id())
        found = {thread.name: priority(thread.native_id or 0) for thread in threading.enumerate()}
    assert found["sqlite-writer"] == min(here + NICE, 19)
    assert found["sqlite-reader-1"] == here
