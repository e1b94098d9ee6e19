"""Everything that can go wrong, in the domain's own words; a leaf that knows no protocol.

`net/statuses.py` holds the one table from `Code` to gRPC and HTTP numbers.
"""

import enum


class Code(enum.Enum):
    """The whole vocabulary of failure that crosses a wire."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    GONE = "gone"
    CONFLICT = "conflict"
    ABORTED = "aborted"
    EXHAUSTED = "exhausted"
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    INTERNAL = "internal"


class OperatorError(Exception):
    """The program cannot do what its operator asked for; the message is one line that names the file or key at fault.

    It is shown without a traceback. `status` is the exit status of a command that ends with it.
    """

    status = 1


class Failure(Exception):  # noqa: N818 - read as errors.NotFound at every raise; see docs/architecture.md
    """Base of all expected failures. `message` is shown to callers; `field` names the input at fault."""

    code: Code

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Invalid(Failure):
    """A value breaks a rule of the contract; `field` names it as the wire does (`long_url`)."""

    code = Code.INVALID


def require(holds: object, field: str, rule: str) -> None:
    """Raise `Invalid` naming `field` unless `holds`; `rule` says what it has to be ("is required")."""
    if not holds:
        raise Invalid(f"{field} {rule}", field=field)


class Unauthenticated(Failure):
    """No, bad or expired token; unknown email or wrong password, with one message for both."""

    code = Code.UNAUTHENTICATED


class Forbidden(Failure):
    """The caller is known, but may not do this."""

    code = Code.FORBIDDEN


class NotFound(Failure):
    """There is no such thing, or it is not the caller's: existence is not revealed."""

    code = Code.NOT_FOUND


class Gone(Failure):
    """The link existed but is expired or deleted (redirects only)."""

    code = Code.GONE


class Conflict(Failure):
    """A unique value is taken. `suggestions` are free values to offer instead."""

    code = Code.CONFLICT

    def __init__(self, message: str, *, field: str = "", suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(message, field=field)
        self.suggestions = suggestions


class Aborted(Failure):
    """What is to be changed is no longer what the caller has read (a failed `If-Match` or etag)."""

    code = Code.ABORTED


class Exhausted(Failure):
    """A limit or quota is reached, or the disk is full. `retry_after_seconds` is a whole number, at least 1.

    `overload` tells a limit of the whole server (HTTP 503) from one of the caller's own (HTTP 429).
    """

    code = Code.EXHAUSTED

    def __init__(self, message: str, *, field: str = "", retry_after_seconds: int = 1, overload: bool = False) -> None:
        super().__init__(message, field=field)
        self.retry_after_seconds = retry_after_seconds
        self.overload = overload


class Unavailable(Failure):
    """The database is busy past its timeout, or the server is stopping."""

    code = Code.UNAVAILABLE
