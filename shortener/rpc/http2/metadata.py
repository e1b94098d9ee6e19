"""gRPC's own header values (gRPC over HTTP/2): timeouts, status messages, metadata, status details."""

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NewType, cast

from google.protobuf.message import Message
from google.rpc import status_pb2  # type: ignore[import-untyped]  # it brings no types
from multidict import MultiDict

from shortener.rpc.http2.hpack import Field

Value = str | bytes
Metadata = NewType("Metadata", "MultiDict[Value]")
Details = tuple[tuple[str, bytes], ...]
MetadataLike = Mapping[str, Value] | Collection[tuple[str, Value]]

_UNIT_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])").fullmatch
_NAME = re.compile(r"[0-9a-z_.\-]+").fullmatch
_TEXT = re.compile(r"[ -~]*").fullmatch
_UNSAFE = re.compile(rb"[^ -$&-~]")
_OURS = frozenset(("te", "content-type", "user-agent", "content-length", "trailer", "host"))


def parse_timeout(text: str) -> float:
    """Return the seconds that a grpc-timeout value stands for; ValueError unless it is 1 to 8 digits and a unit."""
    match = _TIMEOUT(text)
    if match is None:
        raise ValueError("malformed grpc-timeout")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def encode_message(text: str) -> str:
    """Return `text` percent-coded as grpc-message wants it; lone surrogates become question marks."""
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], text.encode("utf-8", "replace")).decode("ascii")


def decode_binary(text: str) -> bytes:
    """Return the bytes of a -bin value, padded or not; ValueError when it is not base64."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("malformed base64") from error


def encode_binary(value: bytes) -> str:
    """Return base64 without padding, as -bin values are sent."""
    return base64.b64encode(value).rstrip(b"=").decode("ascii")


def custom_pairs(fields: Iterable[Field]) -> list[tuple[str, Value]]:
    """Return what the caller added to a request: neither pseudo-headers nor HTTP's and gRPC's own fields.

    A -bin value may hold several, separated by commas. Raises ValueError for bad base64.
    """
    pairs: list[tuple[str, Value]] = []
    for name, value in fields:
        if name.startswith((":", "grpc-")) or name in _OURS:
            continue
        if name.endswith("-bin"):
            pairs += [(name, decode_binary(part.strip())) for part in value.split(",")]
        else:
            pairs.append((name, value))
    return pairs


def encode_custom(metadata: MetadataLike) -> list[Field]:
    """Return the fields for metadata that a handler sends; ValueError or TypeError for what cannot be sent."""
    items = metadata.items() if isinstance(metadata, Mapping) else metadata
    fields: list[Field] = []
    for name, value in items:
        if name in _OURS or name.startswith("grpc-") or not _NAME(name):
            raise ValueError(f"invalid metadata key: {name!r}")
        if name.endswith("-bin"):
            if not isinstance(value, bytes):
                raise TypeError(f"the value of {name!r} must be bytes")
            fields.append((name, encode_binary(value)))
            continue
        if not isinstance(value, str):
            raise TypeError(f"the value of {name!r} must be text")
        if not _TEXT(value):
            raise ValueError(f"the value of {name!r} is not printable ASCII")
        fields.append((name, value))
    return fields


def typed_details(details: Collection[Any]) -> Details:
    """Return the type and the bytes of google.protobuf messages."""
    messages = cast("Collection[Message]", details)
    return tuple((message.DESCRIPTOR.full_name, message.SerializeToString()) for message in messages)


def encode_details(status: int, message: str, details: Details) -> str:
    """Return grpc-status-details-bin: a google.rpc.Status around messages of these types and bytes."""
    whole = status_pb2.Status(code=status, message=message)
    for name, value in details:
        whole.details.add(type_url=f"type.googleapis.com/{name}", value=value)
    return encode_binary(whole.SerializeToString())
