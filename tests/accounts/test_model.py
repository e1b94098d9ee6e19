"""The rules about emails, names, usernames, passwords, ids and pages."""

import contextlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener import errors
from shortener.accounts import model

LOCAL_PARTS = st.from_regex(r"[a-zA-Z0-9_+-]{1,20}(\.[a-zA-Z0-9_+-]{1,20}){0,2}", fullmatch=True)
DOMAINS = st.from_regex(r"[a-z][a-z0-9]{0,20}(\.[a-z][a-z0-9]{1,20}){0,2}\.(com|org|net|test)", fullmatch=True)
TEXT = st.text() | st.text(st.characters(codec=None))


def message(parse, *arguments) -> tuple[str, str]:
    with pytest.raises(errors.Invalid) as caught:
        parse(*arguments)
    return caught.value.field, caught.value.message


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("user@example.com", "user@example.com"),
        ("grpc@example.com", "grpc@example.com"),
        ("User@EXAMPLE.Com", "User@example.com"),
        ("o'k+tag@example.co.uk", "o'k+tag@example.co.uk"),
        ("a@x.test", "a@x.test"),
        ("a@company.internal", "a@company.internal"),
        ("ü@straße.de", "ü@straße.de"),
        ("x@xn--strae-oqa.de", "x@straße.de"),
        ("a\u0301@example.com", "\u00e1@example.com"),
        ("a" * 242 + "@example.com", "a" * 242 + "@example.com"),
    ],
)
def test_addresses_are_accepted_in_their_normal_form(text: str, email: str) -> None:
    assert model.parse_email(text) == email


@pytest.mark.parametrize(
    "text",
    [
        "user",
        "@example.com",
        "user@",
        "user@localhost",
        "user@test",
        "user@home.local",
        "user@x.invalid",
        "user@127.0.0.1",
        "user@[127.0.0.1]",
        '"quoted part"@example.com',
        "John <user@example.com>",
        "user@example.com, other@example.com",
        "user@@example.com",
        "user@exa mple.com",
        " user@example.com",
        "user@example.com ",
        "user@example.com\n",
        "us\ner@example.com",
        "us\x00er@example.com",
        "us\u202eer@example.com",
        "\ud800@example.com",
        "user@example.com.",
        "user@.example.com",
        "user@-example.com",
        "user..name@example.com",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert message(model.parse_email, text) == ("email", "email must be an address such as name@example.com")


def test_a_missing_or_long_address_is_refused_by_name() -> None:
    assert message(model.parse_email, "") == ("email", "email is required")
    long = "a" * 243 + "@example.com"
    assert message(model.parse_email, long) == ("email", "email must have at most 254 characters")


@given(TEXT)
def test_any_text_is_an_address_or_invalid(text: str) -> None:
    with contextlib.suppress(errors.Invalid):
        assert model.parse_email(text).encode()


@given(LOCAL_PARTS, DOMAINS)
def test_an_address_has_one_key_in_any_case(local_part: str, domain: str) -> None:
    email = f"{local_part}@{domain}"
    keys = {
        model.email_key(model.parse_email(text)) for text in (email, email.upper(), email.lower(), email.swapcase())
    }
    assert keys == {email.lower()}


@given(st.text(min_size=1, max_size=30), DOMAINS)
def test_the_normal_form_of_an_address_is_its_own(local_part: str, domain: str) -> None:
    try:
        email = model.parse_email(f"{local_part}@{domain}")
    except errors.Invalid:
        return
    assert model.parse_email(email) == email
    assert model.email_key(model.parse_email(email)) == model.email_key(email)


def test_the_domains_of_two_people_keep_two_keys() -> None:
    one, other = model.parse_email("a@straße.de"), model.parse_email("a@strasse.de")
    assert model.email_key(one) != model.email_key(other)
    assert model.email_key(one) == model.email_key(model.parse_email("A@XN--STRAE-OQA.DE"))


@pytest.mark.parametrize("text", ["abc", "grpcuser", "A_b-9.z", "---", "a" * 32])
def test_usernames_are_accepted_as_they_are(text: str) -> None:
    assert model.parse_username(text) == text


@pytest.mark.parametrize(
    "text", ["ab", "a" * 33, "a b", "abc\n", "abü", "ab٣c", "a/bc", "a@bc", "abc\x00", "\ud800abc"]
)
def test_other_usernames_are_refused(text: str) -> None:
    assert message(model.parse_username, text) == ("username", "username must be 3 to 32 of A-Z a-z 0-9 _ . -")


def test_a_missing_username_is_refused() -> None:
    assert message(model.parse_username, "") == ("username", "username is required")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("John Doe", "John Doe"),
        ("  John Doe ", "John Doe"),
        ("\u3000山田 太郎", "山田 太郎"),
        ("a" * 200, "a" * 200),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
    ],
)
def test_names_are_accepted_without_surrounding_blanks(text: str, name: str) -> None:
    assert model.parse_name(text) == name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "name is required"),
        ("   ", "name is required"),
        ("a" * 201, "name must have at most 200 characters"),
        ("John\nDoe", "name must not contain control characters"),
        ("John Doe\r\n", "name must not contain control characters"),
        ("John\x00", "name must not contain control characters"),
        ("John\x1b[31m", "name must not contain control characters"),
        ("John\u2028Doe", "name must not contain control characters"),
        ("John\ud800", "name must not contain control characters"),
    ],
)
def test_other_names_are_refused(text: str, problem: str) -> None:
    assert message(model.parse_name, text) == ("name", problem)


