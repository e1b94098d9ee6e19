"""One suite for every account store."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from shortener import errors
from shortener.accounts.model import Account, Credentials
from shortener.accounts.ports import AccountStore
from shortener.accounts.sqlite import SqliteAccountStore
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.tx import Transactions, Tx
from tests.accounts.builders import a_new_account, an_account
from tests.accounts.fakes import MemoryAccountStore
from tests.support.fakes import FakeTransactions


@dataclass
class Kept:
    """A store and the transactions that go with it."""

    store: AccountStore
    transactions: Transactions

    async def add(self, **changes: object) -> Account:
        return await self.transactions(lambda tx: self.store.add(tx, a_new_account(**changes)))

    async def update(self, account: Account) -> None:
        await self.transactions(lambda tx: self.store.update(tx, account))


@pytest.fixture(params=["memory", "sqlite"])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[Kept]:
    if request.param == "memory":
        store = MemoryAccountStore()
        yield Kept(store, FakeTransactions(store))
    else:
        database = request.getfixturevalue("database")
        yield Kept(SqliteAccountStore(database), database.transaction)


@pytest.fixture(autouse=True)
def _database_first(database: SqliteDatabase) -> None:
    """An async fixture cannot be asked for from within another."""


async def test_an_added_account_is_found(kept: Kept) -> None:
    added = await kept.add(username="John")
    assert added == an_account(id=1, username="John")
    assert await kept.store.find(1) == added
    assert await kept.store.find_credentials("USER@example.com") == Credentials(added, "hash")
    assert await kept.transactions(lambda tx: kept.store.get(tx, 1)) == added


async def test_nothing_is_found_in_an_empty_store(kept: Kept) -> None:
    assert await kept.store.find(1) is None
    assert await kept.store.find(2**63 - 1) is None
    assert await kept.store.find_credentials("user@example.com") is None
    assert await kept.store.page(20, 0) == ([], 0)
    assert await kept.transactions(lambda tx: kept.store.get(tx, 1)) is None


@pytest.mark.parametrize(
    ("first", "second", "field"),
    [
        ({"email": "user@example.com"}, {"email": "USER@example.com"}, "email"),
        ({"email": "ü@example.com"}, {"email": "Ü@example.com"}, "email"),
        (
            {"email": "a@example.com", "username": "grpcUser"},
            {"email": "b@example.com", "username": "GRPCuser"},
            "username",
        ),
        ({"username": "grpcuser"}, {"username": "grpcuser"}, "email"),
    ],
)
async def test_another_spelling_of_what_is_taken_is_a_conflict(
    kept: Kept, first: dict[str, str], second: dict[str, str], field: str
) -> None:
    await kept.add(**first)
    with pytest.raises(errors.Conflict) as caught:
        await kept.add(**second)
    assert (caught.value.field, caught.value.message) == (field, f"{field} is already taken")
    assert (await kept.store.page(20, 0))[1] == 1


async def test_many_accounts_have_no_username(kept: Kept) -> None:
    await kept.add(email="a@example.com")
    await kept.add(email="b@example.com")
    assert (await kept.store.page(20, 0))[1] == 2


async def test_of_many_at_once_one_gets_the_address(kept: Kept) -> None:
    results = await asyncio.gather(
        *(kept.add(email=spelling) for spelling in ("user@example.com", "User@example.com") * 20),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Account) for result in results) == 1
    assert sum(isinstance(result, errors.Conflict) for result in results) == 39
    assert (await kept.store.page(20, 0))[1] == 1


async def test_pages_are_newest_first_and_count_all(kept: Kept) -> None:
    added = [await kept.add(email=f"{number}@example.com") for number in range(5)]
    newest_first = added[::-1]
    assert await kept.store.page(2, 0) == (newest_first[:2], 5)
    assert await kept.store.page(2, 2) == (newest_first[2:4], 5)
    assert await kept.store.page(2, 4) == (newest_first[4:], 5)
    assert await kept.store.page(2, 5) == ([], 5)
    assert await kept.store.page(1000, 2**31 - 1) == ([], 5)


async def test_an_update_changes_email_name_and_time_alone(kept: Kept) -> None:
    account = await kept.add(username="john")
    changed = replace(account, email="jane@example.com", name="Jane", updated_at=1_704_240_000)
    await kept.update(replace(changed, username="ignored", created_at=1))
    assert await kept.store.find(account.id) == changed
    assert await kept.store.find_credentials("JANE@example.com") == Credentials(changed, "hash")
    assert await kept.store.find_credentials("user@example.com") is None


async def test_an_update_may_spell_its_own_address_anew(kept: Kept) -> None:
    account = await kept.add()
    await kept.update(replace(account, email="USER@example.com"))
    assert await kept.store.find(account.id) == replace(account, email="USER@example.com")


async def test_an_update_to_anothers_address_is_a_conflict(kept: Kept) -> None:
    await kept.add(email="taken@example.com")
    account = await kept.add()
    with pytest.raises(errors.Conflict) as caught:
        await kept.update(replace(account, email="TAKEN@example.com", name="Other"))
    assert caught.value.field == "email"
    assert await kept.store.find(account.id) == account


async def test_an_address_given_up_is_free(kept: Kept) -> None:
    account = await kept.add()
    await kept.update(replace(account, email="new@example.com"))
    assert (await kept.add()).email == "user@example.com"


async def test_a_hash_is_replaced_only_if_it_is_still_the_old_one(kept: Kept) -> None:
    account = await kept.add()
    await kept.transactions(lambda tx: kept.store.replace_hash(tx, account.id, old="other", new="wrong"))
    assert await kept.store.find_credentials(account.email) == Credentials(account, "hash")
    await kept.transactions(lambda tx: kept.store.replace_hash(tx, account.id, old="hash", new="renewed"))
    assert await kept.store.find_credentials(account.email) == Credentials(account, "renewed")


async def test_a_new_password_brings_a_new_version(kept: Kept) -> None:
    first, second = await kept.add(), await kept.add(email="other@example.com")
    assert await kept.store.token_versions() == {}
    changed = replace(first, token_version=7, updated_at=first.updated_at + 60)
    await kept.transactions(lambda tx: kept.store.set_password(tx, changed, "new"))
    assert await kept.store.find_credentials(first.email) == Credentials(changed, "new")
    assert await kept.store.find_credentials(second.email) == Credentials(second, "hash")
    await kept.update(replace(changed, name="Jane"))
    assert await kept.store.find(first.id) == replace(changed, name="Jane")
    assert await kept.store.token_versions() == {first.id: 7}


async def test_a_work_that_fails_leaves_nothing(database: SqliteDatabase) -> None:
    store = SqliteAccountStore(database)

    def work(tx: Tx) -> None:
        store.add(tx, a_new_account())
        raise LookupError

    with pytest.raises(LookupError):
        await database.transaction(work)
    assert await store.page(20, 0) == ([], 0)


async def test_an_erased_account_leaves_its_id_alone(kept: Kept) -> None:
    first, second = await kept.add(username="John"), await kept.add(email="other@example.com", username="Jane")

    async def erase(account_id: int) -> bool:
        return await kept.transactions(lambda tx: kept.store.erase(tx, account_id, now=1_900_000_000))

    assert await kept.store.erased() == []
    assert await erase(second.id) is True
    assert await erase(second.id) is False
    assert await erase(99) is False

    assert await kept.store.find(second.id) is None
    assert await kept.store.find_credentials("other@example.com") is None
    assert await kept.store.page(20, 0) == ([first], 1)
    assert (await kept.store.erased(), await kept.store.pending_erasures()) == ([second.id], [second.id])
    again = await kept.add(email="other@example.com", username="Jane")  # Both are free, the id is not.
    assert again.id == second.id + 1

    await kept.transactions(lambda tx: kept.store.finish_erasure(tx, second.id))
    await kept.transactions(lambda tx: kept.store.finish_erasure(tx, first.id))
    assert (await kept.store.erased(), await kept.store.pending_erasures()) == ([second.id], [])
