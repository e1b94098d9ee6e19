"""Life spans as people write them on a command line."""

import re
from datetime import UTC, datetime

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"([0-9]{1,9})([smhdw])")


def parse_moment(text: str, now: int) -> int:
    """Return the Unix time that `text` means: a span from now (`45s 30m 12h 7d 2w`) or an ISO 8601 date or time (UTC).

    Raises `ValueError` for anything else.
    """
    span = _span(text)
    return _date(text) if span is None else now + span


def parse_past(text: str, now: int) -> int:
    """Return the Unix time that `text` means: a span before now, or an ISO 8601 date or time (UTC) in the past.

    Raises `ValueError` for anything else.
    """
    span = _span(text)
    moment = _date(text) if span is None else now - span
    if not 0 < moment <= now:
        raise ValueError(f"{text!r} is not in the past" if moment > now else f"{text!r} is before 1970")
    return moment


def _span(text: str) -> int | None:
    span = _SPAN.fullmatch(text)
    return int(span[1]) * _UNIT_SECONDS[span[2]] if span else None


def _date(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a span like 7d nor a date like 2030-12-31") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
