"""Charts and QR codes in characters."""

import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shortener.cli.display import chart, half_blocks
from shortener.links.qr import modules, rows

SHORT_URL = "http://localhost:8081/hello"


def test_a_chart_shows_each_count_in_eighths_of_a_row() -> None:
    assert list(chart([0, 1, 24, 48], width=4)) == [
        ("48", "   █"),
        ("", "   █"),
        ("", "   █"),
        ("", "  ██"),
        ("", "  ██"),
        ("0", " ▁██"),
    ]


def test_few_counts_have_broad_bars_with_gaps() -> None:
    assert list(chart([3, 0, 6], width=72)) == [
        ("6", "      ██ "),
        ("", "      ██ "),
        ("", "      ██ "),
        ("", "██    ██ "),
        ("", "██    ██ "),
        ("0", "██    ██ "),
    ]


def test_counts_beyond_the_width_are_added_up() -> None:
    assert list(chart([1, 2, 3, 4, 5], width=3)) == list(chart([3, 7, 5], width=3))
    assert next(iter(chart([1] * 1000, width=10)))[0] == "100"


@given(st.lists(st.integers(0, 1 << 40), max_size=200), st.integers(-3, 80))
def test_a_chart_fits_and_hides_no_click(counts: list[int], width: int) -> None:
    rows = [bars for _, bars in chart(counts, width=width)]
    assert len(rows) == 6
    assert {len(bars) for bars in rows} == {len(rows[0])}
    assert len(rows[0]) <= max(1, width)
    assert (rows[-1].strip() == "") == (sum(counts) == 0)


@pytest.mark.parametrize("is_inverted", [False, True])
@pytest.mark.parametrize("short_url", [SHORT_URL, f"https://s.example.com/{'x' * 50}"])
def test_a_drawn_qr_code_scans(short_url: str, is_inverted: bool) -> None:
    assert (
        scanned(list(half_blocks(rows(modules(short_url)), is_inverted=is_inverted)), is_inverted=is_inverted)
        == short_url
    )


def scanned(lines: list[str], *, is_inverted: bool) -> str:
    """What a scanner reads from a terminal: black on white, or white on black where `is_inverted`."""
    ink = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    rows = [[ink[character][half] ^ is_inverted for character in line] for line in lines for half in (0, 1)]
    image = Image.new("L", (len(rows[0]), len(rows)), 255)
    image.putdata([0 if black else 255 for row in rows for black in row])
    [code] = zxingcpp.read_barcodes(image.resize((image.width * 8, image.height * 8), Image.Resampling.NEAREST))
    return code.text
