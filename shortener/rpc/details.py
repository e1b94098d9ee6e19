"""Failures as gRPC statuses with google.rpc details: the wire's half of the domain's errors."""

import functools

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped] # ships no annotations
    BadRequest,
    ErrorInfo,
    RetryInfo,
)
from grpclib import GRPCError

from shortener import errors
from shortener.net.statuses import TABLE

DOMAIN = "shortener"
"""`ErrorInfo.domain`: whose reasons these are."""


def to_grpc(failure: errors.Failure) -> GRPCError:
    """Return the status, message and details that answer `failure` over gRPC."""
    return GRPCError(TABLE[failure.code].grpc, failure.message, details_of(failure) or None)


def details_of(failure: errors.Failure) -> list[Message]:
    """Return google.rpc details: BadRequest for a field at fault, ErrorInfo for conflicts, RetryInfo for limits.

    Suggestions of a conflict travel as ErrorInfo's metadata `suggestion_1` and following, its field as `field`.
    """
    if isinstance(failure, errors.Invalid):
        violation = BadRequest.FieldViolation(field=failure.field, description=failure.message)
        return [BadRequest(field_violations=[violation])] if failure.field else []
    if isinstance(failure, errors.Conflict):
        metadata = {f"suggestion_{number}": text for number, text in enumerate(failure.suggestions, 1)}
        if failure.field:
            metadata["field"] = failure.field
        return [ErrorInfo(reason="ALREADY_EXISTS", domain=DOMAIN, metadata=metadata)] if metadata else []
    if isinstance(failure, errors.Exhausted):
        return [_retry_after(failure.retry_after_seconds)]
    return []


@functools.lru_cache(64)
def _retry_after(seconds: int) -> Message:
    info: Message = RetryInfo(retry_delay=Duration(seconds=seconds))
    return info
