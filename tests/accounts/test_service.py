"""The use cases, on fakes."""

import asyncio
import dataclasses

import pytest

from shortener import errors
from shortener.accounts.model import Account
from shortener.accounts.ports import Claims, SignedIn
from shortener.accounts.service import AccountService
from shortener.caller import Caller
from tests.accounts.builders import an_account
from tests.accounts.fakes import FakePasswords, FakeTokens, MemoryAccountStore, a_service, a_throttle
from tests.support.fakes import FakeClock, FakeTransactions

EMAIL, PASSWORD, NAME = "user@example.com", "securePassword123", "John Doe"
WEEK = 604_800


def signed_in(account: Account, now: int) -> SignedIn:
    token = f"token:{account.id}:{account.email}:{now + WEEK}"
    return SignedIn(account, token, now + WEEK)


async def test_registering_makes_an_account_and_its_token(service: AccountService, clock: FakeClock) -> None:
    account = an_account(created_at=clock.now, updated_at=clock.now)
    assert await service.register(EMAIL, PASSWORD, NAME) == signed_in(account, clock.now)
    assert await service.get_user(1) == account


@pytest.mark.parametrize(
    ("email", "password", "name", "field"),
    [
        ("", PASSWORD, NAME, "email"),
        (EMAIL, "", NAME, "password"),
        (EMAIL, PASSWORD, "", "name"),
        ("", "", "", "email"),
        ("user", PASSWORD, NAME, "email"),
        (EMAIL, "12345", NAME, "password"),
        (EMAIL, PASSWORD, "a\nb", "name"),
    ],
)
async def test_registering_names_the_field_at_fault(
    service: AccountService, passwords: FakePasswords, email: str, password: str, name: str, field: str
) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await service.register(email, password, name)
    assert caught.value.field == field
    assert passwords.hashed == []


async def test_an_address_is_registered_once(service: AccountService) -> None:
    await service.register(EMAIL, PASSWORD, NAME)
    with pytest.raises(errors.Conflict) as caught:
        await service.register(EMAIL.upper(), "otherPassword", "Other")
    assert caught.value.field == "email"
    with pytest.raises(errors.Conflict):
        await service.create_user(EMAIL, "grpcuser", PASSWORD)


async def test_of_two_registering_at_once_exactly_one_wins(service: AccountService) -> None:
    results = await asyncio.gather(*(service.register(EMAIL, PASSWORD, NAME) for _ in range(2)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "SignedIn"]


async def test_login_gives_a_token_with_its_end(service: AccountService, clock: FakeClock) -> None:
    account = (await service.register(EMAIL, PASSWORD, NAME)).account
    clock.tick(100)
    assert await service.login("USER@EXAMPLE.COM", PASSWORD) == signed_in(account, clock.now)


@pytest.mark.parametrize(("email", "password", "field"), [("", PASSWORD, "email"), (EMAIL, "", "password")])
async def test_login_needs_both(service: AccountService, email: str, password: str, field: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await service.login(email, password)
    assert (caught.value.field, caught.value.message) == (field, f"{field} is required")


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "wrongPassword"),
        (EMAIL, PASSWORD.upper()),
        (EMAIL, PASSWORD + " "),
        (EMAIL, "short"),
        (EMAIL, "a" * 5000),
        (EMAIL, "password\ud800"),
        ("unknown@example.com", PASSWORD),
        ("no address", PASSWORD),
        ("a" * 5000 + "@example.com", PASSWORD),
        ("\ud800@example.com", PASSWORD),
    ],
)
async def test_every_failed_login_looks_the_same_and_costs_one_check(
    service: AccountService, passwords: FakePasswords, email: str, password: str
) -> None:
    await service.register(EMAIL, PASSWORD, NAME)
    with pytest.raises(errors.Unauthenticated) as caught:
        await service.login(email, password)
    assert (caught.value.message, caught.value.field) == ("invalid email or password", "")
    assert (len(passwords.verified), len(passwords.hashed)) == (1, 1)


async def test_one_password_is_good_in_each_spelling_of_its_characters(service: AccountService) -> None:
    await service.register(EMAIL, "gr\u00fc\u00dfgott", NAME)
    assert (await service.login(EMAIL, "gru\u0308\u00dfgott")).account.id == 1


