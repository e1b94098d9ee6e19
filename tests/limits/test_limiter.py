"""The limiter against a naive token bucket, and what it promises in itself."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener import errors
from shortener.limits import Limiter, Rate, Take, check_all, take_all
from tests.support.fakes import FakeTimer

MINUTE = 60_000_000_000
RATES = st.builds(Rate, st.integers(1, 100_000), st.integers(1, 50))
PAUSES = st.one_of(st.just(0), st.integers(0, 10**6), st.integers(0, 10**11))
COSTS = st.integers(1, 60)


class Bucket:
    """Tokens as exact fractions, one in each interval; filled up to the burst, and below zero where tokens are owed."""

    def __init__(self, rate: Rate) -> None:
        self.burst = rate.burst
        self.tokens = Fraction(rate.burst)
        self.interval = -(-MINUTE // rate.per_minute)

    def pass_time(self, nanoseconds: int) -> None:
        self.tokens = min(Fraction(self.burst), self.tokens + Fraction(nanoseconds, self.interval))

    def wait(self, cost: int) -> int:
        return max(0, int((min(cost, self.burst) - self.tokens) * self.interval))

    def take(self, cost: int) -> None:
        self.tokens -= min(cost, self.burst)


@given(RATES, st.lists(st.tuples(PAUSES, COSTS, st.booleans()), max_size=30))
def test_it_is_a_token_bucket(rate: Rate, steps: list[tuple[int, int, bool]]) -> None:
    timer, bucket = FakeTimer(), Bucket(rate)
    limiter = Limiter(rate, keys_max=1, timer=timer)
    for pause, cost, is_forced in steps:
        timer.now += pause
        bucket.pass_time(pause)
        wait = limiter.wait("key", cost)
        assert wait == bucket.wait(cost)
        if is_forced or not wait:
            limiter.take("key", cost)
            bucket.take(cost)


@given(RATES, st.lists(st.tuples(PAUSES, COSTS), min_size=1, max_size=30))
def test_no_span_of_time_sees_more_than_its_share(rate: Rate, steps: list[tuple[int, int]]) -> None:
    timer = FakeTimer()
    limiter = Limiter(rate, keys_max=10, timer=timer)
    taken: list[tuple[int, int]] = []
    for pause, cost in steps:
        timer.now += pause
        if not limiter.wait("key", cost):
            limiter.take("key", cost)
            taken.append((timer.now, min(cost, rate.burst)))
    for first, (start, _) in enumerate(taken):
        total = 0
        for end, cost in taken[first:]:
            total += cost
            assert total <= rate.burst + Fraction(rate.per_minute * (end - start), MINUTE)


@given(RATES, st.integers(1, 200), COSTS)
def test_the_wait_is_exact(rate: Rate, before: int, cost: int) -> None:
    timer = FakeTimer()
    limiter = Limiter(rate, keys_max=10, timer=timer)
    for _ in range(before):
        limiter.take("key")
    wait = limiter.wait("key", cost)
    if wait:
        timer.now += wait - 1
        assert limiter.wait("key", cost) == 1
        timer.now += 1
    assert limiter.wait("key", cost) == 0


@given(RATES, st.integers(1, 100))
def test_retry_after_is_the_first_whole_second_that_succeeds(rate: Rate, calls: int) -> None:
    timer = FakeTimer()
    limiter = Limiter(rate, keys_max=10, timer=timer)
    start = timer.now
    for _ in range(calls):
        try:
            take_all([Take(limiter, "key")], "slow down")
        except errors.Exhausted as refusal:
            seconds = refusal.retry_after_seconds
            timer.now = start + (seconds - 1) * 10**9
            if seconds > 1:
                with pytest.raises(errors.Exhausted):
                    check_all([Take(limiter, "key")], "slow down")
            timer.now = start + seconds * 10**9
            start = timer.now
            take_all([Take(limiter, "key")], "slow down")


@given(RATES, st.lists(st.tuples(PAUSES, st.integers(-(10**12), 10**12)), max_size=40))
def test_a_timer_that_goes_backwards_stands_still(rate: Rate, steps: list[tuple[int, int]]) -> None:
    """Whatever it does, it gains nobody more than the furthest time it has shown."""
    timer = FakeTimer()
    limiter = Limiter(rate, keys_max=10, timer=timer)
    first = furthest = timer.now
    taken = 0
    for pause, jump in steps:
        timer.now += pause + jump
        furthest = max(furthest, timer.now)
        if not limiter.wait("key"):
            limiter.take("key")
            taken += 1
    assert taken <= rate.burst + Fraction(rate.per_minute * (furthest - first), MINUTE)


def test_a_timer_that_goes_backwards_makes_nobody_wait_longer() -> None:
    timer = FakeTimer()
    limiter = Limiter(Rate(60, 1), keys_max=10, timer=timer)
    limiter.take("key")
    assert limiter.wait("key") == 10**9
    timer.tick(-3600)
    assert limiter.wait("key") == 10**9
    limiter.take("other")
    timer.tick(3601)
    assert [limiter.wait(key) for key in ("key", "other")] == [0, 0]


def test_what_was_given_back_can_be_taken_again() -> None:
    timer = FakeTimer()
    limiter = Limiter(Rate(1, 3), keys_max=10, timer=timer)
    for _ in range(3):
        limiter.take("key")
    assert limiter.wait("key") == MINUTE
    limiter.give_back("key", 2)
    assert (limiter.wait("key", 2), limiter.wait("key", 3)) == (0, MINUTE)
    limiter.give_back("key")
    assert len(limiter) == 0
    limiter.give_back("key")
    limiter.take("key", 3)
    limiter.forget("key")
    limiter.forget("key")
    assert limiter.wait("key", 3) == 0


def test_nothing_is_limited_at_rate_zero() -> None:
    limiter = Limiter(Rate(0, 1), keys_max=10, timer=FakeTimer())
    for _ in range(1000):
        take_all([Take(limiter, "key", 5)], "slow down")
    assert (len(limiter), limiter.refused) == (0, 0)


@pytest.mark.parametrize(("per_minute", "burst"), [(-1, 1), (1, 0)])
def test_a_rate_that_is_none_is_refused(per_minute: int, burst: int) -> None:
    with pytest.raises(ValueError, match="per_minute must be 0 or more"):
        Rate(per_minute, burst)


def test_all_or_nothing_is_taken_and_the_longest_wait_told() -> None:
    timer = FakeTimer()
    slow, fast = (Limiter(Rate(rate, 1), keys_max=10, timer=timer) for rate in (1, 60))
    takes = [Take(fast, "a"), Take(slow, "b")]
    take_all(takes, "slow down")
    with pytest.raises(errors.Exhausted, match="slow down") as refusal:
        take_all(takes, "slow down")
    assert (refusal.value.retry_after_seconds, refusal.value.overload) == (60, False)
    assert (slow.refused, fast.refused) == (1, 0)
    timer.tick(30)
    with pytest.raises(errors.Exhausted):
        take_all(takes, "slow down")
    assert fast.wait("a") == 0
    timer.tick(30)
    take_all(takes, "slow down")


def test_the_lately_taken_are_remembered_longest() -> None:
    limiter = Limiter(Rate(1, 1), keys_max=3, timer=FakeTimer())
    for key in ("a", "b", "c", "a", "d"):
        limiter.take(key)
    assert [key for key in "abcd" if limiter.wait(key)] == ["a", "c", "d"]
    assert len(limiter) == 3
