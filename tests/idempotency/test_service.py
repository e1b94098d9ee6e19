"""When an answer is given again, when not, and what is forgotten; over the memory store and the real one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shortener import errors
from shortener.errors import OperatorError
from shortener.idempotency import Answer, Asked, Replays
from shortener.idempotency.module import load_secret, swept
from shortener.idempotency.ports import ReplayStore
from shortener.idempotency.service import SWEEP_BATCH
from shortener.idempotency.sqlite import SqliteReplayStore
from shortener.tx import Transactions, Tx
from tests.support.databases import migrate_file, opened
from tests.support.fakes import FakeClock, FakeTransactions
from tests.support.idempotency_fakes import DAY, MemoryReplayStore, some_replays
from tests.support.waiting import until

NOW = 1_800_000_000


class Subject:
    """Replays on one store."""

    def __init__(self, store: ReplayStore, transactions: Transactions) -> None:
        self.clock = FakeClock(NOW)
        self.store = store
        self.transactions = transactions
        self.replays = self.new()

    def new(self, **limits: int) -> Replays:
        return some_replays(self.clock, store=self.store, transactions=self.transactions, **limits)

    async def call(
        self, key: str, *request: int | str, answer: Answer = ("first", 1), caller: str = "caller", method: str = "M"
    ) -> Answer:
        """Do what services do; the answer is kept unless there is one."""
        asked = self.replays.asked(method, caller, key, request)
        found = await self.replays.find(asked)
        return found or await self.transactions(lambda tx: self._call(tx, asked, answer))

    def _call(self, tx: Tx, asked: Asked, answer: Answer) -> Answer:
        found = self.replays.find_in(tx, asked)
        if found is None:
            self.replays.keep(tx, asked, answer)
        return found or answer


@pytest.fixture(params=["memory", "sqlite"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "memory":
        store = MemoryReplayStore()
        once = request.node.get_closest_marker("units_run_once")
        yield Subject(store, FakeTransactions() if once else FakeTransactions(store))
        return
    migrate_file(tmp_path / "test.db")
    async with opened(tmp_path / "test.db") as database:
        yield Subject(SqliteReplayStore(database), database.transaction)


async def test_the_first_answer_is_given_again(subject: Subject) -> None:
    assert await subject.call("key", "request", answer=(1, "abc", "ü\u2028")) == (1, "abc", "ü\u2028")
    assert await subject.call("key", "request", answer=("second",)) == (1, "abc", "ü\u2028")
    assert await subject.call("other", "request", answer=("third",)) == ("third",)
    assert (await subject.store.count(), subject.replays.replayed) == (2, 1)


async def test_a_key_cannot_come_with_another_request(subject: Subject) -> None:
    await subject.call("key", "request")
    with pytest.raises(errors.Conflict) as raised:
        await subject.call("key", "another request")
    assert (raised.value.message, raised.value.field) == (
        "idempotency-key was used for another request",
        "idempotency-key",
    )
    assert await subject.call("key", "request") == ("first", 1)


async def test_inside_a_transaction_the_same_is_found(subject: Subject) -> None:
    asked = subject.replays.asked("M", "caller", "key", ("request",))
    assert await subject.transactions(lambda tx: subject.replays.find_in(tx, asked)) is None
    await subject.call("key", "request")
    assert await subject.transactions(lambda tx: subject.replays.find_in(tx, asked)) == ("first", 1)
    other = subject.replays.asked("M", "caller", "key", ("other",))
    with pytest.raises(errors.Conflict):
        await subject.transactions(lambda tx: subject.replays.find_in(tx, other))


@pytest.mark.parametrize(("seconds", "is_kept"), [(DAY - 1, True), (DAY, False), (-DAY + 1, True), (-DAY, False)])
async def test_an_answer_is_good_for_a_day(subject: Subject, seconds: int, *, is_kept: bool) -> None:
    await subject.call("key", "request")
    subject.clock.tick(seconds)
    assert (await subject.call("key", "request", answer=("second",)) == ("first", 1)) is is_kept
    # A void answer has made place for the new one, and another request may have its key.
    subject.clock.tick(DAY * 2)
    assert await subject.call("key", "another request", answer=("third",)) == ("third",)


@pytest.mark.parametrize("kept", [0, 1, SWEEP_BATCH, SWEEP_BATCH + 3])
async def test_a_sweep_removes_what_is_void_and_nothing_else(subject: Subject, kept: int) -> None:
    subject.replays = subject.new(keys_max=3 * SWEEP_BATCH)
    await asyncio.gather(*(subject.call(f"old-{number}", "request") for number in range(kept)))
    subject.clock.tick(DAY - 1)
    await subject.call("new", "request")
    await subject.replays.sweep()
    assert (subject.replays.count, await subject.store.count()) == (kept + 1, kept + 1)
    subject.clock.tick()
    await subject.replays.sweep()
    assert (subject.replays.count, await subject.store.count()) == (1, 1)
    assert await subject.call("new", "request", answer=("again",)) == ("first", 1)


async def test_a_sweep_removes_what_the_clock_put_in_the_future(subject: Subject) -> None:
    subject.clock.tick(DAY * 365)
    await subject.call("key", "request")
    subject.clock.now = NOW
    await subject.call("other", "request")
    await subject.replays.sweep()
    assert await subject.store.count() == 1


async def test_further_keys_are_refused_and_known_ones_are_not(subject: Subject) -> None:
    subject.replays = subject.new(keys_max=4)
    await subject.call("one", "request")
    await subject.call("two", "request")
    with pytest.raises(errors.Exhausted) as raised:
        await subject.call("three", "request")
    assert (raised.value.overload, raised.value.retry_after_seconds) == (False, 60)
    assert await subject.call("one", "request", answer=("second",)) == ("first", 1)
    subject.clock.tick(DAY)
    await subject.replays.sweep()
    assert await subject.call("three", "request") == ("first", 1)


async def test_nobody_takes_the_room_of_others(subject: Subject) -> None:
    subject.replays = subject.new(keys_max=20)

    async def kept_by(caller: str) -> int:
        """How many calls of this caller are taken until one is refused; each method takes its turn."""
        for number in range(30):
            try:
                await subject.call(f"key-{number}", "request", caller=caller, method=f"M{number % 3}")
            except errors.Exhausted as error:
                assert error.overload is (number == 0)  # noqa: PT017 - when it is raised is what is measured
                return number
        raise AssertionError("never refused")

    assert [await kept_by(caller) for caller in ("a", "b", "c", "d", "e", "f")] == [10, 5, 3, 1, 1, 0]
    assert await subject.store.count() == 20
    assert [await kept_by(caller) for caller in ("a", "b", "g")] == [10, 5, 0]
    subject.clock.tick(DAY)
    await subject.replays.sweep()
    assert await kept_by("f") == 10


async def test_answers_that_another_process_keeps_are_known_and_counted(subject: Subject) -> None:
    subject.replays = subject.new(keys_max=4)
    await subject.call("one", "request")
    subject.replays = subject.new(keys_max=4)
    assert await subject.call("one", "request", answer=("second",)) == ("first", 1)
    await subject.call("two", "request")
    subject.replays = subject.new(keys_max=4)
    with pytest.raises(errors.Exhausted):
        await subject.call("three", "request")


async def test_an_answer_in_place_of_a_void_one_is_counted_once(subject: Subject) -> None:
    subject.replays = subject.new(keys_max=4)
    for _ in range(5):
        await subject.call("one", "request")
        subject.clock.tick(DAY)
    await subject.call("two", "request", caller="other")
    assert await subject.store.count() == 2
    await subject.call("three", "request", caller="third")
    with pytest.raises(errors.Exhausted):
        await subject.call("four", "request", caller="third")


async def test_opening_counts_what_is_there_and_sweeps(subject: Subject) -> None:
    await subject.call("old", "request")
    subject.clock.tick(DAY)
    await subject.call("new", "request")
    async with swept(subject.new(), every_seconds=0.001) as replays:
        assert replays.count == 2
        await until(lambda: replays.count == 1)
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "replay-sweeper"] == []


@pytest.mark.units_run_once
async def test_a_sweep_that_fails_is_tried_again(subject: Subject, caplog: pytest.LogCaptureFixture) -> None:
    await subject.call("old", "request")
    subject.clock.tick(DAY)
    remove, failures = subject.store.remove, [errors.Exhausted("the disk is full"), RuntimeError("a bug")]

    def failing(tx: Tx, *, before: int, after: int, limit: int) -> int:
        if failures:
            raise failures.pop(0)
        return remove(tx, before=before, after=after, limit=limit)

    subject.store.remove = failing  # type: ignore[method-assign] # a fault of the store
    async with swept(subject.new(), every_seconds=0.001) as replays:
        await until(lambda: not replays.count)
    assert [record.getMessage() for record in caplog.records] == ["outdated idempotency keys cannot be removed"] * 2


def test_the_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "idempotency.key"
    secret = load_secret(path)
    assert len(secret) == 32
    path.chmod(0o644)
    assert load_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["idempotency.key"]
    assert load_secret(tmp_path / "other") != secret


@pytest.mark.parametrize("content", [b"", b"00\n", b"nonsense", b"\xff" * 32, b"00" * 33])
def test_a_damaged_secret_is_left_to_the_operator(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "idempotency.key"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=r"idempotency\.key: it is damaged; restore it, or remove it to begin anew"):
        load_secret(path)
    assert path.read_bytes() == content


def test_a_secret_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="No such file or directory"):
        load_secret(tmp_path / "missing" / "idempotency.key")
