"""The guard around RPC methods, without any server."""

import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest
from grpclib import GRPCError
from grpclib.const import Cardinality, Handler, Status
from grpclib.metadata import Deadline

from shortener import errors
from shortener.errors import Code
from shortener.rpc.details import details_of, to_grpc
from shortener.rpc.guard import Observe, guarded

PATH = "/test.Things/Do"


class Stream:
    """As much of a stream as the guard looks at."""

    def __init__(self, deadline_seconds: float | None = None, **metadata: str) -> None:
        self.deadline = None if deadline_seconds is None else Deadline.from_timeout(deadline_seconds)
        self.metadata = metadata
        self.sent: list[object] = []


class Things:
    """One method that raises what it was given."""

    def __init__(self, error: BaseException | None = None) -> None:
        self._error = error

    def __mapping__(self) -> dict[str, Handler]:
        return {PATH: Handler(self._do, Cardinality.UNARY_UNARY, str, int)}

    async def _do(self, stream: Stream) -> None:
        if self._error is not None:
            raise self._error
        stream.sent.append("done")


def call(stream: Stream, error: BaseException | None = None, **options: Any) -> None:
    """Run the guarded method to its end in one step: it must not wait for anything."""
    [service] = guarded([Things(error)], new_id=lambda: "request-1", **options)
    with pytest.raises(StopIteration):
        service.__mapping__()[PATH].func(stream).send(None)


def refusal(stream: Stream, error: BaseException | None = None, **options: Any) -> tuple[Status, str | None]:
    [service] = guarded([Things(error)], new_id=lambda: "request-1", **options)
    with pytest.raises(GRPCError) as raised:
        service.__mapping__()[PATH].func(stream).send(None)
    assert raised.value.__cause__ is None
    return raised.value.status, raised.value.message


def test_a_handler_that_does_not_wait_is_not_suspended() -> None:
    stream = Stream()
    call(stream, observe=lambda path, status, seconds: stream.sent.append((path, status)))
    assert stream.sent == ["done", (PATH, "OK")]


def test_paths_types_and_order_stay() -> None:
    [service] = guarded([Things()], new_id=str)
    [(path, handler)] = service.__mapping__().items()
    assert (path, handler.cardinality, handler.request_type, handler.reply_type) == (
        PATH,
        Cardinality.UNARY_UNARY,
        str,
        int,
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Invalid("m"), Status.INVALID_ARGUMENT),
        (errors.Unauthenticated("m"), Status.UNAUTHENTICATED),
        (errors.Forbidden("m"), Status.PERMISSION_DENIED),
        (errors.NotFound("m"), Status.NOT_FOUND),
        (errors.Gone("m"), Status.NOT_FOUND),
        (errors.Conflict("m"), Status.ALREADY_EXISTS),
        (errors.Exhausted("m"), Status.RESOURCE_EXHAUSTED),
        (errors.Exhausted("m", overload=True), Status.RESOURCE_EXHAUSTED),
        (errors.Unavailable("m"), Status.UNAVAILABLE),
        (GRPCError(Status.UNIMPLEMENTED, "m"), Status.UNIMPLEMENTED),
    ],
)
def test_each_failure_has_its_status(error: Exception, status: Status) -> None:
    assert refusal(Stream(), error) == (status, "m")


