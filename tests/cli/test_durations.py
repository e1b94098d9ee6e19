"""Life spans and dates as people type them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.cli.durations import parse_moment

NOW = 1_800_000_000
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@given(st.integers(0, 999_999_999), st.sampled_from(sorted(UNITS)), st.integers(0, 1 << 40))
def test_a_span_counts_from_now(count: int, unit: str, now: int) -> None:
    assert parse_moment(f"{count}{unit}", now) == now + count * UNITS[unit]


@given(st.datetimes())
def test_a_time_without_a_zone_is_utc(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert parse_moment(moment.isoformat(), NOW) == moment.replace(tzinfo=UTC).timestamp()


@given(st.dates())
def test_a_date_is_its_first_second(day: datetime) -> None:
    assert parse_moment(day.isoformat(), NOW) == datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)),  # noqa: DTZ001 - the zone comes with the offset
    st.integers(-14 * 60, 14 * 60),
)
def test_a_time_with_an_offset_means_that_moment(moment: datetime, minutes: int) -> None:
    local = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    assert parse_moment(local.isoformat(), NOW) == local.timestamp()


@given(st.text(max_size=20))
def test_any_other_text_is_a_value_error_of_one_line(text: str) -> None:
    complaint = ""
    try:
        assert isinstance(parse_moment(text, NOW), int)
    except ValueError as error:
        complaint = str(error)
    assert complaint.isprintable()


@pytest.mark.parametrize(
    "text",
    ["", "7", "d", "-7d", "7 d", "7D", "1.5h", "7d\n", "\u0667d", "1000000000s", "2030-13-01", "tomorrow", "0x7d"],
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a span like 7d nor a date like 2030-12-31"):
        parse_moment(text, NOW)
