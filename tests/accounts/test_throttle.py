"""The login throttle: attackers are slowed down, owners are not, and nobody learns who exists."""

import asyncio
from collections.abc import Callable

import pytest

from shortener import errors
from shortener.accounts.service import AccountService
from shortener.accounts.throttle import LoginThrottle
from shortener.caller import TRUSTED, Caller
from shortener.clock import Clock
from shortener.config.sections import Limits
from tests.accounts.fakes import FakePasswords, FakeTokens, MemoryAccountStore, a_throttle
from tests.support.fakes import FakeClock, FakeTimer, FakeTransactions

OWNER, PASSWORD, WRONG = "owner@example.com", "securePassword123", "a wrong one"
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


class Throttled:
    """Accounts behind a throttle, and a shorthand for what a login comes to."""

    def __init__(self, throttle: LoginThrottle, timer: FakeTimer, clock: Clock) -> None:
        self.timer = timer
        self.throttle = throttle
        self.passwords = FakePasswords()
        self.service = AccountService(
            MemoryAccountStore(),
            FakeTransactions(),
            passwords=self.passwords,
            tokens=FakeTokens(clock),
            throttle=throttle,
            clock=clock,
        )

    async def login(self, password: str = PASSWORD, address: str = HOME, email: str = OWNER) -> str | int:
        """Return "in", "wrong", or the seconds to wait."""
        try:
            await self.service.login(email, password, caller=Caller(address=address) if address else TRUSTED)
        except errors.Unauthenticated as error:
            assert error.message == "invalid email or password"  # noqa: PT017 - it is one of three outcomes
            return "wrong"
        except errors.Exhausted as error:
            return error.retry_after_seconds
        return "in"


@pytest.fixture
async def throttled(clock: FakeClock) -> Throttled:
    timer = FakeTimer()
    made = Throttled(a_throttle(timer), timer, clock)
    await made.service.register(OWNER, PASSWORD, "Owner")
    return made


async def test_guessing_one_account_from_one_address_becomes_one_guess_a_minute(throttled: Throttled) -> None:
    outcomes = [await throttled.login(WRONG, ELSEWHERE) for _ in range(102)]
    assert outcomes == ["wrong"] * 100 + [60, 60]
    assert len(throttled.passwords.verified) == 100  # what is refused is not looked at
    assert await throttled.login(PASSWORD, ELSEWHERE) == 60
    throttled.timer.tick(59.9)
    assert await throttled.login(WRONG, ELSEWHERE) == 1
    throttled.timer.tick(0.1)
    assert await throttled.login(PASSWORD, ELSEWHERE) == "in"


async def test_an_owner_gets_in_at_once_whatever_is_done_from_hundreds_of_addresses(throttled: Throttled) -> None:
    guesses = 0
    for number in range(300):
        address = f"10.0.{number >> 8}.{number & 255}"
        while await throttled.login(WRONG, address) == "wrong":
            guesses += 1
        if number % 10 == 0:
            assert await throttled.login(PASSWORD, f"203.0.113.{number // 10}") == "in"  # the owner travels
    assert guesses == 2 * 100 + 298 * 10
    assert await throttled.login(PASSWORD, HOME) == "in"


async def test_the_brake_is_off_a_minute_after_the_attack(throttled: Throttled) -> None:
    for number in range(300):
        await throttled.login(WRONG, f"10.0.{number >> 8}.{number & 255}")
    throttled.timer.tick(60)
    outcomes = [await throttled.login(WRONG, ELSEWHERE) for _ in range(12)]
    # The first costs one; with it the account's own minute is used up, and each further one costs ten.
    assert outcomes == ["wrong"] * 10 + [60, 60]
    throttled.timer.tick(200 * 60)
    assert [await throttled.login(WRONG, ELSEWHERE) for _ in range(101)] == ["wrong"] * 100 + [60]


async def test_a_known_address_minds_neither_the_brake_nor_its_neighbours(throttled: Throttled) -> None:
    assert await throttled.login(PASSWORD, HOME) == "in"
    for number in range(400):
        outcome = await throttled.login(WRONG, HOME, f"neighbour{number}@example.com")
        assert outcome == ("wrong" if number < 300 else 1)
    for number in range(200):
        await throttled.login(WRONG, f"10.0.0.{number}")
    assert await throttled.login(PASSWORD, HOME) == "in"
    assert [await throttled.login(WRONG, HOME) for _ in range(99)] == ["wrong"] * 99
    assert await throttled.login(PASSWORD, HOME) == "in"  # and forgets what went wrong
    assert [await throttled.login(WRONG, HOME) for _ in range(101)] == ["wrong"] * 100 + [60]