@pytest.mark.parametrize("error", [RuntimeError("secret"), KeyError("secret"), AssertionError(), TimeoutError()])
def test_anything_else_is_internal_with_a_request_id(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    assert refusal(Stream(), error) == (Status.INTERNAL, "internal error (request request-1)")
    [record] = caplog.records
    assert (vars(record)["request_id"], vars(record)["method"]) == ("request-1", PATH)
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_timeout_at_the_calls_own_deadline_is_deadline_exceeded(caplog: pytest.LogCaptureFixture) -> None:
    assert refusal(Stream(deadline_seconds=0), TimeoutError()) == (Status.DEADLINE_EXCEEDED, "deadline exceeded")
    assert refusal(Stream(deadline_seconds=60), TimeoutError())[0] is Status.INTERNAL
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("seconds", "status"), [(None, Status.CANCELLED), (60, Status.CANCELLED), (0, Status.DEADLINE_EXCEEDED)]
)
def test_cancellation_passes_and_is_observed(seconds: float | None, status: Status) -> None:
    seen: list[str] = []
    observe: Observe = lambda path, status, elapsed: seen.append(status)  # noqa: E731 - short
    [service] = guarded([Things(asyncio.CancelledError())], new_id=str, observe=observe)
    with pytest.raises(asyncio.CancelledError):
        service.__mapping__()[PATH].func(Stream(deadline_seconds=seconds)).send(None)
    assert seen == [status.name]


@pytest.mark.parametrize("header", ["Bearer s3cret", "bearer s3cret", "BEARER s3cret"])
def test_holders_of_the_service_token_pass(header: str) -> None:
    call(Stream(authorization=header), service_token="s3cret")


@pytest.mark.parametrize(
    "header", ["", "s3cret", "Bearer", "Bearer  s3cret", "Bearer s3cret ", "Basic s3cret", "Bearer é"]
)
def test_others_do_not(header: str) -> None:
    refused = (Status.UNAUTHENTICATED, "a valid service token is required")
    assert refusal(Stream(authorization=header), service_token="s3cret") == refused
    assert refusal(Stream(), service_token="s3cret") == refused


def test_open_services_need_no_token() -> None:
    call(Stream(), service_token="s3cret", open_services=frozenset({"test.Things"}))


def test_the_log_levels_of_refusals(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for error in (errors.Invalid("m"), errors.NotFound("m"), errors.Conflict("m")):
        refusal(Stream(), error)
    assert caplog.records == []
    for error in (errors.Unauthenticated("m"), errors.Exhausted("m"), errors.Unavailable("m")):
        refusal(Stream(), error)
    assert [(record.levelname, vars(record)["code"]) for record in caplog.records] == [
        ("INFO", "unauthenticated"),
        ("INFO", "exhausted"),
        ("WARNING", "unavailable"),
    ]


def test_details_name_the_field() -> None:
    expected: list[Message] = [
        BadRequest(field_violations=[BadRequest.FieldViolation(field="long_url", description="long_url is required")])
    ]
    assert details_of(errors.Invalid("long_url is required", field="long_url")) == expected


@pytest.mark.parametrize("failure", [errors.Invalid("m"), errors.Conflict("m"), errors.NotFound("m", field="x")])
def test_without_anything_to_say_there_are_no_details(failure: errors.Failure) -> None:
    assert details_of(failure) == []
    assert to_grpc(failure).details is None


def test_every_code_has_a_row() -> None:
    from shortener.net.statuses import TABLE, http_status, problem_type

    assert set(TABLE) == set(Code)
    assert http_status(errors.Exhausted("m")) == 429
    assert http_status(errors.Exhausted("m", overload=True)) == 503
    assert {problem_type(code) for code in Code} == {f"/problems/{code.value}" for code in Code}


@pytest.mark.parametrize("error", [errors.NotFound("m"), errors.Exhausted("m"), GRPCError(Status.UNAVAILABLE)])
def test_what_a_refused_call_held_is_let_go_without_the_garbage_collector(error: Exception) -> None:
    class Answer:
        """Stands for much memory."""

    answers: list[weakref.ref[Answer]] = []

    async def fail(stream: Stream) -> None:
        answer = Answer()
        answers.append(weakref.ref(answer))
        raise type(error)(*error.args)

    things = Things()
    handler = things.__mapping__()[PATH]
    things.__mapping__ = lambda: {PATH: handler._replace(func=fail)}  # type: ignore[method-assign]
    [service] = guarded([things], new_id=str)
    gc.disable()
    try:
        with contextlib.suppress(GRPCError):
            service.__mapping__()[PATH].func(Stream()).send(None)
        assert [answer() for answer in answers] == [None]
    finally:
        gc.enable()
