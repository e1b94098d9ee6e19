"""The click journal: one write a flush, whole records only, and nothing lost that the kernel had."""

import asyncio
import errno
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener.analytics.journal.journal import Journal, open_journal
from shortener.analytics.journal.records import frame
from shortener.analytics.journal.segments import Segments
from shortener.analytics.journal.sync import Durability
from shortener.analytics.model import START, Position
from shortener.config.sections import Clicks
from shortener.errors import OperatorError

FRAME = len(frame(b"0000"))


def opening(
    path: Path, *, after: Position = START, segment_size_max: int = 1 << 20, durability: Durability = "kernel"
) -> AbstractAsyncContextManager[Journal]:
    settings = Clicks(segment_size_max=segment_size_max, durability=durability, sync_seconds=0.001)
    return open_journal(path / "journal", settings, after=after)


def numbers(first: int, last: int) -> list[bytes]:
    return [f"{number:04}".encode() for number in range(first, last)]


def put(journal: Journal, payloads: list[bytes]) -> None:
    for payload in payloads:
        journal.add(payload)
    journal.flush()


def everything(journal: Journal, start: Position = START, *, records_max: int = 1000) -> list[bytes]:
    """Read from a position to the end, as a collector would."""
    found: list[bytes] = []
    position = start
    while position < journal.end:
        piece = journal.segments.read(position, journal.end, records_max=records_max)
        assert piece.position > position
        found += piece.payloads
        position = piece.position
    assert position == journal.end
    return found


def failing(error: int, *, times: int = 1, written: int = 0) -> Callable[[int, bytes], int]:
    """`os.write` on a disk that takes `written` bytes and then fails, `times` times."""
    write = os.write
    left = times
    began = False

    def fail(file: int, data: bytes) -> int:
        nonlocal left, began
        if not left:
            return write(file, data)
        if written and not began:
            began = True
            return write(file, data[:written])
        left -= 1
        began = False
        raise OSError(error, os.strerror(error))

    return fail


class Refusing:
    """`os.open` without free file handles, or disk, for the first `times`."""

    def __init__(self, error: int, *, times: int) -> None:
        self.error = error
        self.times = times
        self.open = os.open

    def __call__(self, path: Path, flags: int, mode: int = 0) -> int:
        self.times -= 1
        if self.times >= 0:
            raise OSError(self.error, os.strerror(self.error))
        return self.open(path, flags, mode)


async def test_what_was_added_is_written_at_once_when_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opening(tmp_path) as journal:
        writes: list[bytes] = []
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: (writes.append(data), write(file, data))[1])
        for payload in numbers(0, 100):
            journal.add(payload)
        before = everything(journal)
        journal.flush()
        journal.flush()

        assert before == []
        assert writes == [b"".join(map(frame, numbers(0, 100)))]
        assert everything(journal) == numbers(0, 100)
        assert (journal.records, journal.dropped) == (100, 0)


async def test_files_are_private(tmp_path: Path) -> None:
    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 1))
        [file] = (tmp_path / "journal").iterdir()

        assert file.name == "clicks-000000000001.journal"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700


async def test_segments_are_of_limited_size_and_read_in_order(tmp_path: Path) -> None:
    async with opening(tmp_path, segment_size_max=10 * FRAME) as journal:
        for number in range(25):
            put(journal, numbers(number, number + 1))

        assert journal.segments.numbers() == [1, 2, 3]
        assert [journal.segments.size(number) for number in (1, 2, 3)] == [10 * FRAME, 10 * FRAME, 5 * FRAME]
        assert everything(journal, records_max=4) == numbers(0, 25)
        assert journal.bytes_after(Position(2, 9 * FRAME)) == 6 * FRAME


async def test_a_group_larger_than_a_segment_is_still_one_write(tmp_path: Path) -> None:
    async with opening(tmp_path, segment_size_max=FRAME) as journal:
        put(journal, numbers(0, 5))
        put(journal, numbers(5, 6))

        assert journal.segments.numbers() == [1, 2]
        assert everything(journal) == numbers(0, 6)


