"""The journal's bytes: whatever is torn or changed is never taken for a click."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.analytics.journal import records as frames
from shortener.analytics.model import USER_AGENT_MAX, Observation, Place
from shortener.links.model import LinkRef
from tests.support.click_builders import LINUX, a_visitor

int64 = st.integers(-(1 << 63), (1 << 63) - 1)
observations = st.builds(
    Observation,
    ref=st.builds(LinkRef, int64, st.text("abcXYZ019_-", min_size=1, max_size=50)),
    at=int64,
    visitor=st.one_of(st.just(b""), st.binary(min_size=16, max_size=16)),
    country=st.text("ABCXYZ", min_size=2, max_size=2),
    city=st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
    referrer=st.text("abc.:/-", max_size=255),
    user_agent=st.text(st.characters(exclude_categories=["Cs"]), max_size=USER_AGENT_MAX),
)


def payload(seen: Observation) -> bytes:
    client = frames.encode_client(seen.visitor, Place(seen.country, seen.city))
    return frames.encode(seen.ref, seen.at, client, seen.referrer.encode(), seen.user_agent)


SAMPLE = [payload(Observation(LinkRef(n, "abc"), n, a_visitor(n), "DE", "Köln", "direct", LINUX)) for n in (1, 2, 3)]


@given(observations)
def test_observations_come_back_as_they_were(seen: Observation) -> None:
    data = payload(seen)

    assert frames.decode(data) == seen
    assert len(data) <= frames.PAYLOAD_MAX


def test_user_agents_are_cropped_and_made_unicode() -> None:
    data = frames.encode(
        LinkRef(1, "abc"), 0, frames.encode_client(b"", Place("ZZ", "")), b"direct", "\udc80" + "é" * 9999
    )

    assert frames.decode(data).user_agent == "?" + "é" * (USER_AGENT_MAX - 1)


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_frames_come_back_in_order(payloads: list[bytes]) -> None:
    data = b"".join(map(frames.frame, payloads))

    assert [found for found, _ in frames.unframe(data)] == payloads
    assert [after for _, after in frames.unframe(data)][-1:] == ([len(data)] if payloads else [])


def test_a_tail_torn_at_any_byte_gives_the_whole_frames_before_it() -> None:
    framed = [frames.frame(data) for data in SAMPLE]
    data = b"".join(framed)
    ends = [sum(map(len, framed[:n])) for n in range(4)]

    for size in range(len(data) + 1):
        whole = sum(end <= size for end in ends[1:])
        found = list(frames.unframe(data[:size]))
        assert found == list(zip(SAMPLE[:whole], ends[1 : whole + 1], strict=True))


def test_a_flipped_bit_is_noticed_wherever_it_is() -> None:
    first, second = frames.frame(SAMPLE[0]), frames.frame(SAMPLE[1])
    data = bytearray(first + second)

    for bit in range(len(first) * 8, len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        assert [found for found, _ in frames.unframe(bytes(data))] == [SAMPLE[0]]
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("junk", [bytes(4096), b"\xff" * 4096, b"\x00" * 7, b"text that is no frame at all"])
def test_junk_is_no_frame(junk: bytes) -> None:
    assert list(frames.unframe(junk)) == []


@given(st.binary(max_size=400))
def test_random_payloads_are_malformed_or_observations(data: bytes) -> None:
    try:
        seen = frames.decode(data)
    except frames.Malformed:
        return
    assert isinstance(seen, Observation)


@given(observations, st.data())
def test_a_payload_of_wrong_size_or_version_is_malformed(seen: Observation, data: st.DataObject) -> None:
    whole = payload(seen)
    cut = data.draw(st.integers(0, len(whole) - 1))

    for wrong in (whole[:cut], whole + b"x", b"\x02" + whole[1:]):
        with pytest.raises(frames.Malformed):
            frames.decode(wrong)


@given(int64, int64, st.binary(max_size=40))
def test_what_is_left_without_link_and_time_is_equal_for_equal_clicks(link_id: int, at: int, agent: bytes) -> None:
    def payload(link_id: int, at: int) -> bytes:
        client = frames.encode_client(b"v" * 16, Place("CH", "Bern"))
        return frames.encode(LinkRef(link_id, "abc1234"), at, client, b"direct", agent.decode("latin-1"))

    one, other = payload(link_id, at), payload(7, 8)
    assert frames.which_and_when(one)[:2] == (link_id, at)
    assert frames.which_and_when(one)[2] == frames.which_and_when(other)[2]
    assert frames.which_and_when(b"\x02" + one[1:])[2] != frames.which_and_when(one)[2]
    with pytest.raises(frames.Malformed):
        frames.which_and_when(one[:16])
