# ruff: noqa: RUF001 - look-alike characters are what is tested
import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shortener import errors
from shortener.links.aliases import alternatives
from shortener.links.codes import is_reserved
from shortener.links.model import (
    LinkRef,
    is_live,
    is_plain,
    parse_alias,
    parse_expires_at,
    parse_owner_id,
    parse_paging,
    parse_short_code,
)
from tests.support.link_builders import a_draft, a_link, details

ALIAS = string.ascii_letters + string.digits + "_-"


def message_of(raised: pytest.ExceptionInfo[errors.Invalid]) -> tuple[str, str]:
    return raised.value.field, raised.value.message


@pytest.mark.parametrize(
    ("expires_at", "deleted_at", "live"),
    [(0, 0, True), (101, 0, True), (100, 0, False), (99, 0, False), (0, 1, False), (101, 100, False)],
)
def test_a_link_is_live_until_it_expires_or_is_deleted(expires_at: int, deleted_at: int, live: bool) -> None:
    for link in (
        a_link(expires_at=expires_at, deleted_at=deleted_at),
        details(expires_at=expires_at, deleted_at=deleted_at),
    ):
        assert is_live(link, 100) is live


def test_a_ref_names_one_life_of_a_code() -> None:
    assert a_link(id=7, short_code="spring").ref == LinkRef(7, "spring")
    assert details(id=7, short_code="spring").ref == LinkRef(7, "spring")


@pytest.mark.parametrize("destination", ["https://example.com/é", "https://example.com/\r\nX: y", "https://a/\x7f"])
def test_what_cannot_stand_in_a_header_is_not_plain(destination: str) -> None:
    assert not is_plain(destination)
    assert not details(destination=destination).link.is_plain
    assert details(destination="https://example.com/%C3%A9?a=b#c").link.is_plain


def test_drafts_that_differ_have_different_fingerprints() -> None:
    drafts = [
        a_draft(),
        a_draft(long_url="https://example.org/"),
        a_draft(expires_at=1_900_000_000),
        a_draft(with_qr=True),
        a_draft("spring"),
        a_draft("spring", with_qr=True),
        a_draft("summer"),
    ]
    assert len({(draft.method, draft.fingerprint) for draft in drafts}) == len(drafts)
    assert a_draft(owner_id="2").fingerprint == drafts[0].fingerprint  # the owner is known apart from it
    assert [draft.method for draft in drafts] == ["CreateURL"] * 4 + ["CreateCustomURL"] * 3


@pytest.mark.parametrize("expires_at", [0, 1_577_836_800, 1_735_689_600, 253_402_300_799])
def test_plausible_expiry_times_are_kept(expires_at: int) -> None:
    assert parse_expires_at(expires_at) == expires_at


@pytest.mark.parametrize("expires_at", [-1, 1, 3600, 1_577_836_799, 253_402_300_800, 1_735_689_600_000, -(2**63)])
def test_implausible_expiry_times_are_invalid(expires_at: int) -> None:
    with pytest.raises(errors.Invalid) as raised:
        parse_expires_at(expires_at)
    assert raised.value.field == "expires_at"


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64))
def test_visible_ascii_is_an_owner_id(text: str) -> None:
    assert parse_owner_id(text) == text


@pytest.mark.parametrize("text", ["a b", "a\n", "\x7f", "é", "x" * 65, "\ud800", "٣"])
def test_other_owner_ids_are_invalid(text: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        parse_owner_id(text)
    assert message_of(raised) == ("user_id", "user_id must be 1 to 64 visible ASCII characters")


def test_required_fields_are_named_in_the_message() -> None:
    for parse, name in ((parse_owner_id, "user_id"), (parse_alias, "alias"), (parse_short_code, "short_code")):
        with pytest.raises(errors.Invalid) as raised:
            parse("")
        assert message_of(raised) == (name, f"{name} is required")


@given(st.text(ALIAS, min_size=3, max_size=50))
def test_aliases_are_kept_as_they_are(text: str) -> None:
    assume(not is_reserved(text))
    assert parse_alias(text) == text
    assert parse_short_code(text) == text


@given(st.text(max_size=60))
def test_an_alias_is_what_the_rule_says_and_nothing_else(text: str) -> None:
    if len(text) in range(3, 51) and set(text) <= set(ALIAS) and not is_reserved(text):
        assert parse_alias(text) == text
    else:
        with pytest.raises(errors.Invalid) as raised:
            parse_alias(text)
        assert raised.value.field == "alias"


@pytest.mark.parametrize(
    "text", ["ab", "x" * 51, "abc\n", "\nabc", "a b", "a.b", "a/b", "äbc", "１２３", "abc٣", "a%20"]
)
def test_other_aliases_are_invalid(text: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        parse_alias(text)
    assert message_of(raised) == ("alias", "alias must be 3 to 50 of A-Z, a-z, 0-9, _ and -")


@pytest.mark.parametrize("text", ["api", "API", "Docs", "healthz", "favicon"])
def test_reserved_words_are_no_aliases(text: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        parse_alias(text)
    assert message_of(raised) == ("alias", "alias is a reserved word")


@pytest.mark.parametrize("text", ["ab", "abc\n", "a b c", "äbc", "x" * 100_000, "\ud800\ud800\ud800", "../../etc"])
def test_a_code_that_cannot_exist_is_unknown(text: str) -> None:
    with pytest.raises(errors.NotFound):
        parse_short_code(text)


@pytest.mark.parametrize(
    ("limit", "offset", "served"),
    [
        (0, 0, (20, 0)),
        (1, 5, (1, 5)),
        (1000, 0, (1000, 0)),
        (1001, 0, (1000, 0)),
        (2**31 - 1, 2**31 - 1, (1000, 2**31 - 1)),
    ],
)
def test_paging(limit: int, offset: int, served: tuple[int, int]) -> None:
    assert parse_paging(limit, offset) == served


@pytest.mark.parametrize(
    ("limit", "offset", "field"),
    [(-1, 0, "limit"), (0, -1, "offset"), (2**31, 0, "limit"), (0, 2**31, "offset"), (-(10**40), 0, "limit")],
)
def test_paging_out_of_range_is_invalid(limit: int, offset: int, field: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        parse_paging(limit, offset)
    assert raised.value.field == field


@given(st.text(ALIAS, min_size=3, max_size=50), st.text(ALIAS[:62], min_size=4, max_size=32))
def test_alternatives_are_aliases_themselves(alias: str, random_text: str) -> None:
    offered = alternatives(alias, random_text)
    assert len(set(offered)) == len(offered) >= 5
    assert alias not in offered
    for candidate in offered:
        assert parse_alias(candidate) == candidate
        assert re.sub(r"[-_]", "", candidate)[:1] == re.sub(r"[-_]", "", alias)[:1] or not alias.strip("-_")


def test_alternatives_stay_close_to_the_alias() -> None:
    assert alternatives("spring-sale", "x7Kp2Qa")[:3] == ["spring-sale-2", "spring-sale-3", "spring-sale-4"]
    assert alternatives("s" * 50, "x7Kp2Qa")[0] == "s" * 48 + "-2"
