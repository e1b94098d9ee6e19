"""JSON in and out: bytes to a dict within limits, and messages to JSON and back by their field tables.

Names are those of the protos, integers are numbers, every field is present in what we write. What we read is strict:
a number is not a text, and what readers disagree about (duplicate names, NaN, half a surrogate) is refused.
"""

import asyncio
import json
import math
import re
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any, NoReturn, TypeVar

import betterproto

from shortener import errors
from shortener.rpc.codec import build
from shortener.rpc.fields import UNSET, Field, fields_of

M = TypeVar("M", bound=betterproto.Message)

DEPTH_MAX = 32
"""How deep arrays and objects may nest in a request; our own messages nest two deep."""
SLICE = 500
"""Parts of a list written in one go: about a millisecond."""
_DIGITS_MAX = 20

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_INTEGER_RANGES = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "sint32": (-(1 << 31), (1 << 31) - 1),
    "sfixed32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "sint64": (-(1 << 63), (1 << 63) - 1),
    "sfixed64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "fixed32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
    "fixed64": (0, (1 << 64) - 1),
}
_ZEROS: dict[str, object] = {"string": "", "bytes": "", "bool": False, "float": 0.0, "double": 0.0, "message": None}


def read_object(data: bytes, *, depth_max: int = DEPTH_MAX) -> dict[str, Any]:
    """Return the JSON object (RFC 8259) in `data`, whose size the caller has bounded.

    Raises `errors.Invalid` for anything else: not UTF-8, a byte order mark, deeper than `depth_max`, duplicate names,
    integers of more than 20 digits, NaN and infinities, surrogates without their other half, trailing text.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise errors.Invalid("the body is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise errors.Invalid("the body begins with a byte order mark")
    _check_depth(text, depth_max)
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        raise errors.Invalid(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(value, dict):
        raise errors.Invalid("the body must be a JSON object")
    if _SURROGATE.search(text):
        _check_surrogates(value)
    return value


def _check_depth(text: str, depth_max: int) -> None:
    depth = 0
    for token in _TOKENS.finditer(text):
        character = text[token.start()]
        if character in "[{":
            depth += 1
            if depth > depth_max:
                raise errors.Invalid(f"the body nests deeper than {depth_max} levels")
        elif character in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise errors.Invalid("the body names a field twice")
    return value


def _integer(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise errors.Invalid("the body holds a number that is too long")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise errors.Invalid("the body holds a number that is too large")
    return value


def _constant(name: str) -> NoReturn:
    raise errors.Invalid(f"the body is not JSON: {name} is no number")


def _check_surrogates(value: dict[str, Any]) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise errors.Invalid("the body holds half a surrogate pair") from None


def message_from(cls: type[M], values: dict[str, Any], *, hidden: frozenset[str] = frozenset()) -> M:
    """Return a message with the `values` of a JSON object, whatever else the object holds.

    An absent field and null are the field's zero, fields named in `hidden` too. Raises `errors.Invalid` naming the
    field whose value is of another type or out of range.
    """
    given = {}
    for field in fields_of(cls):
        value = values.get(field.name)
        if value is not None and field.name not in hidden:
            given[field.name] = _read_list(field, value) if field.repeated else _read(field, value)
    return build(cls, **given)


def _read_list(field: Field, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise errors.Invalid(f"{field.name} must be an array", field=field.name)
    return [_read(field, item) for item in value]


def _read(field: Field, value: Any) -> Any:
    """Return `value` as a field's own type, or raise `errors.Invalid`."""
    if field.kind == "string":
        wanted, is_right = "a string", isinstance(value, str)
    elif field.kind == "bool":
        wanted, is_right = "true or false", isinstance(value, bool)
    elif field.kind in _INTEGER_RANGES:
        wanted, is_right = "an integer", isinstance(value, int) and not isinstance(value, bool)
    elif field.message is not None:
        wanted, is_right = "an object", isinstance(value, dict)
    elif field.kind in ("float", "double"):
        wanted, is_right = "a number", isinstance(value, int | float) and not isinstance(value, bool)
    else:
        raise TypeError(f"{field.name}: JSON for {field.kind} is not supported")
    if not is_right:
        raise errors.Invalid(f"{field.name} must be {wanted}", field=field.name)
    if field.message is not None:
        return message_from(field.message, value)
    if field.kind in _INTEGER_RANGES:
        low, high = _INTEGER_RANGES[field.kind]
        if not low <= value <= high:
            raise errors.Invalid(f"{field.name} is out of range", field=field.name)
    return float(value) if field.kind in ("float", "double") else value


def message_to_dict(message: betterproto.Message) -> dict[str, Any]:
    """Return every field of `message` by its proto name; an unset message inside it is None."""
    return {field.name: _plain(field, value) for field, value in _items(message)}


def _items(message: betterproto.Message) -> Iterator[tuple[Field, Any]]:
    values = object.__getattribute__(message, "__dict__")  # see codecgen: betterproto's own access is slow
    for field in fields_of(type(message)):
        yield field, values[field.name]


def _plain(field: Field, value: Any) -> Any:
    if value is UNSET:
        return [] if field.repeated else _ZEROS.get(field.kind, 0)
    if field.message is not None:
        return [message_to_dict(item) for item in value] if field.repeated else message_to_dict(value)
    if field.kind == "float":
        return [shortest_float(item) for item in value] if field.repeated else shortest_float(value)
    return value


def to_json(message: betterproto.Message) -> bytes:
    """Return `message` as JSON in UTF-8 without blanks."""
    return dump(message_to_dict(message))


async def render(message: betterproto.Message) -> bytes:
    """Return the same as `to_json`; long lists are written in slices, so that other calls are served in between."""
    members = []
    for field, value in _items(message):
        if field.repeated and value is not UNSET and len(value) > SLICE:
            text = f"[{','.join([part async for part in _slices(field, value)])}]"
        else:
            text = _text(_plain(field, value))
        members.append(f"{_text(field.name)}:{text}")
    return f"{{{','.join(members)}}}".encode()


async def _slices(field: Field, values: list[Any]) -> AsyncIterator[str]:
    for start in range(0, len(values), SLICE):
        await asyncio.sleep(0)
        yield _text(_plain(field, values[start : start + SLICE]))[1:-1]


def dump(value: dict[str, Any]) -> bytes:
    """Return a JSON object as UTF-8; raises ValueError for NaN, infinities and lone surrogates."""
    return _text(value).encode()


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def shortest_float(value: float) -> float:
    """Return the number with the fewest digits that is the same 32-bit float, as gRPC callers see it."""
    packed = struct.pack("<f", value)
    exact: float = struct.unpack("<f", packed)[0]
    for digits in range(6, 9):
        short = float(f"{exact:.{digits}g}")
        if struct.pack("<f", short) == packed:
            return short
    return float(f"{exact:.9g}")
