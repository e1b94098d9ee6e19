"""Tokens: what is in them, and everything that is not accepted as one."""

import base64
import dataclasses
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.accounts.ports import Claims, SignedIn
from shortener.accounts.tokens import JwtTokens, key_id
from shortener.config.sections import Auth
from tests.accounts.builders import an_account
from tests.support.fakes import FakeClock
from tests.support.forged_tokens import KEY, encoded, forged

OTHER_KEY = b"o" * 40
NOW = 1_800_000_000
WEEK = 604_800
CLAIMS = Claims("1", "user@example.com", NOW, NOW + WEEK, "id-1")
HEADER = {"alg": "HS256", "typ": "JWT", "kid": key_id(KEY)}
SAID = {
    "iss": "shortener",
    "aud": "audience",
    "sub": "1",
    "user_id": "1",
    "email": "user@example.com",
    "iat": NOW,
    "exp": NOW + WEEK,
    "jti": "id-1",
}


def jwt_tokens(*keys: bytes, clock: FakeClock, cache_size_max: int = 100) -> JwtTokens:
    numbers = iter(range(1, 1000))
    return JwtTokens(
        keys or (KEY,),
        Auth(token_ttl_seconds=WEEK, issuer="shortener", audience="audience", token_cache_size_max=cache_size_max),
        clock=clock,
        new_id=lambda: f"id-{next(numbers)}",
    )


@pytest.fixture
def tokens(clock: FakeClock) -> JwtTokens:
    return jwt_tokens(clock=clock)


def without(values: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in values.items() if key != name}


def test_a_token_says_what_the_contract_asks_for(tokens: JwtTokens) -> None:
    issued = tokens.issue(an_account())
    header, payload, signature = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in issued.token.split(".")
    )
    assert json.loads(header) == HEADER
    assert json.loads(payload) == SAID
    assert signature == hmac.digest(KEY, issued.token.rpartition(".")[0].encode(), hashlib.sha256)
    assert issued.expires_at == NOW + WEEK


@pytest.mark.parametrize("version", [1, NOW])
def test_a_token_carries_the_version_of_an_account_whose_password_was_changed(tokens: JwtTokens, version: int) -> None:
    issued = tokens.issue(an_account(token_version=version))
    assert json.loads(base64.urlsafe_b64decode(issued.token.split(".")[1] + "==")) == {**SAID, "ver": version}
    assert tokens.read(issued.token) == dataclasses.replace(CLAIMS, token_version=version)


def test_each_token_has_an_id_of_its_own(tokens: JwtTokens) -> None:
    assert tokens.issue(an_account()).token != tokens.issue(an_account()).token


def test_a_token_made_is_read(tokens: JwtTokens) -> None:
    issued = tokens.issue(an_account())
    assert tokens.read(issued.token) == CLAIMS
    assert tokens.read(issued.token) == CLAIMS


@given(st.integers(1, 2**63 - 1), st.emails())
def test_any_account_is_read_back(account_id: int, email: str) -> None:
    tokens = jwt_tokens(clock=FakeClock(NOW))
    issued = tokens.issue(an_account(id=account_id, email=email))
    assert tokens.read(issued.token) == Claims(str(account_id), email, NOW, NOW + WEEK, "id-1")