async def test_each_start_begins_a_fresh_segment(tmp_path: Path) -> None:
    for start in range(3):
        async with opening(tmp_path) as journal:
            put(journal, numbers(start, start + 1))
    async with opening(tmp_path) as journal:
        assert journal.end == Position(4, 0)
        assert everything(journal) == numbers(0, 3)


async def test_consumed_segments_are_deleted(tmp_path: Path) -> None:
    async with opening(tmp_path, segment_size_max=FRAME) as journal:
        for number in range(4):
            put(journal, numbers(number, number + 1))
        journal.segments.forget(Position(3, 0))

        assert journal.segments.numbers() == [3, 4]
        assert everything(journal, Position(3, 0)) == numbers(2, 4)


async def test_a_start_deletes_what_was_moved_before(tmp_path: Path) -> None:
    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 1))
    async with opening(tmp_path, after=Position(2, 0)) as journal:
        assert journal.segments.numbers() == [3]
        assert journal.end == Position(3, 0)


async def test_numbers_go_on_when_all_segments_are_gone(tmp_path: Path) -> None:
    async with opening(tmp_path, after=Position(41, 1234)) as journal:
        put(journal, numbers(0, 2))

        assert journal.end == Position(42, 2 * FRAME)
        assert everything(journal, Position(41, 1234)) == numbers(0, 2)


@pytest.mark.parametrize("torn", range(1, FRAME))
async def test_a_torn_tail_is_skipped_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, torn: int
) -> None:
    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 3))
    file = journal.segments.path(1)
    file.write_bytes(file.read_bytes()[:-torn])
    async with opening(tmp_path) as journal:
        put(journal, numbers(3, 5))

        assert everything(journal) == numbers(0, 2) + numbers(3, 5)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"click journal clicks-000000000001.journal: {FRAME - torn} unreadable bytes at {2 * FRAME} skipped"
    ]


@given(st.integers(0, 5 * FRAME * 8 - 1))
@settings(max_examples=40)
async def test_damage_costs_what_lies_behind_it_in_its_segment(
    tmp_path_factory: pytest.TempPathFactory, bit: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("damage")
    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 5))
    file = journal.segments.path(1)
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)
    async with opening(tmp_path) as journal:
        put(journal, numbers(5, 6))

        assert everything(journal) == numbers(0, bit // 8 // FRAME) + numbers(5, 6)


async def test_damage_in_the_segment_that_is_written_is_passed(tmp_path: Path) -> None:
    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 5))
        with journal.segments.path(1).open("r+b") as file:
            file.seek(3 * FRAME)
            file.write(b"\xff" * FRAME)
        start = journal.segments.read(START, journal.end, records_max=100).position
        found = everything(journal, start)
        put(journal, numbers(5, 6))

        assert found == numbers(0, 3)
        assert everything(journal, Position(1, 5 * FRAME)) == numbers(5, 6)


async def test_a_file_shorter_than_the_position_has_nothing_more(tmp_path: Path) -> None:
    """A power cut may take journal bytes whose clicks are safe in the database."""
    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 5))
    os.truncate(journal.segments.path(1), 2 * FRAME)
    async with opening(tmp_path, after=Position(1, 4 * FRAME)) as journal:
        put(journal, numbers(5, 6))

        assert everything(journal, Position(1, 4 * FRAME)) == numbers(5, 6)
        assert journal.bytes_after(Position(1, 4 * FRAME)) == FRAME


@pytest.mark.parametrize("written", [0, 1, FRAME, FRAME + 1, 2 * FRAME - 1])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
async def test_a_write_that_fails_costs_its_clicks_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int, error: int
) -> None:
    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 2))
        monkeypatch.setattr(os, "write", failing(error, written=written))
        put(journal, numbers(2, 4))
        put(journal, numbers(4, 6))

        assert everything(journal) == numbers(0, 2) + numbers(4, 6)
        assert (journal.records, journal.dropped) == (4, 2)


