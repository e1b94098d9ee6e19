import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.net.accept import prefers_problem


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("application/problem+json", True),
        ("APPLICATION/JSON", True),
        ("application/json, text/plain, */*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("text/html, application/json", False),
        ("application/json, text/html", True),
        ("text/html;q=0.5, application/json;q=0.8", True),
        ("application/json;q=0", False),
        ("application/json;q=nan", False),
        ("application/json;q=1e9", False),
        ("application/json;q=" + "9" * 100, False),
        ("application/json; charset=utf-8; q=0.1", True),
        ("application/json," + " " * 1000, False),
    ],
)
def test_problem_details_are_for_those_who_ask(accept: str, expected: bool) -> None:
    assert prefers_problem(accept) is expected


@given(st.text(max_size=50) | st.text(alphabet="application/json;q=.0123456789, ", max_size=80))
def test_nothing_raises(accept: str) -> None:
    prefers_problem(accept)