@pytest.mark.parametrize("is_hot", [True, False])
def test_a_token_ends_with_its_second(clock: FakeClock, is_hot: bool) -> None:
    tokens = jwt_tokens(clock=clock)
    token = tokens.issue(an_account()).token
    for seconds, expected in ((WEEK - 1, CLAIMS), (1, None), (1, None), (-2, CLAIMS)):
        clock.tick(seconds)
        assert (tokens if is_hot else jwt_tokens(clock=clock)).read(token) == expected


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        {"kid": key_id(KEY), "alg": "HS256"},
        {"kid": key_id(KEY), "typ": "JWT", "alg": "HS256"},
    ],
)
def test_a_token_by_another_holder_of_the_key_is_read(tokens: JwtTokens, header: object) -> None:
    assert tokens.read(forged(header, SAID)) == CLAIMS
    assert tokens.read(forged(header, {**SAID, "nbf": NOW, "role": "x"})) == CLAIMS


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "alg": "none"},
        {**HEADER, "alg": "None"},
        {**HEADER, "alg": "hs256"},
        {**HEADER, "alg": "HS384"},
        {**HEADER, "alg": "HS512"},
        {**HEADER, "alg": "RS256"},
        {**HEADER, "alg": ["HS256"]},
        {**HEADER, "alg": None},
        without(HEADER, "alg"),
        {**HEADER, "typ": "JWE"},
        {**HEADER, "typ": None},
        {**HEADER, "kid": "unknown"},
        {**HEADER, "kid": key_id(OTHER_KEY)},
        {**HEADER, "kid": ""},
        {**HEADER, "kid": None},
        {**HEADER, "kid": 1},
        {**HEADER, "kid": [key_id(KEY)]},
        {**HEADER, "kid": "../../dev/null"},
        without(HEADER, "kid"),
        {**HEADER, "crit": ["exp"]},
        {**HEADER, "crit": []},
        {**HEADER, "b64": False},
        {**HEADER, "b64": False, "crit": ["b64"]},
        {**HEADER, "jwk": {"kty": "oct", "k": encoded(KEY)}},
        {**HEADER, "jku": "https://example.com/keys"},
        {**HEADER, "x5u": "https://example.com/keys"},
        {**HEADER, "zip": "DEF"},
        {**HEADER, "enc": "A256GCM"},
        [],
        [HEADER],
        "alg",
        1,
        None,
        {},
        b"",
        b"{",
        b"\xff\xfe",
        b'{"alg":NaN}',
        b"[" * 3000,
        b'{"alg":' * 300 + b"1" + b"}" * 300,
        b"1" * 2900,
    ],
)
def test_other_headers_are_refused(tokens: JwtTokens, header: object) -> None:
    assert tokens.read(forged(header, SAID)) is None


def test_other_digests_with_our_key_are_refused(tokens: JwtTokens) -> None:
    assert tokens.read(forged({**HEADER, "alg": "HS512"}, SAID, digest="sha512")) is None
    assert tokens.read(forged(HEADER, SAID, digest="sha512")) is None
    unsigned = forged({"alg": "none", "typ": "JWT"}, SAID).rpartition(".")[0]
    assert tokens.read(f"{unsigned}.") is None
    assert tokens.read(unsigned) is None


BAD_TIMES = [None, "", str(NOW + WEEK), 1.8e9, float(NOW + WEEK), True, -1, 10**15, 10**400, [], {}]
BAD_TEXTS = [None, "", 1, True, 1.5, [], {}, "x" * 257]


@pytest.mark.parametrize(
    "said",
    [
        *({**SAID, name: value} for name in ("exp", "iat", "nbf", "ver") for value in BAD_TIMES),
        *({**SAID, name: value} for name in ("user_id", "sub", "email", "jti", "iss", "aud") for value in BAD_TEXTS),
        *(without(SAID, name) for name in SAID),
        {**SAID, "iss": "other"},
        {**SAID, "aud": "other"},
        {**SAID, "aud": ["audience"]},
        {**SAID, "sub": "2"},
        {**SAID, "user_id": "2"},
        {**SAID, "user_id": "01", "sub": "01"},
        {**SAID, "user_id": "0", "sub": "0"},
        {**SAID, "user_id": "x", "sub": "x"},
        {**SAID, "exp": NOW},
        {**SAID, "exp": 0},
        {**SAID, "nbf": NOW + 1},
        json.dumps({**SAID, "exp": float("nan")}).encode(),
        json.dumps({**SAID, "exp": float("inf")}).encode(),
        json.dumps(SAID).replace(str(NOW + WEEK), "1e400").encode(),
        json.dumps(SAID).encode("utf-16"),
        json.dumps(SAID).encode() + b"x",
        b"",
        b"\xff",
        b"{",
        b"[" * 3000,
        [SAID],
        "text",
        1,
        None,
    ],
)
def test_other_claims_are_refused_though_signed(tokens: JwtTokens, said: object) -> None:
    assert tokens.read(forged(HEADER, said)) is None


def test_a_token_is_not_valid_before_its_time(tokens: JwtTokens, clock: FakeClock) -> None:
    token = forged(HEADER, {**SAID, "nbf": NOW + 10})
    assert tokens.read(token) is None
    clock.tick(10)
    assert tokens.read(token) == CLAIMS


