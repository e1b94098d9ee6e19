"""Bots and devices, measured on public corpora; `python -m tests.agents` prints the whole table."""

from collections import Counter

import pytest

from tests.agents.__main__ import LIST, confusion, print_table, refresh
from tests.agents.corpora import BOTS, IS_MISSING, MISSING, PHONES, TABLETS, samples

pytestmark = pytest.mark.skipif(IS_MISSING, reason=MISSING)


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, str], Counter[str]]:
    return confusion(samples())


def test_nobody_with_a_phone_or_a_tablet_is_taken_for_a_bot(table: dict[tuple[str, str], Counter[str]]) -> None:
    counts = [table["matomo", kind] for kind in (*PHONES, *TABLETS)]

    assert sum(count.total() for count in counts) == 8_367
    assert sum(count["bot"] for count in counts) == 0


@pytest.mark.parametrize("corpus", ["matomo", "crawler-user-agents", "isbot"])
def test_of_known_bots_95_in_100_are_recognised(table: dict[tuple[str, str], Counter[str]], corpus: str) -> None:
    counts = table[corpus, BOTS]

    assert counts.total() > 300
    assert counts["bot"] >= 0.95 * counts.total()


def test_phones_are_phones_and_tablets_tablets(table: dict[tuple[str, str], Counter[str]]) -> None:
    phones, tablets = table["matomo", "smartphone"], table["matomo", "tablet"]

    assert phones["mobile"] >= 0.98 * phones.total()
    assert tablets["tablet"] >= 0.82 * tablets.total()  # Many call themselves `Mobile`, like phones.


def test_the_shipped_list_is_that_of_the_installed_package(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    anew = tmp_path_factory.mktemp("list") / "bots.txt"
    monkeypatch.setattr("tests.agents.__main__.LIST", anew)

    refresh()

    assert anew.read_text() == LIST.read_text()


def test_the_documented_table_is_the_one_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(samples())

    assert capsys.readouterr().out in (LIST.parents[4] / "docs" / "statistics.md").read_text()