async def test_trying_many_accounts_from_one_address_is_slowed_down(throttled: Throttled) -> None:
    outcomes = [await throttled.login(WRONG, ELSEWHERE, f"user{number}@example.com") for number in range(302)]
    assert outcomes == ["wrong"] * 300 + [1, 1]
    throttled.timer.tick(10)
    outcomes = [await throttled.login(WRONG, ELSEWHERE, f"more{number}@example.com") for number in range(12)]
    assert outcomes == ["wrong"] * 10 + [1, 1]


async def test_attempts_are_limited_by_address_right_or_wrong(clock: FakeClock) -> None:
    timer = FakeTimer()
    limits = Limits(
        logins_per_minute=60, logins_burst=3, address_login_failures_per_minute=0, login_failures_per_minute=0
    )
    made = Throttled(LoginThrottle(limits, timer), timer, clock)
    await made.service.register(OWNER, PASSWORD, "Owner")
    assert [await made.login(WRONG) for _ in range(4)] == ["wrong"] * 3 + [1]
    timer.tick(1)
    assert [await made.login() for _ in range(5)] == ["in"] * 4 + [1]  # known from the first success on


@pytest.mark.parametrize("attack", [lambda number: HOME, lambda number: f"10.0.{number >> 8}.{number & 255}"])
@pytest.mark.parametrize("nobody", ["nobody@example.com", "no address at all", "x" * 70_000, "\ud800"])
async def test_accounts_that_do_not_exist_are_throttled_exactly_alike(
    clock: FakeClock, attack: Callable[[int], str], nobody: str
) -> None:
    outcomes = {}
    for email in (OWNER, nobody):
        timer = FakeTimer()
        made = Throttled(a_throttle(timer), timer, clock)
        await made.service.register(OWNER, PASSWORD, "Owner")
        first = [await made.login(WRONG, attack(number), email) for number in range(250)]
        outcomes[email] = first + [await made.login(WRONG, ELSEWHERE, email) for _ in range(120)]
    assert outcomes[OWNER] == outcomes[nobody]
    assert outcomes[OWNER][-1] != "wrong"


async def test_spellings_of_one_account_share_its_limit(throttled: Throttled) -> None:
    spellings = [OWNER, OWNER.upper(), "Owner@EXAMPLE.com"]
    outcomes = [await throttled.login(WRONG, ELSEWHERE, spellings[number % 3]) for number in range(101)]
    assert outcomes == ["wrong"] * 100 + [60]


async def test_many_at_once_gain_nothing(throttled: Throttled) -> None:
    looking = asyncio.Event()

    async def verify(password_hash: str | None, password: str) -> bool:
        await looking.wait()
        return False

    throttled.passwords.verify = verify  # type: ignore[method-assign] # holds all logins at the same place
    running = [asyncio.create_task(throttled.login(WRONG, ELSEWHERE)) for _ in range(150)]
    await asyncio.sleep(0)
    looking.set()
    outcomes = await asyncio.gather(*running)
    assert (outcomes.count("wrong"), outcomes.count(60)) == (100, 50)


async def test_what_was_not_looked_at_has_not_failed(throttled: Throttled) -> None:
    async def busy(password_hash: str | None, password: str) -> bool:
        raise errors.Exhausted("too many passwords are being checked", overload=True)

    async def forever(password_hash: str | None, password: str) -> bool:
        await asyncio.Event().wait()
        return False

    right = throttled.passwords.verify
    throttled.passwords.verify = busy  # type: ignore[method-assign] # the queue is full
    assert [await throttled.login(PASSWORD, ELSEWHERE) for _ in range(200)] == [1] * 200
    throttled.passwords.verify = forever  # type: ignore[method-assign] # the caller goes away
    for _ in range(200):
        running = asyncio.create_task(throttled.login(PASSWORD, ELSEWHERE))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    throttled.passwords.verify = right  # type: ignore[method-assign] # all is well again
    assert [await throttled.login(WRONG, ELSEWHERE) for _ in range(101)] == ["wrong"] * 100 + [60]


async def test_trusted_callers_are_never_limited(throttled: Throttled) -> None:
    assert [await throttled.login(WRONG, "") for _ in range(500)] == ["wrong"] * 500
    assert await throttled.login(PASSWORD, "") == "in"
    assert [len(limiter) for limiter in throttled.throttle.limiters.values()] == [0, 0, 0]


async def test_memory_is_bounded(clock: FakeClock) -> None:
    timer = FakeTimer()
    made = Throttled(a_throttle(timer, keys_max=20), timer, clock)
    await made.service.register(OWNER, PASSWORD, "Owner")
    for number in range(200):
        await made.login(WRONG, f"10.0.0.{number}", f"{number}@example.com")
        await made.login(PASSWORD, f"10.0.1.{number}")
    assert [len(limiter) for limiter in made.throttle.limiters.values()] == [20, 19, 19]  # a success gives back
    assert len(made.throttle._known) == 20
    assert len(made.throttle._account_failures) == 20
