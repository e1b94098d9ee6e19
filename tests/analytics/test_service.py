"""The use cases of analytics, on memory stores."""

import hashlib

import pytest

from shortener import errors
from shortener.analytics.model import Click, Device
from shortener.analytics.stats import (
    CityCount,
    CountryCount,
    DeviceCounts,
    GeoStats,
    ReferrerCount,
    Stats,
    TimePoint,
)
from shortener.links import LinkRef
from tests.support.analytics_services import Analytics
from tests.support.click_builders import NOW, a_click
from tests.support.naive_clicks import period_of

DAY = 86_400
TODAY = NOW - 8 * 3600
INT64_MAX = (1 << 63) - 1
SINCE = 1_577_836_800  # 2020-01-01


@pytest.fixture
def analytics() -> Analytics:
    return Analytics()


async def test_a_click_is_recorded_with_its_link(analytics: Analytics) -> None:
    assert (
        await analytics.click(at=NOW - 5, address="192.0.2.1", user_agent="DE/Bonn", referrer="https://a.example") == 1
    )
    assert analytics.clicks.clicks == [
        Click(
            ref=LinkRef(1, "abc1234"),
            at=NOW - 5,
            visitor=hashlib.md5(b"192.0.2.1").digest(),
            country="DE",
            city="Bonn",
            referrer="https://a.example",
            device=Device.MOBILE,
            bot=False,
        )
    ]
    assert analytics.links.stored["abc1234"].counts.clicks == 1


async def test_click_ids_differ(analytics: Analytics) -> None:
    assert [await analytics.click(), await analytics.click()] == [1, 2]


@pytest.mark.parametrize(("given", "recorded"), [(0, NOW), (SINCE, SINCE), (NOW - 1, NOW - 1), (NOW + DAY, NOW + DAY)])
async def test_click_times(analytics: Analytics, given: int, recorded: int) -> None:
    await analytics.click(at=given)
    assert [click.at for click in analytics.clicks.clicks] == [recorded]


@pytest.mark.parametrize("at", [-1, 1, 60, SINCE - 1, NOW * 1000, NOW + DAY + 1, INT64_MAX, -INT64_MAX - 1])
async def test_bad_click_times_are_invalid(analytics: Analytics, at: int) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await analytics.click(at=at)
    assert caught.value.field == "timestamp"
    assert analytics.clicks.clicks == []


async def test_a_bad_address_is_invalid(analytics: Analytics) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await analytics.click(address="nonsense")
    assert caught.value.field == "ip_address"
    assert analytics.links.stored["abc1234"].counts.clicks == 0


async def test_a_bot_is_recorded_but_need_not_count() -> None:
    analytics = Analytics(count_bots=False)
    assert await analytics.click(user_agent="bot") == 1
    assert analytics.links.stored["abc1234"].counts.clicks == 0
    assert (await analytics.service.stats("abc1234", 0, 0)).total_clicks == 0


