"""The module as it is wired in earnest: SQLite, Argon2id and signed tokens."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest

from shortener import errors
from shortener.accounts.passwords import Argon2idPasswords
from shortener.accounts.ports import SignedIn
from shortener.accounts.service import AccountService
from shortener.accounts.sqlite import SqliteAccountStore
from shortener.accounts.tokens import JwtTokens
from shortener.config.sections import Auth
from shortener.ids import random_id
from shortener.storage.sqlite.database import SqliteDatabase
from tests.accounts.fakes import a_throttle
from tests.support.fakes import FakeClock

EMAIL, PASSWORD = "user@example.com", "securePassword123"


@pytest.fixture
async def whole(database: SqliteDatabase, clock: FakeClock) -> AsyncIterator[AccountService]:
    passwords = Argon2idPasswords(Auth(hash_threads=2, hash_queue_max=8, hash_wait_seconds=math.inf))
    tokens = JwtTokens([b"k" * 32], Auth(), clock=clock, new_id=random_id)
    yield AccountService(
        SqliteAccountStore(database),
        database.transaction,
        passwords=passwords,
        tokens=tokens,
        throttle=a_throttle(),
        clock=clock,
    )
    await passwords.close()


async def test_a_life_of_an_account(whole: AccountService, clock: FakeClock) -> None:
    registered = await whole.register(EMAIL, PASSWORD, "John Doe")
    clock.tick(60)
    signed_in = await whole.login(EMAIL.upper(), PASSWORD)
    assert signed_in.account == registered.account
    token = signed_in.token
    changed = await whole.update_profile(token, name="Jane Doe", email="jane@example.com")
    assert (changed.name, changed.email, changed.updated_at) == ("Jane Doe", "jane@example.com", clock.now)
    assert await whole.profile(token) == changed == (await whole.login("jane@example.com", PASSWORD)).account
    with pytest.raises(errors.Unauthenticated):
        await whole.login(EMAIL, PASSWORD)
    clock.tick(604_800)
    assert whole.validate(token) is None


async def test_of_many_registering_at_once_exactly_one_wins(whole: AccountService) -> None:
    results = await asyncio.gather(
        *(whole.register(EMAIL, PASSWORD, "John Doe") for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 3 + ["SignedIn"]
    winner = next(result for result in results if isinstance(result, SignedIn))
    assert await whole.page(0, 0) == ([winner.account], 1)


async def test_two_changes_at_once_lose_nothing(whole: AccountService, clock: FakeClock) -> None:
    token = (await whole.register(EMAIL, PASSWORD, "John Doe")).token
    clock.tick(1)
    await asyncio.gather(
        whole.update_profile(token, name="Jane Doe", email=""),
        whole.update_profile(token, name="", email="jane@example.com"),
    )
    account = await whole.profile(token)
    assert (account.name, account.email) == ("Jane Doe", "jane@example.com")


async def test_cancelled_calls_leave_all_or_nothing(whole: AccountService) -> None:
    for pause in (0, 0.001, 0.02, 0.05, 0.1):
        task = asyncio.create_task(whole.register(EMAIL, PASSWORD, "John Doe"))
        await asyncio.sleep(pause)
        task.cancel()
        await asyncio.wait([task])
    accounts, total = await whole.page(0, 0)
    assert total == len(accounts) <= 1
    if not accounts:
        await whole.register(EMAIL, PASSWORD, "John Doe")
    assert (await whole.login(EMAIL, PASSWORD)).account.email == EMAIL


async def test_a_new_password_ends_signed_tokens(whole: AccountService, clock: FakeClock) -> None:
    old = (await whole.register(EMAIL, PASSWORD, "John Doe")).token
    assert whole.validate(old) is not None  # and remembered from now on
    changed = await whole.change_password("1", old=PASSWORD, new="otherPassword")
    assert (whole.validate(old), await whole.profile(changed.token)) == (None, changed.account)
    with pytest.raises(errors.Unauthenticated):
        await whole.login(EMAIL, PASSWORD)
    assert (await whole.login(EMAIL, "otherPassword")).account == changed.account
