"""Roll-ups against the naive way, with the calendar of `datetime`."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.analytics.model import Click, Device, Dimension, Span
from shortener.analytics.rollup import HourCounts, LinkHour, Period, period_start, roll_up, visitors_by_period
from tests.analytics.builders import NOW, a_click, a_ref, a_visitor

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


def naive_start(span: Span, at: int) -> int:
    moment = datetime.fromtimestamp(at, UTC).replace(minute=0, second=0)
    if span is not Span.HOUR:
        moment = moment.replace(hour=0)
    return int((moment.replace(day=1) if span is Span.MONTH else moment).timestamp())


@given(st.sampled_from(Span), st.integers(0, LAST_SECOND))
def test_periods_start_where_the_calendar_says(span: Span, at: int) -> None:
    assert period_start(span, at) == naive_start(span, at)


@pytest.mark.parametrize(
    ("span", "moment", "expected"),
    [
        (Span.MONTH, "2024-02-29T23:59:59", "2024-02-01T00:00:00"),
        (Span.MONTH, "2024-03-01T00:00:00", "2024-03-01T00:00:00"),
        (Span.MONTH, "9999-12-31T23:59:59", "9999-12-01T00:00:00"),
        (Span.DAY, "2023-12-31T23:59:59", "2023-12-31T00:00:00"),
        (Span.HOUR, "1970-01-01T00:59:59", "1970-01-01T00:00:00"),
    ],
)
def test_periods_begin_at_their_very_first_second(span: Span, moment: str, expected: str) -> None:
    def seconds(text: str) -> int:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())

    assert period_start(span, seconds(moment)) == seconds(expected)


@given(st.lists(clicks, max_size=40))
def test_hours_hold_every_click_once_in_each_dimension(batch: list[Click]) -> None:
    expected: Counter[tuple[int, int, Dimension, str]] = Counter()
    for click in batch:
        hour = (click.ref.id, naive_start(Span.HOUR, click.at))
        expected[(*hour, Dimension.DEVICE, click.device)] += 1
        expected[(*hour, Dimension.COUNTRY, click.country)] += 1
        expected[(*hour, Dimension.REFERRER, click.referrer)] += 1
        if click.city:
            expected[(*hour, Dimension.CITY, f"{click.country}|{click.city}")] += 1

    hours = roll_up(batch)

    assert {(*hour, *key): count for hour, counts in hours.items() for key, count in counts.clicks.items()} == expected
    assert list(hours) == sorted(hours)


@given(st.lists(clicks, max_size=40))
def test_visitors_belong_to_their_hour_day_and_month(batch: list[Click]) -> None:
    expected: dict[Period, set[bytes]] = {}
    for click in batch:
        for span in Span:
            if click.visitor:
                period = Period(click.ref.id, span, naive_start(span, click.at))
                expected.setdefault(period, set()).add(click.visitor)

    found = list(visitors_by_period(roll_up(batch)))

    assert dict(found) == expected
    assert len(found) == len(expected)


def test_one_click_as_a_whole() -> None:
    click = a_click(7, at=NOW + 5, country="DE", city="Berlin", visitor=a_visitor(3))

    assert roll_up([click]) == {
        LinkHour(7, NOW): HourCounts(
            {
                (Dimension.DEVICE, "desktop"): 1,
                (Dimension.COUNTRY, "DE"): 1,
                (Dimension.REFERRER, "direct"): 1,
                (Dimension.CITY, "DE|Berlin"): 1,
            },
            {a_visitor(3)},
        )
    }


def test_no_clicks_roll_up_to_nothing() -> None:
    assert roll_up([]) == {}