async def test_login_renews_an_outdated_hash(
    service: AccountService, passwords: FakePasswords, store: MemoryAccountStore
) -> None:
    await service.register(EMAIL, PASSWORD, NAME)
    passwords.version = "2"
    await service.login(EMAIL, PASSWORD)
    credentials = await store.find_credentials(EMAIL)
    assert credentials is not None
    assert credentials.password_hash == f"2:{PASSWORD[::-1]}"
    await service.login(EMAIL, PASSWORD)
    assert passwords.hashed == [PASSWORD, PASSWORD]


async def test_login_succeeds_where_the_hash_cannot_be_renewed_now(
    service: AccountService, passwords: FakePasswords, store: MemoryAccountStore
) -> None:
    await service.register(EMAIL, PASSWORD, NAME)
    passwords.version, passwords.is_exhausted = "2", True
    assert (await service.login(EMAIL, PASSWORD)).account.id == 1
    credentials = await store.find_credentials(EMAIL)
    assert credentials is not None
    assert credentials.password_hash == f"1:{PASSWORD[::-1]}"


async def test_a_failed_login_renews_nothing(service: AccountService, passwords: FakePasswords) -> None:
    await service.register(EMAIL, PASSWORD, NAME)
    passwords.version = "2"
    with pytest.raises(errors.Unauthenticated):
        await service.login(EMAIL, "wrongPassword")
    assert passwords.hashed == [PASSWORD]


async def test_a_token_is_valid_until_the_second_it_ends(service: AccountService, clock: FakeClock) -> None:
    token = (await service.register(EMAIL, PASSWORD, NAME)).token
    claims = Claims("1", EMAIL, clock.now, clock.now + WEEK, "1")
    assert service.verify_token(token) == service.validate(token) == claims
    clock.tick(WEEK - 1)
    assert service.validate(token) == claims
    clock.tick(1)
    assert service.validate(token) is None
    with pytest.raises(errors.Unauthenticated) as caught:
        service.verify_token(token)
    assert caught.value.message == "invalid or expired token"


async def test_a_missing_token_is_invalid(service: AccountService) -> None:
    for attempt in (service.validate, service.verify_token):
        with pytest.raises(errors.Invalid) as caught:
            attempt("")
        assert (caught.value.field, caught.value.message) == ("token", "token is required")
    with pytest.raises(errors.Invalid):
        await service.profile("")
    with pytest.raises(errors.Invalid):
        await service.update_profile("", name="x", email="")


async def test_a_bad_token_opens_no_profile(service: AccountService) -> None:
    with pytest.raises(errors.Unauthenticated):
        await service.profile("token:x")
    with pytest.raises(errors.Unauthenticated):
        await service.update_profile("token:x", name="Jane", email="")


async def test_a_token_whose_account_is_gone_opens_no_profile(service: AccountService, clock: FakeClock) -> None:
    token = FakeTokens(clock).issue(an_account(id=7)).token
    with pytest.raises(errors.Unauthenticated) as caught:
        await service.profile(token)
    assert caught.value.message == "the account of this token no longer exists"
    for name in ("", "Jane"):
        with pytest.raises(errors.Unauthenticated):
            await service.update_profile(token, name=name, email="")


async def test_a_token_shows_its_own_profile(service: AccountService) -> None:
    first = await service.register(EMAIL, PASSWORD, NAME)
    second = await service.register("jane@example.com", PASSWORD, "Jane")
    assert await service.profile(first.token) == first.account
    assert await service.profile(second.token) == await service.profile_of("2") == second.account


@pytest.mark.parametrize(
    ("name", "email", "expected"),
    [
        ("Jane Doe", "", {"name": "Jane Doe"}),
        ("", "jane@example.com", {"email": "jane@example.com"}),
        ("Jane", "Jane@EXAMPLE.com", {"name": "Jane", "email": "Jane@example.com"}),
        ("", "USER@example.com", {"email": "USER@example.com"}),
    ],
)
async def test_a_profile_changes_where_a_value_is_given(
    service: AccountService, clock: FakeClock, name: str, email: str, expected: dict[str, str]
) -> None:
    token = (await service.register(EMAIL, PASSWORD, NAME)).token
    created_at = clock.now
    clock.tick(86_400)
    changed = an_account(created_at=created_at, updated_at=clock.now, **expected)
    assert await service.update_profile(token, name=name, email=email) == changed
    assert await service.profile(token) == changed


