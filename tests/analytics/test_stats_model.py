"""Ranges, periods and percentages."""

import datetime as dt
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shortener import errors
from shortener.analytics.model import Span
from shortener.analytics.periods import (
    DAYS_DOWN,
    MONTHS_DOWN,
    Cover,
    Edge,
    Whole,
    cover,
    months_around,
    next_start,
    sum_cover,
)
from shortener.analytics.stats import (
    FOREVER,
    CountryCount,
    Granularity,
    TimePoint,
    TimeRange,
    fill,
    parse_granularity,
    parse_places_limit,
    parse_range,
    rank_countries,
)
from tests.analytics.naive import period_of

YEAR_3000 = 32_503_680_000
times = st.integers(0, YEAR_3000)


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "granularity"),
    [("", Granularity.DAY), ("hour", Granularity.HOUR), ("day", Granularity.DAY), ("week", Granularity.WEEK)],
)
def test_granularity_is_named(text: str, granularity: Granularity) -> None:
    assert parse_granularity(text) is granularity


@pytest.mark.parametrize("text", ["month", "Day", " day", "days", "HOUR", "0", "day\n"])
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
@given(times, st.sampled_from(Granularity))
@example(0, Granularity.WEEK)
@example(4 * 86_400 - 1, Granularity.WEEK)
@example(4 * 86_400, Granularity.WEEK)
def test_periods_are_those_of_the_calendar(time: int, granularity: Granularity) -> None:
    assert granularity.floor(time) == period_of(time, granularity.value)


@settings(deadline=None)
@given(st.integers(-FOREVER, FOREVER), st.sampled_from(Granularity))
def test_ceil_is_the_next_start_or_the_time_itself(time: int, granularity: Granularity) -> None:
    ceiling = granularity.ceil(time)
    assert granularity.floor(ceiling) == ceiling
    assert time <= ceiling < time + granularity.seconds


def test_a_week_starts_on_monday() -> None:
    assert Granularity.WEEK.floor(at("2026-03-01 23:59:59")) == at("2026-02-23")
    assert Granularity.WEEK.floor(at("2026-03-02")) == at("2026-03-02")
    assert Granularity.WEEK.floor(1) == at("1969-12-29")


@settings(deadline=None)
@given(times, st.integers(0, 40 * 86_400), st.sampled_from(Granularity))
def test_fill_gives_every_period_once(start: int, length: int, granularity: Granularity) -> None:
    within = TimeRange(start, start + length)
    points = fill([], within, granularity)
    assert len(points) == within.points(granularity)
    assert [point.timestamp for point in points] == sorted(
        {granularity.floor(time) for time in (*range(start, start + length, 3600), start + length - 1)}
        if length
        else []
    )


def test_fill_keeps_what_is_known() -> None:
    known = [TimePoint(3600, 4, 2), TimePoint(10_800, 1, 1)]
    assert fill(known, TimeRange(10, 10_801), Granularity.HOUR) == [
        TimePoint(0, 0, 0),
        TimePoint(3600, 4, 2),
        TimePoint(7200, 0, 0),
        TimePoint(10_800, 1, 1),
    ]


def test_points_of_the_longest_range_are_counted_at_once() -> None:
    assert TimeRange(1, FOREVER - 1).points(Granularity.HOUR) == (FOREVER - 2) // 3600 + 1


def test_countries_are_ranked_by_clicks_then_by_name() -> None:
    names = {"AT": "Zedland", "DE": "Alphaland", "CH": "Betaland"}
    assert rank_countries({"AT": 2, "DE": 1, "CH": 1}, names, 4) == [
        CountryCount("AT", "Zedland", 2, 50.0),
        CountryCount("DE", "Alphaland", 1, 25.0),
        CountryCount("CH", "Betaland", 1, 25.0),
    ]


ranges = st.builds(lambda start, length: TimeRange(start, start + length), times, st.integers(0, 800 * 86_400))