@given(TEXT)
def test_any_text_is_a_name_or_invalid(text: str) -> None:
    with contextlib.suppress(errors.Invalid):
        name = model.parse_name(text)
        assert 1 <= len(name.encode()) <= 800
        assert name == name.strip()


@pytest.mark.parametrize("text", ["abcdef", "a" * 1024, "      ", "pass\x00word", "密码密码密码", "\U0001f600" * 1024])
def test_passwords_of_6_to_1024_characters_are_accepted(text: str) -> None:
    assert model.parse_password(text) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "password is required"),
        ("abcde", "password must have at least 6 characters"),
        ("é" * 5, "password must have at least 6 characters"),
        ("a" * 1025, "password must have at most 1024 characters"),
        ("abcdef\ud800", "password must be valid Unicode text"),
    ],
)
def test_other_passwords_are_refused(text: str, problem: str) -> None:
    assert message(model.parse_password, text) == ("password", problem)


@given(st.text(min_size=6, max_size=60))
def test_a_password_is_the_same_in_every_spelling_of_its_characters(text: str) -> None:
    decomposed = unicodedata.normalize("NFD", text)
    assert model.parse_password(decomposed) == unicodedata.normalize("NFC", text)


@given(st.integers(1, 2**63 - 1))
def test_ids_are_read_back_from_their_decimal_form(account_id: int) -> None:
    assert model.parse_account_id(str(account_id)) == account_id


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "+1", "01", " 1", "1\n", "1.0", "٣", "9223372036854775808", "1" * 5000]
)
def test_other_ids_are_refused(text: str) -> None:
    assert message(model.parse_account_id, text) == ("user_id", "user_id must be a positive decimal number")


@pytest.mark.parametrize("account_id", [0, -1, -(2**63), 2**63])
def test_ids_that_cannot_be_are_refused(account_id: int) -> None:
    assert message(model.check_account_id, account_id) == ("user_id", "user_id must be positive")


@pytest.mark.parametrize(
    ("asked", "served"),
    [((0, 0), (20, 0)), ((1, 5), (1, 5)), ((1000, 0), (1000, 0)), ((1001, 0), (1000, 0)), ((2**31 - 1, 7), (1000, 7))],
)
def test_pages_are_bounded(asked: tuple[int, int], served: tuple[int, int]) -> None:
    assert model.parse_page(*asked) == served


def test_negative_pages_are_refused() -> None:
    assert message(model.parse_page, -1, 0) == ("limit", "limit must not be negative")
    assert message(model.parse_page, 0, -1) == ("offset", "offset must not be negative")