@pytest.mark.parametrize(("name", "email"), [("", ""), (NAME, ""), ("", EMAIL), (f" {NAME} ", "user@EXAMPLE.com")])
async def test_a_profile_without_a_change_stays_as_it_is(
    service: AccountService, clock: FakeClock, name: str, email: str
) -> None:
    signed = await service.register(EMAIL, PASSWORD, NAME)
    clock.tick(86_400)
    assert await service.update_profile(signed.token, name=name, email=email) == signed.account
    assert await service.get_user(1) == signed.account


@pytest.mark.parametrize(("name", "email", "field"), [(" ", "", "name"), ("Jane", "jane", "email"), ("", " ", "email")])
async def test_a_bad_change_changes_nothing(service: AccountService, name: str, email: str, field: str) -> None:
    signed = await service.register(EMAIL, PASSWORD, NAME)
    with pytest.raises(errors.Invalid) as caught:
        await service.update_profile(signed.token, name=name, email=email)
    assert caught.value.field == field
    assert await service.get_user(1) == signed.account


async def test_anothers_address_cannot_be_taken(service: AccountService) -> None:
    await service.register("jane@example.com", PASSWORD, "Jane")
    signed = await service.register(EMAIL, PASSWORD, NAME)
    with pytest.raises(errors.Conflict) as caught:
        await service.update_profile(signed.token, name="Jane", email="JANE@example.com")
    assert caught.value.field == "email"
    assert await service.profile(signed.token) == signed.account


async def test_a_user_is_created_with_the_username_as_name(service: AccountService, clock: FakeClock) -> None:
    account = Account(1, "grpc@example.com", "grpcUser", "grpcUser", clock.now, clock.now)
    assert await service.create_user("grpc@example.com", "grpcUser", "password123") == account
    assert (await service.login("grpc@example.com", "password123")).account == account


@pytest.mark.parametrize(
    ("email", "username", "password", "field"),
    [
        ("", "grpcuser", PASSWORD, "email"),
        (EMAIL, "", PASSWORD, "username"),
        (EMAIL, "no", PASSWORD, "username"),
        (EMAIL, "grpcuser", "", "password"),
    ],
)
async def test_creating_a_user_names_the_field_at_fault(
    service: AccountService, email: str, username: str, password: str, field: str
) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await service.create_user(email, username, password)
    assert caught.value.field == field


async def test_a_username_is_taken_once(service: AccountService) -> None:
    await service.create_user("a@example.com", "grpcuser", PASSWORD)
    with pytest.raises(errors.Conflict) as caught:
        await service.create_user("b@example.com", "GrpcUser", PASSWORD)
    assert caught.value.field == "username"


async def test_an_unknown_user_is_not_found(service: AccountService) -> None:
    for account_id in (1, 2**63 - 1):
        with pytest.raises(errors.NotFound) as caught:
            await service.get_user(account_id)
        assert caught.value.message == "user not found"


@pytest.mark.parametrize("account_id", [0, -1])
async def test_a_user_id_must_be_positive(service: AccountService, account_id: int) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await service.get_user(account_id)
    assert caught.value.field == "user_id"


async def test_users_are_paged_newest_first(service: AccountService) -> None:
    accounts = [await service.create_user(f"{n}@example.com", f"user{n}", PASSWORD) for n in range(25)]
    assert await service.page(0, 0) == (accounts[:4:-1], 25)
    assert await service.page(3, 23) == (accounts[1::-1], 25)
    with pytest.raises(errors.Invalid):
        await service.page(-1, 0)


async def test_too_much_load_is_told(service: AccountService, passwords: FakePasswords) -> None:
    passwords.is_exhausted = True
    with pytest.raises(errors.Exhausted):
        await service.register(EMAIL, PASSWORD, NAME)
    assert await service.page(0, 0) == ([], 0)


async def test_transactions_are_the_only_way_to_write(passwords: FakePasswords, clock: FakeClock) -> None:
    class Refusing(FakeTransactions):
        async def __call__(self, work: object) -> object:
            raise errors.Unavailable("busy")

    service = AccountService(
        MemoryAccountStore(),
        Refusing(),
        passwords=passwords,
        tokens=FakeTokens(clock),
        throttle=a_throttle(),
        clock=clock,
    )
    with pytest.raises(errors.Unavailable):
        await service.register(EMAIL, PASSWORD, NAME)
    assert await service.page(0, 0) == ([], 0)


