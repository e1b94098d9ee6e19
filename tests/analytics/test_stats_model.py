"""What may be asked, rankings and percentages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener import errors
from shortener.analytics.periods import FOREVER, Span, TimeRange
from shortener.analytics.stats import (
    CountryCount,
    ReferrerCount,
    TimePoint,
    fill,
    parse_granularity,
    parse_places_limit,
    parse_range,
    rank_countries,
    rank_referrers,
)

YEAR_3000 = 32_503_680_000
times = st.integers(0, YEAR_3000)


@pytest.mark.parametrize(
    ("text", "span"),
    [("", Span.DAY), ("hour", Span.HOUR), ("day", Span.DAY), ("week", Span.WEEK), ("month", Span.MONTH)],
)
def test_granularity_is_named(text: str, span: Span) -> None:
    assert parse_granularity(text) is span


@pytest.mark.parametrize("text", ["months", "Day", "h", "year", " day", "days", "HOUR", "0", "day\n"])
def test_other_granularities_are_invalid(text: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        parse_granularity(text)
    assert caught.value.field == "granularity"


@pytest.mark.parametrize(
    ("start", "end", "within"),
    [
        (0, 0, TimeRange(0, FOREVER)),
        (5, 0, TimeRange(5, FOREVER)),
        (0, 5, TimeRange(0, 5)),
        (5, 5, TimeRange(5, 5)),
        (5, 6, TimeRange(5, 6)),
        (FOREVER - 1, FOREVER - 1, TimeRange(FOREVER - 1, FOREVER - 1)),
    ],
)
def test_zero_is_unbounded(start: int, end: int, within: TimeRange) -> None:
    assert parse_range(start, end) == within


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        (-1, 0, "start_time"),
        (0, -1, "end_time"),
        (6, 5, "start_time"),
        (-FOREVER, FOREVER - 1, "start_time"),
        (FOREVER, 0, "start_time"),
        (0, FOREVER, "end_time"),
    ],
)
def test_bad_ranges_name_their_field(start: int, end: int, field: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        parse_range(start, end)
    assert caught.value.field == field


@pytest.mark.parametrize(("limit", "places"), [(0, 10), (1, 1), (1000, 1000)])
def test_places_limit(limit: int, places: int) -> None:
    assert parse_places_limit(limit) == places


@pytest.mark.parametrize("limit", [-1, 1001, -(2**31), 2**31 - 1])
def test_other_places_limits_are_invalid(limit: int) -> None:
    with pytest.raises(errors.Invalid) as caught:
        parse_places_limit(limit)
    assert caught.value.field == "limit"


@settings(deadline=None)
@given(times, st.integers(0, 40 * 86_400), st.sampled_from(Span))
def test_fill_gives_every_period_once(start: int, length: int, span: Span) -> None:
    within = TimeRange(start, start + length)
    points = fill([], within, span)
    assert len(points) == len(within.periods(span))
    assert [point.timestamp for point in points] == sorted(
        {span.floor(time) for time in (*range(start, start + length, 3600), start + length - 1)} if length else []
    )


def test_fill_keeps_what_is_known() -> None:
    known = [TimePoint(3600, 4, 2), TimePoint(10_800, 1, 1)]
    assert fill(known, TimeRange(10, 10_801), Span.HOUR) == [
        TimePoint(0, 0, 0),
        TimePoint(3600, 4, 2),
        TimePoint(7200, 0, 0),
        TimePoint(10_800, 1, 1),
    ]


def test_countries_are_ranked_by_clicks_then_by_name() -> None:
    names = {"AT": "Zedland", "DE": "Alphaland", "CH": "Betaland"}
    assert rank_countries({"AT": 2, "DE": 1, "CH": 1}, names, 4) == [
        CountryCount("AT", "Zedland", 2, 50.0),
        CountryCount("DE", "Alphaland", 1, 25.0),
        CountryCount("CH", "Betaland", 1, 25.0),
    ]


def test_referrers_are_ranked_and_what_is_not_named_is_other() -> None:
    assert rank_referrers({"https://b.example": 2, "https://a.example": 2, "direct": 3}, 10) == [
        ReferrerCount("direct", 3, 30.0),
        ReferrerCount("https://a.example", 2, 20.0),
        ReferrerCount("https://b.example", 2, 20.0),
        ReferrerCount("other", 3, 30.0),
    ]
    assert rank_referrers({"direct": 3}, 3) == [ReferrerCount("direct", 3, 100.0)]
    assert rank_referrers({}, 0) == []