async def test_when_the_half_written_cannot_be_cut_off_another_segment_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 2))
        monkeypatch.setattr(os, "write", failing(errno.EIO, written=FRAME + 3))
        monkeypatch.setattr(os, "ftruncate", failing(errno.EIO))
        put(journal, numbers(2, 4))
        put(journal, numbers(4, 6))

        assert everything(journal) == numbers(0, 3) + numbers(4, 6)
        assert journal.end == Position(2, 2 * FRAME)


async def test_a_write_in_parts_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    async with opening(tmp_path) as journal:
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
        put(journal, numbers(0, 20))

        assert everything(journal) == numbers(0, 20)


async def test_without_another_file_the_segment_grows_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opening(tmp_path, segment_size_max=FRAME) as journal:
        put(journal, numbers(0, 1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", Refusing(errno.EMFILE, times=1))
            put(journal, numbers(1, 2))
        put(journal, numbers(2, 3))

        assert journal.segments.numbers() == [1, 2]
        assert everything(journal) == numbers(0, 3)
        assert journal.dropped == 0


async def test_a_foreign_file_in_the_way_is_not_written_over(tmp_path: Path) -> None:
    async with opening(tmp_path, segment_size_max=FRAME) as journal:
        put(journal, numbers(0, 1))
        journal.segments.path(2).write_bytes(b"foreign")
        put(journal, numbers(1, 2))

        assert journal.segments.path(2).read_bytes() == b"foreign"
        assert everything(journal) == numbers(0, 2)


async def test_a_full_disk_at_start_only_drops_clicks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "journal").mkdir()
    monkeypatch.setattr(os, "open", Refusing(errno.ENOSPC, times=2))
    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 2))
        put(journal, numbers(2, 4))

        assert everything(journal) == numbers(2, 4)
        assert journal.dropped == 2


async def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file in the way")

    with pytest.raises(OperatorError, match=r"cannot use click journal .*: File exists$"):
        async with opening(tmp_path):
            pass


class Disk:
    """Stands for `os.fdatasync`: counts, may be held up, may fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.errors: list[OSError] = []
        self.free = threading.Event()
        self.free.set()
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, file: int) -> None:
        assert self.free.wait(10)
        self.syncs += 1
        if self.errors:
            raise self.errors.pop()


async def test_with_durability_kernel_nobody_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    async with opening(tmp_path) as journal:
        disk.free.clear()
        put(journal, numbers(0, 1))
        await journal.settled()
        disk.free.set()

    assert disk.syncs >= 1


async def test_with_durability_power_all_that_wait_share_one_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    async with opening(tmp_path, durability="power") as journal:
        disk.free.clear()
        waiting = []
        for number in range(50):
            put(journal, numbers(number, number + 1))
            waiting.append(asyncio.ensure_future(journal.settled()))
        await asyncio.sleep(0)
        before = [task.done() for task in waiting]
        disk.free.set()
        await asyncio.gather(*waiting)

        assert not any(before)
        assert disk.syncs <= 2


async def test_settled_waits_for_a_sync_that_began_after_the_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    async with opening(tmp_path, durability="power") as journal:
        put(journal, numbers(0, 1))
        await journal.settled()
        first = disk.syncs
        put(journal, numbers(1, 2))
        await journal.settled()

        assert disk.syncs == first + 1


async def test_settled_may_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    async with opening(tmp_path, durability="power") as journal:
        disk.free.clear()
        put(journal, numbers(0, 1))
        task = asyncio.ensure_future(journal.settled())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        disk.free.set()
        put(journal, numbers(1, 2))
        await journal.settled()


async def test_a_disk_that_refuses_to_sync_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    disk.errors.append(OSError(errno.EIO, "Input/output error"))
    async with opening(tmp_path, durability="power") as journal:
        put(journal, numbers(0, 1))
        await journal.settled()

        assert journal.sync.failures == 1


async def test_closing_flushes_syncs_and_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    files = len(os.listdir("/proc/self/fd"))
    async with opening(tmp_path, segment_size_max=FRAME) as journal:
        for payload in numbers(0, 5):
            put(journal, [payload])
        journal.add(b"0005")
    synced = disk.syncs
    await journal.settled()

    assert journal.records == 6
    assert synced >= 5
    assert len(os.listdir("/proc/self/fd")) == files
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("journal-sync")]


APPEND_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from shortener.analytics.journal.journal import open_journal
from shortener.analytics.model import Position
from shortener.config.sections import Clicks

async def main():
    settings = Clicks(segment_size_max=65536, sync_seconds=0.01)
    async with open_journal(Path(sys.argv[1]), settings, after=Position(0, 0)) as journal:
        number = 0
        while True:
            for _ in range(3):
                journal.add(b"%08d" % number)
                number += 1
            journal.flush()
            print(number, flush=True)
            await asyncio.sleep(0)

asyncio.run(main())
"""


