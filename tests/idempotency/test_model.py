"""Keys, and the hashes that calls are known by."""

import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener import errors
from shortener.idempotency.model import Answer, asked, parse_key
from tests.support.idempotency_fakes import SECRET

REQUEST = ("https://example.com/", 0, True)
values = st.one_of(st.integers(), st.booleans(), st.text())


@pytest.mark.parametrize("key", ["k", "8e03978e-40d5-43e8-bc93-6894a57f9324", '"quoted"', "~" * 255, "!"])
def test_good_keys(key: str) -> None:
    assert parse_key(key) == key


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 256, "k\n", "\n", "ключ", "k\x7f", "k\0", "\udcff"])
def test_bad_keys_are_named(key: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        parse_key(key)
    assert raised.value.field == "idempotency-key"
    assert raised.value.message == "idempotency-key must be 1 to 255 visible ASCII characters"


@given(st.text(max_size=300))
def test_keys_are_visible_ascii_and_nothing_else(text: str) -> None:
    is_good = 1 <= len(text) <= 255 and all("!" <= character <= "~" for character in text)
    try:
        assert parse_key(text) == text
        assert is_good
    except errors.Invalid:
        assert not is_good


def test_method_caller_key_and_request_all_tell_calls_apart() -> None:
    first = asked(SECRET, "CreateURL", "1", "key", REQUEST)
    assert first == asked(SECRET, "CreateURL", "1", "key", REQUEST)
    assert (len(first.key), len(first.request)) == (16, 16)
    others = [
        asked(SECRET, "TrackClick", "1", "key", REQUEST),
        asked(SECRET, "CreateURL", "2", "key", REQUEST),
        asked(SECRET, "CreateURL", "1", "kez", REQUEST),
        asked(bytes(32), "CreateURL", "1", "key", REQUEST),
        asked(SECRET, "CreateURL", "1k", "ey", REQUEST),
    ]
    assert len({first.key, *(other.key for other in others)}) == 6
    changed = asked(SECRET, "CreateURL", "1", "key", (*REQUEST[:2], False))
    assert changed.key == first.key
    assert changed.request != first.request
    callers = [first.caller, *(other.caller for other in others), changed.caller]
    assert [callers.index(caller) for caller in callers] == [0, 0, 2, 0, 4, 5, 0]


@given(st.lists(st.lists(values, max_size=3).map(tuple), max_size=5))
def test_requests_that_differ_have_different_hashes(requests: list[Answer]) -> None:
    for one, other in combinations(requests, 2):
        is_same = list(map(repr, one)) == list(map(repr, other))
        assert (asked(SECRET, "M", "c", "k", one) == asked(SECRET, "M", "c", "k", other)) is is_same


def test_nothing_of_the_call_is_in_the_hashes() -> None:
    call = asked(SECRET, "TrackClick", "abc", "key-of-a-caller", ("203.0.113.7", "agent", "", 0))
    assert not re.search(rb"key|203|agent|abc", call.key + call.request)
