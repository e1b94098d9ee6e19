from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.links import codes
from shortener.links.codes import ALPHABET, RESERVED, is_reserved, random_code, random_codes


def test_the_alphabet_is_base62() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == 62
    assert ALPHABET.isascii()
    assert ALPHABET.isalnum()


@given(st.integers(4, 32))
def test_a_random_code_has_the_length_asked_for_and_no_other_characters(length: int) -> None:
    code = random_codes(length)()
    assert len(code) == length
    assert set(code) <= set(ALPHABET)


def test_every_number_gives_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    numbers = iter(range(62**2))

    def next_number(bound: int) -> int:
        asked.append(bound)
        return next(numbers)

    monkeypatch.setattr("secrets.randbelow", next_number)
    assert len({random_code(2) for _ in range(62**2)}) == 62**2
    assert set(asked) == {62**2}


def test_characters_are_evenly_spread() -> None:
    counts = Counter("".join(random_code(32) for _ in range(2_000)))
    expected = 2_000 * 32 / 62
    deviation = sum((counts[character] - expected) ** 2 / expected for character in ALPHABET)
    assert deviation < 140  # chi-squared with 61 degrees of freedom passes this once in ten million runs


@pytest.mark.parametrize("length", [-1, 0, 3, 33])
def test_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="4 to 32"):
        random_codes(length)


def test_a_random_code_is_never_a_reserved_word(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["dOcS", "auth", "free"])
    monkeypatch.setattr(codes, "random_code", lambda length: next(drawn))
    assert random_codes(4)() == "free"


@pytest.mark.parametrize("word", ["api", "docs", "healthz", "readyz", "metrics", "robots", "favicon", "static"])
def test_our_own_names_are_reserved_in_any_case(word: str) -> None:
    assert is_reserved(word)
    assert is_reserved(word.upper())
    assert not is_reserved(word + "1")


def test_reserved_words_are_written_in_lower_case() -> None:
    assert {word.lower() for word in RESERVED} == RESERVED
