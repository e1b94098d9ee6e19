"""Log lines: one an event, as JSON for collectors and as text for eyes."""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest

from shortener.observe import log

SetUp = Callable[[str, str], io.StringIO]


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetUp]:
    """Set logging up as `serve` does, onto a string; afterwards everything is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("shortener")
    before = root.handlers[:], root.level, ours.level

    def onto_a_string(level: str, line_format: str) -> io.StringIO:
        shown = io.StringIO()
        monkeypatch.setattr("sys.stderr", shown)
        log.set_up(level, line_format)
        return shown

    yield onto_a_string
    root.handlers[:], root.level, ours.level = before
    root.manager._clear_cache()  # type: ignore[attr-defined]  # levels were set behind its back


def test_json_lines_hold_time_level_logger_event_and_facts(set_up: SetUp) -> None:
    shown = set_up("info", "json")
    facts = {"request_id": "abc", "count": 3, "path": "a\n\x1b[31m\u2028b"}
    logging.getLogger("shortener.links").info("something %s", "happened", extra=facts)
    [line] = shown.getvalue().splitlines()
    document = json.loads(line)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document.pop("time"))
    assert document == {"level": "info", "logger": "shortener.links", "event": "something happened"} | facts
    assert line.startswith('{"time": ')


def test_a_traceback_is_part_of_the_json_line(set_up: SetUp) -> None:
    shown = set_up("info", "json")
    try:
        raise LookupError("two\nlines")
    except LookupError:
        logging.getLogger("shortener").exception("failed", extra={"request_id": "abc"})
    [line] = shown.getvalue().splitlines()
    document = json.loads(line)
    assert (document["level"], document["event"], document["request_id"]) == ("error", "failed", "abc")
    assert "LookupError: two\nlines" in document["exc_info"]


def test_text_lines_hold_the_same(set_up: SetUp) -> None:
    shown = set_up("debug", "text")
    logging.getLogger("shortener.x").debug("fine", extra={"count": 3, "path": "a\nb"})
    logging.getLogger("shortener.x").warning("bad: %s", "a\n2026 forged\x1b[31m")
    lines = shown.getvalue().splitlines()
    assert [line.partition("Z ")[2] for line in lines] == [
        r"debug   shortener.x: fine count=3 path='a\nb'",
        r"warning shortener.x: bad: a\n2026 forged\x1b[31m",
    ]


def test_a_traceback_follows_the_text_line(set_up: SetUp) -> None:
    shown = set_up("info", "text")
    try:
        raise LookupError("why")
    except LookupError:
        logging.getLogger("shortener").exception("failed")
    assert shown.getvalue().splitlines()[-1] == "LookupError: why"


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["shortener debug", "shortener info", "shortener warning", "shortener error", "other warning"]),
        ("info", ["shortener info", "shortener warning", "shortener error", "other warning"]),
        ("warning", ["shortener warning", "shortener error", "other warning"]),
        ("error", ["shortener error"]),
    ],
)
def test_the_level_is_for_our_lines_and_libraries_only_warn(set_up: SetUp, level: str, expected: list[str]) -> None:
    shown = set_up(level, "json")
    for name in ("debug", "info", "warning", "error"):
        logging.getLogger("shortener.any").log(logging.getLevelNamesMapping()[name.upper()], f"shortener {name}")
    for name in ("debug", "info", "warning"):
        logging.getLogger("aiohttp").log(logging.getLevelNamesMapping()[name.upper()], f"other {name}")
    assert [json.loads(line)["event"] for line in shown.getvalue().splitlines()] == expected


def test_setting_up_twice_shows_each_line_once(set_up: SetUp) -> None:
    set_up("info", "text")
    shown = set_up("info", "json")
    logging.getLogger("shortener").info("once")
    assert len(shown.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    ("line_format", "terminal", "expected"),
    [
        ("auto", True, False),
        ("auto", False, True),
        ("json", True, True),
        ("text", False, False),
    ],
)
def test_people_at_a_terminal_read_text_unless_configured(
    monkeypatch: pytest.MonkeyPatch, line_format: str, terminal: bool, expected: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    assert log.is_json(line_format) is expected