async def everything_after_a_restart(path: Path) -> list[bytes]:
    async with opening(path) as journal:
        return everything(journal)


def test_kill_9_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", APPEND_FOR_EVER, str(tmp_path / "journal")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = 0
    while acknowledged < 6000:
        acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    for line in process.stdout:
        acknowledged = int(line) if line.endswith("\n") else acknowledged
    process.wait()
    process.stdout.close()

    found = asyncio.run(everything_after_a_restart(tmp_path))

    assert found == [b"%08d" % number for number in range(len(found))]
    assert acknowledged <= len(found) <= acknowledged + 3
    assert len(Segments(tmp_path / "journal").numbers()) > 1


@pytest.mark.parametrize("number", [9, 999_999_999_998, 999_999_999_999, 10**12, 10**15 + 7])
async def test_numbers_of_any_length_go_on_after_a_crash(tmp_path: Path, number: int) -> None:
    async with opening(tmp_path) as journal:
        segments = journal.segments
    segments.path(number).write_bytes(frame(b"left"))

    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 30))
        assert journal.end.segment == number + 1
    async with opening(tmp_path, after=Position(number, FRAME), segment_size_max=FRAME * 10) as journal:
        put(journal, numbers(30, 60))

        assert segments.numbers() == [number, number + 1, number + 2]
        assert everything(journal, Position(number, 0)) == [b"left", *numbers(0, 60)]
        assert journal.bytes_after(Position(number, 0)) == 61 * FRAME


@pytest.mark.parametrize(
    "name",
    [
        "clicks-9.journal",
        "clicks-00000000001.journal",
        "clicks-0000000000001.journal",
        "clicks-9999999999999999999.journal",
        f"clicks-{'9' * 200}.journal",
        "clicks-{}.journal".format("\u0660" * 12),
        "clicks-000000000007.journal~",
        "Clicks-000000000007.journal",
        "clicks-000000000007.journal\n",
    ],
)
async def test_files_of_other_names_are_no_segments(tmp_path: Path, name: str) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / name).write_bytes(frame(b"foreign"))

    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 3))

        assert journal.end.segment == 1
        assert everything(journal) == numbers(0, 3)
        assert journal.bytes_after(START) == 3 * FRAME


async def test_a_number_near_the_end_of_all_numbers_does_not_name_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / f"clicks-{10**18 - 1}.journal").write_bytes(frame(b"foreign"))

    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 3))

        assert journal.end.segment == 1
        assert everything(journal) == numbers(0, 3)
        assert journal.bytes_after(START) == 3 * FRAME


async def test_what_is_no_file_is_no_segment(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    directory.mkdir()
    (directory / "clicks-000000000003.journal").mkdir()
    os.mkfifo(directory / "clicks-000000000004.journal")
    (tmp_path / "elsewhere").write_bytes(frame(b"foreign"))
    (directory / "clicks-000000000005.journal").symlink_to(tmp_path / "elsewhere")

    async with opening(tmp_path) as journal:
        put(journal, numbers(0, 3))

        assert everything(journal) == numbers(0, 3)
        journal.acknowledge(journal.end)
        assert journal.segments.numbers() == [3, journal.end.segment]  # A directory stays; it does no harm.
