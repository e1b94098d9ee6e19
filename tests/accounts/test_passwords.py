"""Argon2id on its threads: right answers, bounded waiting, nothing left behind."""

import asyncio
import math
import re
import threading
import time
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shortener import errors
from shortener.accounts.passwords import Argon2idPasswords
from shortener.config.sections import Auth

PASSWORD = "securePassword123"


@pytest.fixture
async def passwords() -> AsyncIterator[Argon2idPasswords]:
    opened = Argon2idPasswords(Auth(hash_threads=1, hash_queue_max=4, hash_wait_seconds=math.inf))
    yield opened
    await opened.close()


def password_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("passwords")]


class Gate:
    """Holds the hasher's thread until it is opened."""

    def __init__(self, passwords: Argon2idPasswords, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.is_held = threading.Event()
        self._open = threading.Event()
        inner = passwords._hasher.hash

        class Hasher(PasswordHasher):
            def hash(_, password: str) -> str:  # type: ignore[override]  # noqa: N805 - `self` is the gate
                self.calls.append(password)
                self.is_held.set()
                assert self._open.wait(30)
                return inner(password)

        monkeypatch.setattr(passwords, "_hasher", Hasher())

    def open(self) -> None:
        self._open.set()

    async def held(self) -> None:
        await asyncio.to_thread(self.is_held.wait, 30)


async def test_a_hash_is_argon2id_with_the_chosen_parameters(passwords: Argon2idPasswords) -> None:
    text = await passwords.hash(PASSWORD)
    assert re.fullmatch(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", text)
    assert not passwords.is_outdated(text)
    assert text != await passwords.hash(PASSWORD)


@pytest.mark.parametrize("password", [PASSWORD, "pass\x00word", "密码密码密码", "a" * 1024, "\U0001f600" * 1024])
async def test_only_the_password_itself_matches(passwords: Argon2idPasswords, password: str) -> None:
    text = await passwords.hash(password)
    assert await passwords.verify(text, password)
    assert not await passwords.verify(text, password[:-1])
    assert not await passwords.verify(text, password + "x")


async def test_an_account_that_does_not_exist_is_checked_at_full_cost(
    passwords: Argon2idPasswords, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = await passwords.hash(PASSWORD)
    checked: list[str] = []
    inner = passwords._hasher.verify

    class Hasher(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # noqa: A002
            checked.append(str(hash))
            return inner(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Hasher())
    assert not await passwords.verify(None, PASSWORD)
    assert not await passwords.verify(real, "wrongPassword")
    # Same format, same parameters, same lengths: the same work.
    shapes = {re.sub(r"\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$", "$salt$hash", text) for text in checked}
    assert shapes == {"$argon2id$v=19$m=19456,t=2,p=1$salt$hash"}
    assert len(checked) == len(set(checked)) == 2


@pytest.mark.slow
async def test_an_unknown_account_takes_as_long_as_a_wrong_password(passwords: Argon2idPasswords) -> None:
    real = await passwords.hash(PASSWORD)

    async def fastest(password_hash: str | None) -> float:
        durations = []
        for _ in range(8):
            begin = time.perf_counter()
            await passwords.verify(password_hash, "wrongPassword")
            durations.append(time.perf_counter() - begin)
        return min(durations)

    unknown, wrong = await fastest(None), await fastest(real)
    assert 0.5 < unknown / wrong < 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "$argon2id$",
        "$argon2id$v=19$m=19456,t=2,p=1$",
        "$argon2id$v=19$m=0,t=0,p=0$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$argon2id$v=19$m=x,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=8,t=1,p=1$ü$ü",
        "\ud800",
    ],
)
async def test_no_password_matches_a_hash_that_is_none(
    passwords: Argon2idPasswords, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    assert not await passwords.verify(text, PASSWORD)
    assert [record.message for record in caplog.records] == ["a stored password hash cannot be read"]
    assert passwords.is_outdated(text)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text() | st.from_regex(r"\$argon2(id|i|d)\$v=19\$m=[0-9]{1,3},t=[0-9],p=[0-9]\$.{0,20}\$.{0,20}"))
def test_no_stored_text_breaks_a_check(passwords: Argon2idPasswords, text: str) -> None:
    assert passwords._matches(text, PASSWORD) is False


async def test_hashes_of_other_parameters_match_and_are_outdated(passwords: Argon2idPasswords) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    assert await passwords.verify(old, PASSWORD)
    assert passwords.is_outdated(old)


async def test_what_would_wait_too_long_is_refused_at_once(
    passwords: Argon2idPasswords, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(passwords, monkeypatch)
    accepted = [asyncio.create_task(passwords.hash(f"password{number}")) for number in range(5)]
    await gate.held()
    for attempt in (passwords.hash(PASSWORD), passwords.verify(None, PASSWORD)):
        with pytest.raises(errors.Exhausted) as caught:
            await attempt
        assert (caught.value.overload, caught.value.retry_after_seconds) == (True, 1)
    gate.open()
    assert len(set(await asyncio.gather(*accepted))) == 5
    assert await passwords.hash(PASSWORD)


async def test_who_is_cancelled_leaves_the_queue(passwords: Argon2idPasswords, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(passwords, monkeypatch)
    running = asyncio.create_task(passwords.hash("running"))
    await gate.held()
    for _ in range(3):
        waiting = [asyncio.create_task(passwords.hash("waiting")) for _ in range(4)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert all(task.cancelled() for task in waiting)
    gate.open()
    await running
    assert gate.calls == ["running"]


async def test_a_hash_whose_caller_left_holds_its_thread(
    passwords: Argon2idPasswords, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(passwords, monkeypatch)
    left = asyncio.create_task(passwords.hash("left"))
    await gate.held()
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    waiting = [asyncio.create_task(passwords.hash("waiting")) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(errors.Exhausted):
        await passwords.hash(PASSWORD)
    gate.open()
    await asyncio.gather(*waiting)


async def test_closing_leaves_no_thread() -> None:
    passwords = Argon2idPasswords(Auth(hash_threads=2, hash_queue_max=4, hash_wait_seconds=math.inf))
    await asyncio.gather(*(passwords.hash(PASSWORD) for _ in range(3)))
    assert password_threads()
    await passwords.close()
    await passwords.close()
    assert password_threads() == []
    with pytest.raises(errors.Unavailable):
        await passwords.hash(PASSWORD)


async def test_closing_fails_what_waits_and_finishes_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Argon2idPasswords(Auth(hash_threads=1, hash_queue_max=4, hash_wait_seconds=math.inf))
    gate = Gate(passwords, monkeypatch)
    running = asyncio.create_task(passwords.hash("running"))
    await gate.held()
    waiting = [asyncio.create_task(passwords.hash("waiting")) for _ in range(4)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(passwords.close())
    await asyncio.sleep(0)
    gate.open()
    await closing
    assert (await running).startswith("$argon2id$")
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {errors.Unavailable}
    assert gate.calls == ["running"]
    assert password_threads() == []


async def test_the_event_loop_runs_on_while_passwords_are_hashed(passwords: Argon2idPasswords) -> None:
    hashing = asyncio.create_task(passwords.hash(PASSWORD))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
