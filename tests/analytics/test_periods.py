"""Hours, days, weeks and months against the calendar of `datetime`, and covers of ranges."""

import datetime as dt
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from shortener.analytics.periods import (
    DAYS_DOWN,
    FOREVER,
    MONTHS_DOWN,
    Cover,
    Edge,
    Span,
    TimeRange,
    Whole,
    cover,
    months_around,
    sum_cover,
)
from tests.support.naive_clicks import NAMES, period_of

LAST_SECOND = 253_402_300_799  # 9999-12-31 23:59:59
YEAR_3000 = 32_503_680_000
times = st.integers(0, YEAR_3000)


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


def next_start(span: Span, start: int) -> int:
    return span.start(span.number(start) + 1)


@settings(deadline=None)
@given(st.integers(0, LAST_SECOND), st.sampled_from(Span))
@example(0, Span.WEEK)
@example(4 * 86_400 - 1, Span.WEEK)
@example(4 * 86_400, Span.WEEK)
@example(LAST_SECOND, Span.MONTH)
@example(0, Span.MONTH)
@example(at("2024-02-29 23:59:59"), Span.MONTH)
@example(at("2024-03-01"), Span.MONTH)
@example(at("2100-02-28 23:59:59"), Span.MONTH)
@example(at("2100-03-01"), Span.MONTH)
def test_periods_are_those_of_the_calendar(time: int, span: Span) -> None:
    assert span.floor(time) == period_of(time, NAMES[span])


@settings(deadline=None)
@given(st.integers(-FOREVER, FOREVER), st.sampled_from(Span))
def test_periods_follow_one_another_without_end(time: int, span: Span) -> None:
    index = span.number(time)
    start, end = span.start(index), span.start(index + 1)
    assert start <= time < end
    assert (span.floor(time), span.floor(start), span.floor(end)) == (start, start, end)
    assert (span.ceil(time), span.ceil(start), span.ceil(end)) == (start if time == start else end, start, end)


def test_a_week_starts_on_monday() -> None:
    assert Span.WEEK.floor(at("2026-03-01 23:59:59")) == at("2026-02-23")
    assert Span.WEEK.floor(at("2026-03-02")) == at("2026-03-02")
    assert Span.WEEK.floor(1) == at("1969-12-29")


def test_a_month_has_its_own_length() -> None:
    starts = [Span.MONTH.start(Span.MONTH.number(at("2023-12-31")) + number) for number in range(5)]
    assert starts == [at(f"{month}-01") for month in ("2023-12", "2024-01", "2024-02", "2024-03", "2024-04")]


def test_periods_of_the_longest_range_are_counted_at_once() -> None:
    assert len(TimeRange(1, FOREVER - 1).periods(Span.HOUR)) == (FOREVER - 2) // 3600 + 1
    assert len(TimeRange(5, 5).periods(Span.MONTH)) == 0


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
