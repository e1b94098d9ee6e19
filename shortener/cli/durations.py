"""Life spans as people write them on a command line."""

import re
from datetime import UTC, datetime

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"([0-9]{1,9})([smhdw])")


def parse_moment(text: str, now: int) -> int:
    """Return the Unix time that `text` means: a span from now (`45s 30m 12h 7d 2w`) or an ISO 8601 date or time (UTC).

    Raises `ValueError` for anything else.
    """
    if span := _SPAN.fullmatch(text):
        return now + int(span[1]) * _UNIT_SECONDS[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a span like 7d nor a date like 2030-12-31") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
