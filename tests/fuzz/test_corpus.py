"""The inputs that fuzzing has kept, each read again: they reach all that the fuzzers have reached."""

import random
from collections.abc import Iterator

import pytest

from tests.fuzz.frame_mutator import mutate
from tests.fuzz.targets import CORPUS, NAMES, Check, inputs, target


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def check(name: str) -> Iterator[Check]:
    with target(name) as opened:
        yield opened


def test_every_kept_input_is_read_rightly(name: str, check: Check) -> None:
    kept = inputs(name)
    assert kept
    for data in kept:
        check(data)


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < 250_000
    assert {path.name for path in CORPUS.iterdir()} == set(NAMES)


def test_conversations_changed_at_random_keep_the_rules() -> None:
    choose, kept = random.Random(1), inputs("connection")
    with target("connection") as check:
        for _ in range(200):
            data = choose.choice(kept)
            for _ in range(choose.randint(1, 5)):
                data = mutate(data, 4000, choose.getrandbits(32))
            check(data)