def nothing() -> None:
    """What is to be done after an erasure, where nobody asks for anything."""


async def test_an_erased_account_is_nobody(service: AccountService, store: MemoryAccountStore) -> None:
    signed_in = await service.register("user@example.com", "password", "John")
    token = signed_in.token
    await service.erase(1, nothing)

    assert service.validate(token) is None
    for refused in (
        service.profile(token),
        service.profile_of("1"),
        service.update_profile(token, name="New", email=""),
        service.login("user@example.com", "password"),
    ):
        with pytest.raises(errors.Unauthenticated):
            await refused
    with pytest.raises(errors.NotFound):
        await service.get_user(1)
    assert await service.page(0, 0) == ([], 0)
    again = await service.register("user@example.com", "password", "John")
    assert again.account.id == 2
    assert service.validate(again.token) is not None
    assert await store.pending_erasures() == [1]


async def test_erasures_are_known_after_a_start(
    store: MemoryAccountStore, passwords: FakePasswords, clock: FakeClock
) -> None:
    before = a_service(store, passwords, clock)
    token = (await before.register("user@example.com", "password", "John")).token
    await before.erase(1, nothing)
    after = a_service(store, passwords, clock)
    assert after.validate(token) is not None  # so that this test can fail
    await after.open()
    assert after.validate(token) is None


async def test_an_erasure_can_be_asked_for_again(service: AccountService) -> None:
    await service.register("user@example.com", "password", "John")
    await service.erase(1, nothing)
    await service.erase(1, nothing)
    assert await service.pending_erasures() == [1]
    await service.finish_erasure(1)
    assert await service.pending_erasures() == []
    with pytest.raises(errors.NotFound):
        await service.erase(2, nothing)


async def test_an_account_is_found_by_id_or_email(service: AccountService) -> None:
    await service.register("user@example.com", "password", "John")
    await service.register("gone@example.com", "password", "John")
    await service.erase(2, nothing)

    assert await service.find_id("1", "") == 1
    assert await service.find_id("", "USER@example.com") == 1
    assert await service.find_id("2", "") == 2  # so that an erasure can be asked about
    for user_id, email, error in (
        ("", "", errors.Invalid),
        ("1", "user@example.com", errors.Invalid),
        ("x", "", errors.Invalid),
        ("", "x", errors.Invalid),
        ("3", "", errors.NotFound),
        ("", "gone@example.com", errors.NotFound),
    ):
        with pytest.raises(error):
            await service.find_id(user_id, email)


async def test_the_password_of_a_caller_is_checked(service: AccountService) -> None:
    await service.register("user@example.com", "password", "John")

    assert (await service.check_password("1", "password")).id == 1
    for user_id, password, error in (
        ("1", "", errors.Invalid),
        ("1", "wrong-password", errors.Unauthenticated),
        ("2", "password", errors.Unauthenticated),
    ):
        with pytest.raises(error):
            await service.check_password(user_id, password)


async def test_a_new_password_ends_all_earlier_tokens_in_the_same_second_too(
    service: AccountService, clock: FakeClock
) -> None:
    registered = await service.register(EMAIL, PASSWORD, NAME)
    other = (await service.login(EMAIL, PASSWORD)).token
    stranger = (await service.register("other@example.com", PASSWORD, NAME)).token
    changed = await service.change_password("1", old=PASSWORD, new="otherPassword")
    assert changed.account == dataclasses.replace(registered.account, token_version=clock.now)
    assert [service.validate(token) for token in (registered.token, other)] == [None, None]
    for token in (changed.token, stranger, (await service.login(EMAIL, "otherPassword")).token):
        assert service.validate(token) is not None
    with pytest.raises(errors.Unauthenticated):
        await service.login(EMAIL, PASSWORD)

    again = await service.change_password("1", old="otherPassword", new="otherPassword")
    assert again.account.token_version == clock.now + 1
    assert service.validate(changed.token) is None
    assert service.validate(again.token) is not None
    clock.tick(3600)
    later = await service.change_password("1", old="otherPassword", new=PASSWORD)
    assert later.account == dataclasses.replace(registered.account, token_version=clock.now, updated_at=clock.now)
    assert [service.validate(token.token) is None for token in (again, later)] == [True, False]


