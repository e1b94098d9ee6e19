"""The one table from the domain's failures to the numbers of gRPC and HTTP."""

from dataclasses import dataclass

from grpclib.const import Status

from shortener import errors
from shortener.errors import Code


@dataclass(frozen=True, slots=True)
class Row:
    """How one kind of failure looks on both wires. `title` and `type` are those of RFC 9457."""

    grpc: Status
    http: int
    title: str

    def __post_init__(self) -> None:
        """Refuse a success as a failure's status."""
        assert self.grpc is not Status.OK
        assert self.http >= 400


TABLE: dict[Code, Row] = {
    Code.INVALID: Row(Status.INVALID_ARGUMENT, 400, "Invalid request"),
    Code.UNAUTHENTICATED: Row(Status.UNAUTHENTICATED, 401, "Authentication required"),
    Code.FORBIDDEN: Row(Status.PERMISSION_DENIED, 403, "Not allowed"),
    Code.NOT_FOUND: Row(Status.NOT_FOUND, 404, "Not found"),
    Code.GONE: Row(Status.NOT_FOUND, 410, "No longer available"),
    Code.CONFLICT: Row(Status.ALREADY_EXISTS, 409, "Already exists"),
    Code.ABORTED: Row(Status.ABORTED, 412, "Changed meanwhile"),
    Code.EXHAUSTED: Row(Status.RESOURCE_EXHAUSTED, 429, "Slow down"),
    Code.UNAVAILABLE: Row(Status.UNAVAILABLE, 503, "Try again later"),
    Code.DEADLINE: Row(Status.DEADLINE_EXCEEDED, 504, "Deadline exceeded"),
    Code.INTERNAL: Row(Status.INTERNAL, 500, "Internal error"),
}

OVERLOAD_HTTP = 503
"""What `errors.Exhausted` with `overload` is over HTTP: the server's own limit rather than the caller's."""


def http_status(failure: errors.Failure) -> int:
    """Return the HTTP status that answers `failure`."""
    if isinstance(failure, errors.Exhausted) and failure.overload:
        return OVERLOAD_HTTP
    return TABLE[failure.code].http


def problem_type(code: Code | str) -> str:
    """Return the RFC 9457 `type` of a failure: a relative reference that the gateway leads to its docs page."""
    return f"/problems/{code.value if isinstance(code, Code) else code}"
