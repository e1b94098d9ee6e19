"""What is kept of a click: the same by redirect and by TrackClick, and never an address, path or query."""

import asyncio
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener import errors
from shortener.analytics.clients.recorder import ClickDescriber, ClickRecorder
from shortener.analytics.clients.referrers import parse_referrer
from shortener.analytics.clients.user_agent import UserAgents
from shortener.analytics.clients.visitors import Rotation, Visitors, open_visitors
from shortener.analytics.journal.journal import Journal, open_journal
from shortener.analytics.model import START, Click, Device, Observation, Place
from shortener.config.sections import Clicks
from shortener.links.model import LinkRef
from tests.support.click_builders import GOOGLEBOT, LINUX, NOW, a_ref
from tests.support.click_fakes import DictGeo
from tests.support.fakes import FakeClock
from tests.support.link_builders import a_link

ADDRESS = "81.2.69.142"
LONDON = Place("GB", "London")
DAY = 86_400


class Kept:
    """A recorder over a real journal, and what it wrote."""

    def __init__(self, journal: Journal, visitors: Visitors, clock: FakeClock) -> None:
        self.journal = journal
        self.visitors = visitors
        self.clock = clock
        self.geo = DictGeo({ADDRESS: LONDON})
        self.recorder = ClickRecorder(journal, visitors, self.geo, clock, clients_max=100)
        self.describe = ClickDescriber(visitors, self.geo, UserAgents(size_max=10), clock)

    def offer(self, address: str = "", user_agent: str = "", referrer: str = "", number: int = 1) -> None:
        self.recorder.offer(a_link(id=number, short_code=f"code{number}"), address, user_agent, referrer)

    def observations(self) -> list[Observation]:
        self.recorder.flush()
        return self.journal.read(START, self.journal.end, clicks_max=1000).clicks


OpenKept = Callable[[Rotation], Kept]


@pytest.fixture
async def open_kept(tmp_path: Path) -> AsyncIterator[OpenKept]:
    clock = FakeClock(NOW)
    async with open_journal(tmp_path / "journal", Clicks(), after=START) as journal:
        yield lambda rotation: Kept(
            journal, open_visitors(tmp_path / "visitor.key", rotation=rotation, clock=clock), clock
        )


@pytest.fixture
def kept(open_kept: OpenKept) -> Kept:
    return open_kept("never")


async def test_a_redirect_as_the_journal_keeps_it(kept: Kept) -> None:
    kept.offer(ADDRESS, LINUX, "https://news.example/path?query")

    assert kept.observations() == [
        Observation(
            a_ref(),
            NOW,
            kept.visitors.identify(IPv4Address(ADDRESS), NOW),
            "GB",
            "London",
            "https://news.example",
            LINUX,
        )
    ]


@pytest.mark.parametrize("address", ["", "unix:", "not an address", "1" * 5000, "\udc80"])
async def test_without_an_address_there_is_no_visitor(kept: Kept, address: str) -> None:
    kept.offer(address)

    assert kept.observations() == [Observation(a_ref(), NOW, b"", "ZZ", "", "direct", "")]


async def test_every_spelling_of_an_address_is_one_visitor(kept: Kept) -> None:
    for address in (ADDRESS, f"::ffff:{ADDRESS}", "::FFFF:5102:458e"):
        kept.offer(address)

    assert len({seen.visitor for seen in kept.observations()}) == 1


async def test_a_client_is_looked_up_once_and_all_are_not_remembered(kept: Kept) -> None:
    for _ in range(5):
        kept.offer(ADDRESS)
    asked = kept.geo.asked
    for number in range(200):
        kept.offer(f"10.0.0.{number}")
    kept.offer(ADDRESS)

    assert asked == 1
    assert kept.geo.asked == 202


def all_bytes(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_no_address_path_or_query_reaches_the_disk(kept: Kept, tmp_path: Path) -> None:
    kept.offer(ADDRESS, LINUX, "https://user:secret-a@news.example/secret-b?secret-c#secret-d")
    kept.offer("2001:db8::5ec:4e7", LINUX, "https://news.example?secret-e")
    kept.recorder.flush()
    content = all_bytes(tmp_path)

    assert b"news.example" in content
    for secret in (b"secret", ADDRESS.encode(), IPv4Address(ADDRESS).packed, b"2001:db8", bytes.fromhex("05ec04e7")):
        assert secret not in content


async def test_headers_of_any_kind_are_kept_within_limits(kept: Kept) -> None:
    kept.offer(ADDRESS, "\udcff\x00" * 5000, "https://" + "x" * 100_000)
    [seen] = kept.observations()

    assert (seen.user_agent, seen.referrer) == ("?\x00" * 128, "direct")


async def test_a_day_ends_what_is_remembered_of_visitors(open_kept: OpenKept) -> None:
    kept = open_kept("daily")
    kept.offer(ADDRESS)
    kept.offer(ADDRESS)
    kept.clock.tick(DAY)
    kept.offer(ADDRESS)
    kept.offer(ADDRESS)
    first, second, third, fourth = [seen.visitor for seen in kept.observations()]

    assert first == second != third == fourth


async def test_both_ways_keep_the_same(kept: Kept) -> None:
    kept.offer(ADDRESS, GOOGLEBOT, "https://News.Example:8080/x")
    [seen] = kept.observations()

    click = kept.describe(
        a_ref(), at=NOW, address=ADDRESS, user_agent=GOOGLEBOT, referrer="https://News.Example:8080/x"
    )

    assert click == Click(
        seen.ref, seen.at, seen.visitor, seen.country, seen.city, seen.referrer, Device.OTHER, bot=True
    )


async def test_a_reported_click_may_have_no_address_but_not_a_bad_one(kept: Kept) -> None:
    click = kept.describe(a_ref(), at=5, address="", user_agent=LINUX, referrer="")

    assert click == Click(a_ref(), 5, b"", "ZZ", "", "direct", Device.DESKTOP, bot=False)
    with pytest.raises(errors.Invalid) as caught:
        kept.describe(a_ref(), at=5, address="nonsense", user_agent="", referrer="")
    assert caught.value.field == "ip_address"


async def test_settled_returns_at_once_with_durability_kernel(kept: Kept) -> None:
    kept.offer(ADDRESS)
    kept.recorder.flush()

    await kept.recorder.settled()


referrers = st.one_of(
    st.text(),
    st.from_regex(r"[ \t]{0,3}[a-z]{1,6}:/{0,3}[^/]{0,40}([/?#\\].*)?[ \t]{0,3}", fullmatch=True),
    st.integers(1000, 1050).map(lambda size: "https://" + "u" * size + "@news.example/"),
    st.integers(1000, 1050).map(lambda size: "https://x?" + "u" * size + "/"),
)


@given(referrers)
def test_remembering_referrers_changes_nothing(referrer: str) -> None:
    class Pages(Journal):
        def __init__(self) -> None:
            self.referrers: list[bytes] = []
            self.settled = asyncio.Event().wait  # type: ignore[assignment] # nobody waits

        def append(self, ref: LinkRef, at: int, client: bytes, referrer: bytes, user_agent: str) -> None:
            self.referrers.append(referrer)

    class Nobody(Visitors):
        def __init__(self) -> None:
            self.key_until = NOW + DAY

    pages = Pages()
    recorder = ClickRecorder(pages, Nobody(), DictGeo(), FakeClock(NOW), clients_max=10)
    for _ in range(2):
        recorder.offer(a_link(), "", "", referrer)

    assert pages.referrers == [parse_referrer(referrer).encode()] * 2