async def test_ended_tokens_stay_ended_after_a_start(
    store: MemoryAccountStore, passwords: FakePasswords, clock: FakeClock
) -> None:
    before = a_service(store, passwords, clock)
    old = (await before.register(EMAIL, PASSWORD, NAME)).token
    new = (await before.change_password("1", old=PASSWORD, new="otherPassword")).token
    after = a_service(store, passwords, clock)
    await after.open()
    assert (after.validate(old), after.validate(new)) == (None, before.validate(new))
    assert before.validate(new) is not None


@pytest.mark.parametrize(
    ("old", "new", "error", "field"),
    [
        ("", "otherPassword", errors.Invalid, "old_password"),
        (PASSWORD, "", errors.Invalid, "new_password"),
        (PASSWORD, "12345", errors.Invalid, "new_password"),
        (PASSWORD, "a" * 1025, errors.Invalid, "new_password"),
        (PASSWORD, "password\ud800", errors.Invalid, "new_password"),
        ("wrongPassword", "otherPassword", errors.Unauthenticated, ""),
    ],
)
async def test_a_refused_change_of_the_password_changes_nothing(
    service: AccountService, old: str, new: str, error: type[errors.Failure], field: str
) -> None:
    registered = await service.register(EMAIL, PASSWORD, NAME)
    with pytest.raises(error) as caught:
        await service.change_password("1", old=old, new=new)
    assert caught.value.field == field
    assert service.validate(registered.token) is not None
    assert (await service.login(EMAIL, PASSWORD)).account == registered.account


async def test_guesses_at_the_old_password_are_slowed_down(service: AccountService) -> None:
    await service.register(EMAIL, PASSWORD, NAME)
    here, elsewhere = Caller(address="192.0.2.1"), Caller(address="192.0.2.2")
    for _ in range(100):
        with pytest.raises(errors.Unauthenticated):
            await service.change_password("1", old="wrongPassword", new="otherPassword", caller=here)
    with pytest.raises(errors.Exhausted):
        await service.change_password("1", old=PASSWORD, new="otherPassword", caller=here)
    changed = await service.change_password("1", old=PASSWORD, new="otherPassword", caller=elsewhere)
    assert changed.account.id == 1


async def test_of_two_changes_with_one_old_password_the_first_holds(service: AccountService) -> None:
    await service.register(EMAIL, PASSWORD, NAME)
    news = ("firstPassword", "secondPassword")
    results = await asyncio.gather(
        *(service.change_password("1", old=PASSWORD, new=new) for new in news), return_exceptions=True
    )
    held = [new for new, result in zip(news, results, strict=True) if isinstance(result, SignedIn)]
    assert [type(result) for result in results if isinstance(result, Exception)] == [errors.Unauthenticated]
    assert (await service.login(EMAIL, held[0])).account.id == 1


async def test_a_password_is_set_without_the_old_one(service: AccountService) -> None:
    token = (await service.register(EMAIL, PASSWORD, NAME)).token
    assert await service.set_password("", EMAIL, "otherPassword") == 1
    assert service.validate(token) is None
    assert (await service.login(EMAIL, "otherPassword")).account.id == 1
    await service.erase(1, nothing)
    for user_id, email, new, error in (
        ("1", "", "otherPassword", errors.NotFound),
        ("2", "", "otherPassword", errors.NotFound),
        ("", "", "otherPassword", errors.Invalid),
        ("1", "", "short", errors.Invalid),
    ):
        with pytest.raises(error):
            await service.set_password(user_id, email, new)


async def test_a_closed_registration_is_open_to_trusted_callers(closed_service: AccountService) -> None:
    for make in (
        closed_service.register(EMAIL, "", "", caller=Caller(address="192.0.2.1")),
        closed_service.create_user(EMAIL, "grpcuser", PASSWORD, caller=Caller(address="192.0.2.1")),
    ):
        with pytest.raises(errors.Forbidden):
            await make
    await closed_service.register(EMAIL, PASSWORD, NAME)
    await closed_service.create_user("grpc@example.com", "grpcuser", PASSWORD)
    assert (await closed_service.login(EMAIL, PASSWORD, caller=Caller(address="192.0.2.1"))).account.id == 1
