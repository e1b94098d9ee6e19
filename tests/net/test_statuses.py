"""The one table from failures to statuses, against the contract page's section Errors."""

from grpclib.const import Status

from shortener import errors
from shortener.net.statuses import TABLE, http_status


def test_each_failure_has_the_statuses_of_the_contract() -> None:
    assert {code.value: (row.grpc, row.http) for code, row in TABLE.items()} == {
        "invalid": (Status.INVALID_ARGUMENT, 400),
        "unauthenticated": (Status.UNAUTHENTICATED, 401),
        "forbidden": (Status.PERMISSION_DENIED, 403),
        "not_found": (Status.NOT_FOUND, 404),
        "gone": (Status.NOT_FOUND, 410),
        "conflict": (Status.ALREADY_EXISTS, 409),
        "aborted": (Status.ABORTED, 412),
        "exhausted": (Status.RESOURCE_EXHAUSTED, 429),
        "unavailable": (Status.UNAVAILABLE, 503),
        "deadline": (Status.DEADLINE_EXCEEDED, 504),
        "internal": (Status.INTERNAL, 500),
    }


def test_failures_bring_the_status_of_their_code() -> None:
    assert http_status(errors.Forbidden("no")) == 403
    assert http_status(errors.Aborted("changed")) == 412
    assert http_status(errors.Exhausted("slow down")) == 429
    assert http_status(errors.Exhausted("full", overload=True)) == 503