def test_any_change_to_a_token_is_noticed(tokens: JwtTokens) -> None:
    token = tokens.issue(an_account()).token
    for position, old in enumerate(token):
        for new in {"A", "B", ".", "-", "=", "\n", "é"} - {old}:
            assert tokens.read(token[:position] + new + token[position + 1 :]) is None
    for text in (token[:-1], token + "A", token + "=", token + "\n", " " + token, token + ".", "Bearer " + token):
        assert tokens.read(text) is None
    # The last character holds two bits that say nothing; a second spelling is not accepted either.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [last for last in alphabet if tokens.read(token[:-1] + last)] == [token[-1]]


def test_a_token_of_another_key_is_refused(tokens: JwtTokens) -> None:
    assert tokens.read(forged(HEADER, SAID, key=OTHER_KEY)) is None
    assert tokens.read(forged({**HEADER, "kid": key_id(OTHER_KEY)}, SAID, key=OTHER_KEY)) is None


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b.c", "é", "\ud800", "\x00", "{}", "e30.e30.", "=.=.="])
def test_other_texts_are_refused(tokens: JwtTokens, text: str) -> None:
    assert tokens.read(text) is None


def test_a_huge_token_is_refused_unread(tokens: JwtTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = forged(HEADER, {**SAID, "x": "x" * 2000})
    assert tokens.read(fits) == CLAIMS
    longest = forged(HEADER, {**SAID, "x": "x" * 2900})
    assert len(longest) > 4096
    monkeypatch.setattr(tokens, "_verified", None)
    assert tokens.read(longest) is None
    assert tokens.read("x" * 10_000_000) is None


SEGMENTS = st.one_of(
    st.text(alphabet="ABCabc019-_=.", max_size=60),
    st.binary(max_size=60).map(encoded),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*HEADER, *SAID, "crit"]), inner),
        max_leaves=5,
    ).map(lambda value: encoded(json.dumps(value).encode())),
)


@given(st.text() | st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join))
def test_no_text_breaks_the_reading(text: str) -> None:
    assert jwt_tokens(clock=FakeClock(NOW)).read(text) is None


@given(st.dictionaries(st.sampled_from([*SAID, "nbf"]), st.none() | st.integers() | st.text() | st.floats()))
def test_no_signed_payload_breaks_the_reading(changes: dict[str, object]) -> None:
    claims = jwt_tokens(clock=FakeClock(NOW)).read(forged(HEADER, {**SAID, **changes}))
    assert claims is None or (NOW < claims.expires_at < 2**63 and claims.user_id == "1")


def test_the_first_key_signs_and_all_verify(clock: FakeClock) -> None:
    old, new = jwt_tokens(KEY, clock=clock), jwt_tokens(OTHER_KEY, KEY, clock=clock)
    by_old, by_new = old.issue(an_account()), new.issue(an_account())
    assert new.read(by_old.token) == new.read(by_new.token) == CLAIMS
    assert old.read(by_new.token) is None
    assert json.loads(base64.urlsafe_b64decode(by_new.token.partition(".")[0] + "=="))["kid"] == key_id(OTHER_KEY)


def test_a_hot_token_is_verified_once(tokens: JwtTokens, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = tokens.issue(an_account())
    calls = counted(tokens, monkeypatch)
    for _ in range(3):
        assert tokens.read(issued.token) == CLAIMS
    assert calls == [issued.token]


def test_what_is_remembered_is_bounded_and_never_wrong(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = jwt_tokens(clock=clock, cache_size_max=2)
    issued = [tokens.issue(an_account(id=number)) for number in (1, 2, 3)]
    calls = counted(tokens, monkeypatch)
    for one in issued * 2:
        assert tokens.read(one.token)
    assert len(calls) == 6
    assert tokens.read(issued[2].token + "x") is None
    assert len(tokens._read) == 2


def test_what_is_refused_is_not_remembered(tokens: JwtTokens, clock: FakeClock) -> None:
    token = tokens.issue(an_account()).token
    assert tokens.read(token[:-5] + "AAAAA") is None
    assert tokens.read(token) == CLAIMS
    clock.tick(WEEK)
    assert tokens.read(token) is None
    assert len(tokens._read) == 0


def counted(tokens: JwtTokens, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    inner = tokens._verified

    def verified(token: str) -> Claims | None:
        calls.append(token)
        return inner(token)

    monkeypatch.setattr(tokens, "_verified", verified)
    return calls


def test_issued_tokens_are_plain_values(tokens: JwtTokens) -> None:
    issued = tokens.issue(an_account())
    assert issued == SignedIn(an_account(), issued.token, NOW + WEEK)
    assert len(issued.token) < 600