async def test_a_failed_append_counts_nothing(analytics: Analytics, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> list[int]:
        raise errors.Unavailable("busy")

    monkeypatch.setattr(analytics.clicks, "append", refuse)
    with pytest.raises(errors.Unavailable):
        await analytics.click()
    assert analytics.links.stored["abc1234"].counts.clicks == 0


CALLS = ("record", "stats", "time_series", "geo_stats")


async def call(analytics: Analytics, name: str, short_code: str, owner_id: str | None = None) -> object:
    if name == "record":
        return await analytics.service.record(short_code, address="", user_agent="", referrer="", at=0)
    if name == "geo_stats":
        return await analytics.service.geo_stats(short_code, 0, owner_id=owner_id)
    if name == "stats":
        return await analytics.service.stats(short_code, 0, 0, owner_id=owner_id)
    return await analytics.service.time_series(short_code, 0, 0, "", owner_id=owner_id)


@pytest.mark.parametrize("name", CALLS)
async def test_an_unknown_code_is_not_found(analytics: Analytics, name: str) -> None:
    with pytest.raises(errors.NotFound):
        await call(analytics, name, "nothere")


@pytest.mark.parametrize("name", CALLS)
async def test_a_deleted_code_is_not_found(analytics: Analytics, name: str) -> None:
    analytics.change(deleted_at=NOW)
    with pytest.raises(errors.NotFound):
        await call(analytics, name, "abc1234")


@pytest.mark.parametrize("name", CALLS)
async def test_an_expired_link_still_has_statistics(analytics: Analytics, name: str) -> None:
    analytics.change(expires_at=NOW - DAY)
    await call(analytics, name, "abc1234")


@pytest.mark.parametrize("name", CALLS)
async def test_short_code_is_required(analytics: Analytics, name: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await call(analytics, name, "")
    assert (caught.value.message, caught.value.field) == ("short_code is required", "short_code")


@pytest.mark.parametrize("name", CALLS[1:])
async def test_someone_elses_link_is_not_found(analytics: Analytics, name: str) -> None:
    await call(analytics, name, "abc1234", owner_id="1")
    with pytest.raises(errors.NotFound):
        await call(analytics, name, "abc1234", owner_id="2")


async def test_stats_of_a_range(analytics: Analytics) -> None:
    await analytics.click(at=NOW - 100, address="192.0.2.9", user_agent="FR")
    for at, address, place, referrer in [
        (NOW - 50, "192.0.2.1", "CH/Bern", "https://b.example"),
        (NOW - 49, "192.0.2.1", "CH/Bern", ""),
        (NOW - 48, "192.0.2.2", "AT/Wien", "https://a.example"),
        (NOW - 47, "", "", "https://a.example"),
        (NOW - 41, "192.0.2.3", "bot", "https://b.example"),
    ]:
        await analytics.click(at, address, place, referrer)
    await analytics.click(at=NOW - 40)
    assert await analytics.service.stats("abc1234", NOW - 50, NOW - 40) == Stats(
        short_code="abc1234",
        total_clicks=5,
        unique_visitors=3,
        countries=[
            CountryCount("CH", "Switzerland", 2, 40.0),
            CountryCount("AT", "Austria", 1, 20.0),
            CountryCount("ZZ", "Unknown", 1, 20.0),
            CountryCount("bot", "bot", 1, 20.0),
        ],
        referrers=[
            ReferrerCount("https://a.example", 2, 40.0),
            ReferrerCount("https://b.example", 2, 40.0),
            ReferrerCount("direct", 1, 20.0),
        ],
        devices=DeviceCounts(mobile=4, other=1),
    )


@pytest.mark.parametrize(("start", "end"), [(0, 0), (NOW, NOW), (1, INT64_MAX), (INT64_MAX, INT64_MAX)])
async def test_no_clicks_make_empty_lists(analytics: Analytics, start: int, end: int) -> None:
    assert await analytics.service.stats("abc1234", start, end) == Stats("abc1234", 0, 0, [], [], DeviceCounts())
    assert await analytics.service.geo_stats("abc1234", 0) == GeoStats([], [])


@pytest.mark.parametrize(("start", "end", "field"), [(-1, 0, "start_time"), (0, -1, "end_time"), (2, 1, "start_time")])
async def test_bad_ranges_are_invalid(analytics: Analytics, start: int, end: int, field: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await analytics.service.stats("abc1234", start, end)
    assert caught.value.field == field
    with pytest.raises(errors.Invalid) as caught:
        await analytics.series(start, end)
    assert caught.value.field == field


async def test_a_bad_granularity_is_invalid(analytics: Analytics) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await analytics.series(0, 0, "year")
    assert caught.value.field == "granularity"


async def test_a_series_without_bounds_runs_from_creation_to_now(analytics: Analytics) -> None:
    analytics.change(created_at=TODAY - 2 * DAY + 5)
    await analytics.click(at=TODAY - DAY)
    await analytics.click(at=NOW)
    await analytics.click(at=NOW + 60)
    await analytics.click(at=TODAY + DAY)
    assert await analytics.series(0, 0) == [
        TimePoint(TODAY - 2 * DAY, 0, 0),
        TimePoint(TODAY - DAY, 1, 0),
        TimePoint(TODAY, 2, 0),
    ]


async def test_a_series_without_start_begins_with_an_early_click(analytics: Analytics) -> None:
    await analytics.click(at=TODAY - DAY - 1, address="192.0.2.1")
    assert await analytics.series(0, TODAY) == [TimePoint(TODAY - 2 * DAY, 1, 1), TimePoint(TODAY - DAY, 0, 0)]


async def test_the_ends_of_a_series_count_only_what_is_inside(analytics: Analytics) -> None:
    for at in (TODAY + 9, TODAY + 10, TODAY + 3600, TODAY + 3609, TODAY + 3610):
        await analytics.click(at=at, address=str(at))
    assert await analytics.series(TODAY + 10, TODAY + 3610, "hour") == [
        TimePoint(TODAY, 1, 1),
        TimePoint(TODAY + 3600, 2, 2),
    ]
    assert await analytics.series(TODAY + 10, TODAY + 3610, "week") == [TimePoint(TODAY - 4 * DAY, 3, 3)]


@pytest.mark.parametrize(
    ("start", "end"),
    [(NOW, NOW), (NOW + 2 * DAY, 0), (INT64_MAX, 0), (0, 1), (0, NOW - DAY), (INT64_MAX, INT64_MAX)],
)
async def test_a_range_that_holds_no_period_gives_no_points(analytics: Analytics, start: int, end: int) -> None:
    assert await analytics.series(start, end) == []


async def test_a_visitor_of_two_days_is_one_of_the_week(analytics: Analytics) -> None:
    await analytics.click(at=TODAY - DAY, address="192.0.2.1")
    await analytics.click(at=TODAY, address="192.0.2.1")
    monday = TODAY - 4 * DAY
    assert await analytics.series(monday, monday + 7 * DAY, "week") == [TimePoint(monday, 2, 1)]


@pytest.mark.parametrize(("granularity", "seconds"), [("hour", 3600), ("day", DAY), ("week", 7 * DAY)])
async def test_ten_thousand_points_are_the_most(analytics: Analytics, granularity: str, seconds: int) -> None:
    start = 4 * DAY  # Monday, 1970-01-05
    points = await analytics.series(start, start + 10_000 * seconds, granularity)
    assert [point.timestamp for point in points] == list(range(start, start + 10_000 * seconds, seconds))
    for end in (start + 10_000 * seconds + 1, INT64_MAX):
        with pytest.raises(errors.Invalid):
            await analytics.series(start, end, granularity)


@pytest.mark.parametrize(("granularity", "points"), [("hour", 10_000), ("day", 10_000), ("week", 2977), ("month", 685)])
async def test_an_unbounded_series_has_the_last_ten_thousand_points(
    analytics: Analytics, granularity: str, points: int
) -> None:
    analytics.clicks.clicks += [a_click(at=60), a_click(at=NOW)]  # Older versions took any time.

    series = await analytics.series(0, 0, granularity)

    assert len(series) == points
    assert series[-1] == TimePoint(period_of(NOW, granularity), 1, 1)
    assert sum(point.clicks for point in series) == (2 if points < 10_000 else 1)
    assert (await analytics.series(0, series[-1].timestamp, granularity))[1 - points :] == series[:-1]


async def test_a_series_that_is_open_on_one_side_never_fails(analytics: Analytics) -> None:
    await analytics.click(at=NOW)

    since = await analytics.series(SINCE, 0, "hour")
    until = await analytics.series(0, INT64_MAX, "hour")

    assert (len(since), since[-1]) == (10_000, TimePoint(NOW, 1, 0))
    assert (len(until), until[-1].clicks) == (10_000, 0)
    assert until[-1].timestamp == INT64_MAX - 1 - (INT64_MAX - 1) % 3600


async def test_months_of_a_series_have_their_own_lengths(analytics: Analytics) -> None:
    for at in (TODAY - 40 * DAY, TODAY - 15 * DAY, TODAY - 14 * DAY, NOW):
        await analytics.click(at=at, address="192.0.2.1")

    assert await analytics.series(TODAY - 40 * DAY, 0, "month") == [
        TimePoint(TODAY - 45 * DAY, 2, 1),  # December has 31 days.
        TimePoint(TODAY - 14 * DAY, 2, 1),
    ]


async def test_referrers_beyond_a_thousand_are_one_row(analytics: Analytics) -> None:
    for number in range(1_200):
        await analytics.click(referrer=f"https://{number:04}.example")
    await analytics.click(referrer="https://1199.example")
    analytics.clicks.clicks.append(a_click(referrer="other"))

    referrers = (await analytics.service.stats("abc1234", 0, 0)).referrers

    assert len(referrers) == 1_001
    assert (referrers[0], referrers[1]) == (
        ReferrerCount("https://1199.example", 2, 200 / 1_202),
        ReferrerCount("https://0000.example", 1, 100 / 1_202),
    )
    assert referrers[-1] == ReferrerCount("other", 201, 20_100 / 1_202)
    assert sum(count.percentage for count in referrers) == pytest.approx(100, abs=0.01)


async def test_geo_stats_are_limited_and_of_all_time(analytics: Analytics) -> None:
    for at, place in [(SINCE, "DE/Bonn"), (NOW, "DE/Bonn"), (NOW, "AT/Wien"), (NOW, "CH/Aarau"), (NOW, "CH")]:
        await analytics.click(at=at, user_agent=place)
    assert await analytics.service.geo_stats("abc1234", 2) == GeoStats(
        countries=[CountryCount("DE", "Germany", 2, 40.0), CountryCount("CH", "Switzerland", 2, 40.0)],
        cities=[CityCount("Bonn", "DE", 2, 40.0), CityCount("Aarau", "CH", 1, 20.0)],
    )


async def test_geo_stats_list_ten_unless_asked(analytics: Analytics) -> None:
    for number in range(12):
        await analytics.click(user_agent=f"C{number}/City{number:02}")
    found = await analytics.service.geo_stats("abc1234", 0)
    assert [count.city for count in found.cities] == [f"City{number:02}" for number in range(10)]
    assert len(found.countries) == 10
    assert len((await analytics.service.geo_stats("abc1234", 1000)).cities) == 12


@pytest.mark.parametrize("limit", [-1, 1001])
async def test_bad_limits_are_invalid(analytics: Analytics, limit: int) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await analytics.service.geo_stats("abc1234", limit)
    assert caught.value.field == "limit"
