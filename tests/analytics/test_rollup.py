"""Roll-ups against the naive way, with the calendar of `datetime`."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shortener.analytics.model import Click, Device, Dimension
from shortener.analytics.periods import ROLLED_UP
from shortener.analytics.rollup import (
    LinkHour,
    Period,
    RollUp,
    Slot,
    chosen_values,
    roll_up,
    visitors_by_period,
    without,
)
from tests.support.click_builders import NOW, a_click, a_ref, a_visitor
from tests.support.naive_clicks import NAMES, period_of

LAST_SECOND = 253_402_300_799  # 9999-12-31 23:59:59

clicks = st.builds(
    Click,
    ref=st.integers(1, 3).map(a_ref),
    at=st.one_of(st.integers(NOW, NOW + 200_000), st.integers(0, LAST_SECOND)),
    visitor=st.one_of(st.just(b""), st.integers(0, 4).map(a_visitor)),
    country=st.sampled_from(["DE", "FR", "ZZ"]),
    city=st.sampled_from(["", "Berlin", "Pipe|Town"]),
    referrer=st.sampled_from(["direct", "https://news.example"]),
    device=st.sampled_from(Device),
    bot=st.booleans(),
)


@given(st.lists(clicks, max_size=40))
def test_hours_hold_every_click_once_in_each_dimension(batch: list[Click]) -> None:
    expected: Counter[tuple[Slot, str]] = Counter()
    for click in batch:
        hour = (click.ref.id, period_of(click.at, "hour"))
        expected[Slot(*hour, Dimension.DEVICE), click.device] += 1
        expected[Slot(*hour, Dimension.COUNTRY), click.country] += 1
        expected[Slot(*hour, Dimension.REFERRER), click.referrer] += 1
        if click.city:
            expected[Slot(*hour, Dimension.CITY), f"{click.country}|{click.city}"] += 1

    assert roll_up(batch).clicks == expected


@given(st.lists(clicks, max_size=40))
def test_visitors_belong_to_their_hour_day_and_month(batch: list[Click]) -> None:
    expected: dict[Period, set[bytes]] = {}
    for click in batch:
        for span in ROLLED_UP:
            if click.visitor:
                period = Period(click.ref.id, span, period_of(click.at, NAMES[span]))
                expected.setdefault(period, set()).add(click.visitor)

    found = list(visitors_by_period(roll_up(batch).visitors))

    assert dict(found) == expected
    assert len(found) == len(expected)


def test_one_click_as_a_whole() -> None:
    click = a_click(7, at=NOW + 5, country="DE", city="Berlin", visitor=a_visitor(3))

    assert roll_up([click]) == RollUp(
        Counter(
            {
                (Slot(7, NOW, Dimension.DEVICE), "desktop"): 1,
                (Slot(7, NOW, Dimension.COUNTRY), "DE"): 1,
                (Slot(7, NOW, Dimension.REFERRER), "direct"): 1,
                (Slot(7, NOW, Dimension.CITY), "DE|Berlin"): 1,
            }
        ),
        {LinkHour(7, NOW): {a_visitor(3)}},
    )


def test_no_clicks_roll_up_to_nothing() -> None:
    assert roll_up([]) == RollUp()


def test_what_visitors_choose_is_told_in_the_order_it_came() -> None:
    batch = [
        a_click(referrer="https://b.example", city="Bonn"),
        a_click(referrer="https://a.example", city="Bonn", country="US"),
        a_click(referrer="https://b.example"),
        a_click(referrer="direct", city="other"),
        a_click(at=NOW + 3600, referrer="other", city="Bonn"),
    ]

    assert {slot: list(values) for slot, values in chosen_values(batch).items()} == {
        Slot(1, NOW, Dimension.REFERRER): ["https://b.example", "https://a.example"],
        Slot(1, NOW, Dimension.CITY): ["DE|Bonn", "US|Bonn"],
        Slot(1, NOW + 3600, Dimension.CITY): ["DE|Bonn"],
    }


def test_crowded_values_become_other_in_their_hour_alone() -> None:
    crowded = {
        Slot(1, NOW, Dimension.REFERRER): {"https://b.example"},
        Slot(1, NOW, Dimension.CITY): {"DE|Bonn"},
    }
    click = a_click(referrer="https://b.example", city="Bonn")

    assert without(click, crowded) == a_click(referrer="other", city="other")
    for spared in (
        a_click(at=NOW + 3600, referrer="https://b.example", city="Bonn"),
        a_click(2, referrer="https://b.example", city="Bonn"),
        a_click(referrer="https://a.example", city="Bonn", country="US"),
        a_click(),
    ):
        assert without(spared, crowded) == spared