@settings(deadline=None)
@given(ranges, st.sampled_from([MONTHS_DOWN, DAYS_DOWN]))
@example(TimeRange(at("2024-02-01"), at("2024-03-01")), MONTHS_DOWN)
@example(TimeRange(at("2023-12-31"), at("2024-01-02")), MONTHS_DOWN)
def test_a_cover_fills_its_range_without_overlap(within: TimeRange, spans: tuple[Span, ...]) -> None:
    found = cover(within, spans)
    stretches = sorted(
        [(whole.start, next_start(whole.span, whole.start)) for whole in found.wholes]
        + [(edge.start, edge.end) for edge in found.edges]
    )
    ends = [within.start, *(end for _, end in stretches)]
    assert [first for first, _ in stretches] == ends[:-1]
    assert ends[-1] == within.end
    assert {piece.sign for piece in (*found.wholes, *found.edges)} <= {1}
    assert len(found.edges) <= 2
    assert all(0 < edge.end - edge.start < 7200 for edge in found.edges)


@settings(deadline=None)
@given(ranges, st.sampled_from([MONTHS_DOWN, DAYS_DOWN]))
@example(TimeRange(at("2024-01-14"), at("2024-01-18")), MONTHS_DOWN)
@example(TimeRange(at("2024-01-31 10:20"), at("2024-01-31 10:40")), MONTHS_DOWN)
def test_a_sum_cover_counts_each_moment_once(within: TimeRange, spans: tuple[Span, ...]) -> None:
    found = sum_cover(within, spans)
    steps: Counter[int] = Counter()
    for whole in found.wholes:
        steps[whole.start] += whole.sign
        steps[next_start(whole.span, whole.start)] -= whole.sign
    for edge in found.edges:
        assert 0 < edge.end - edge.start < 7200
        steps[edge.start] += edge.sign
        steps[edge.end] -= edge.sign
    assert {time: step for time, step in steps.items() if step} == (
        {} if within.is_empty else {within.start: 1, within.end: -1}
    )
    assert len(found.wholes) <= len(cover(within, spans).wholes)


@settings(deadline=None)
@given(ranges)
def test_a_sum_cover_is_small(within: TimeRange) -> None:
    # 27 months, at each end half a month of days and half a day of hours.
    assert len(sum_cover(within, MONTHS_DOWN).wholes) <= 27 + 2 * (16 + 12)


def test_a_cover_takes_the_longest_periods() -> None:
    assert cover(TimeRange(at("2024-01-30 22:59:58"), at("2024-03-01 01:00:00")), MONTHS_DOWN) == Cover(
        wholes=[
            Whole(Span.HOUR, at("2024-01-30 23:00")),
            Whole(Span.DAY, at("2024-01-31")),
            Whole(Span.MONTH, at("2024-02-01")),
            Whole(Span.HOUR, at("2024-03-01")),
        ],
        edges=[Edge(at("2024-01-30 22:59:58"), at("2024-01-30 23:00"))],
    )


def test_a_sum_cover_takes_away_where_that_is_shorter() -> None:
    assert sum_cover(TimeRange(at("2024-01-02 00:00:05"), at("2024-02-28 23:00:00")), MONTHS_DOWN) == Cover(
        wholes=[
            Whole(Span.MONTH, at("2024-01-01")),
            Whole(Span.MONTH, at("2024-02-01")),
            Whole(Span.DAY, at("2024-02-29"), -1),
            Whole(Span.HOUR, at("2024-02-28 23:00"), -1),
            Whole(Span.DAY, at("2024-01-01"), -1),
        ],
        edges=[Edge(at("2024-01-02"), at("2024-01-02 00:00:05"), -1)],
    )


def test_an_empty_range_needs_nothing() -> None:
    assert cover(TimeRange(5, 5), MONTHS_DOWN) == Cover([], [])
    assert sum_cover(TimeRange(5, 5), MONTHS_DOWN) == Cover([], [])


def test_months_around_a_range() -> None:
    assert months_around(TimeRange(at("2024-02-29"), at("2024-12-01"))) == TimeRange(at("2024-02-01"), at("2024-12-01"))
    assert months_around(TimeRange(1, 2)) == TimeRange(0, at("1970-02-01"))
