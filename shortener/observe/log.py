"""Log lines: one an event, on standard error, as JSON or text. Facts travel in `extra`, never inside the message."""

import logging
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime

from pythonjsonlogger.json import JsonFormatter

from shortener.errors import Code, Failure

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Json(JsonFormatter):
    """Names the fields as log collectors expect them."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger", "message": "event"},
        )

    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        """Put the time first."""
        log_data["time"] = timestamp(record.created)
        super().add_fields(log_data, record, message_dict)
        log_data["level"] = record.levelname.lower()


class _Text(logging.Formatter):
    """The same for human eyes: time, level, logger, message, then key=value facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback below it if there is one."""
        facts = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        start = f"{timestamp(record.created)} {record.levelname.lower():7} {record.name}:"
        line = f"{start} {_one_line(record.getMessage())}{facts_text(facts)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _one_line(text: str) -> str:
    """Return `text` with whatever moves a terminal's cursor written out: nobody forges a line of ours."""
    return text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def timestamp(seconds: float) -> str:
    """Return a Unix time as log lines have it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def facts_text(facts: Mapping[str, object]) -> str:
    """Return facts as text lines have them behind the message."""
    return "".join(f" {key}={value!r}" for key, value in facts.items())


def is_json(line_format: str) -> bool:
    """Tell whether lines of the configured format are JSON; "auto" means text where somebody looks."""
    return line_format == "json" or (line_format == "auto" and not sys.stderr.isatty())


def set_up(level: str, line_format: str) -> None:
    """Send all log lines of this process to standard error. For the command line; embedding leaves logging alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if is_json(line_format) else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    wanted = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(wanted, logging.WARNING))  # of the libraries only what is amiss
    logging.getLogger("shortener").setLevel(wanted)


class OncePerSecond:
    """Lets one in a second through, and tells how many there were."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._count = 0

    def __call__(self) -> int:
        """Count one more; return how many came since the last one let through, 0 while the second is not over."""
        self._count += 1
        now = time.monotonic()
        if now - self._last < 1.0:
            return 0
        count, self._count, self._last = self._count, 0, now
        return count


class RefusalLog:
    """Logs refusals that operators should see, a line a second of each place and code: an overload must not become two.

    `log` takes the lines, `event` is what they say, `place` the name of the fact that says where.
    """

    def __init__(self, log: logging.Logger, event: str, place: str) -> None:
        self._log = log
        self._event = event
        self._place = place
        self._may_log: defaultdict[tuple[str, Code], OncePerSecond] = defaultdict(OncePerSecond)

    def __call__(self, where: str, failure: Failure) -> None:
        """Log a refusal, perhaps: `where` is a method's path, or a route."""
        level = _LEVELS.get(failure.code)
        if level is not None and (calls := self._may_log[where, failure.code]()):
            facts = {self._place: where, "code": failure.code.value, "calls": calls}
            self._log.log(level, self._event, extra=facts)


_LEVELS = {Code.UNAUTHENTICATED: logging.INFO, Code.EXHAUSTED: logging.INFO, Code.UNAVAILABLE: logging.WARNING}
