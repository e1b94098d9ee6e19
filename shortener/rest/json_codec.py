"""JSON in and out: bytes to a dict within limits, and messages to JSON and back by their field tables.

Names are those of the protos, integers are numbers, every field is present in what we write. What we read is strict:
a number is not a text, and what readers disagree about (duplicate names, NaN, half a surrogate) is refused.
"""

import asyncio
import functools
import json
import math
import re
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn, TypeVar

import betterproto
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from shortener import errors
from shortener.rpc.codec import as_google, as_request
from shortener.rpc.descriptors import descriptor, google_class

M = TypeVar("M", bound=betterproto.Message)

DEPTH_MAX = 32
"""How deep arrays and objects may nest in a request; our own messages nest two deep."""
SLICE = 500
"""Parts of a list written in one go: about a millisecond."""
_DIGITS_MAX = 20

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_INTEGER = ("an integer", (int,))
_NUMBER = ("a number", (int, float))
_TYPES: dict[int, tuple[str, tuple[type, ...]]] = {
    FieldDescriptor.CPPTYPE_STRING: ("a string", (str,)),
    FieldDescriptor.CPPTYPE_BOOL: ("true or false", (bool,)),
    FieldDescriptor.CPPTYPE_INT32: _INTEGER,
    FieldDescriptor.CPPTYPE_INT64: _INTEGER,
    FieldDescriptor.CPPTYPE_UINT32: _INTEGER,
    FieldDescriptor.CPPTYPE_UINT64: _INTEGER,
    FieldDescriptor.CPPTYPE_FLOAT: _NUMBER,
    FieldDescriptor.CPPTYPE_DOUBLE: _NUMBER,
}
"""What JSON must have for a field of each type, in words and as Python reads it."""


def read_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object (RFC 8259) in `data`, whose size the caller has bounded.

    Raises `errors.Invalid` for anything else: not UTF-8, a byte order mark, deeper than `DEPTH_MAX`, duplicate names,
    integers of more than 20 digits, NaN and infinities, surrogates without their other half, trailing text.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise errors.Invalid("the body is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise errors.Invalid("the body begins with a byte order mark")
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        raise errors.Invalid(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise _too_deep() from None
    if text.count("[") + text.count("{") > DEPTH_MAX:
        _check_depth(value)
    if not isinstance(value, dict):
        raise errors.Invalid("the body must be a JSON object")
    if _SURROGATE.search(text):
        _check_surrogates(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        level = [inner for inner in level if isinstance(inner, dict | list)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> errors.Invalid:
    return errors.Invalid(f"the body nests deeper than {DEPTH_MAX} levels")


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
    """Return a request with the `values` of a JSON object, whatever else the object holds.

    An absent field and null are the field's zero, fields named in `hidden` too. Raises `errors.Invalid` naming the
    field whose value is of another type or out of range.
    """
    message = google_class(cls)()
    for field in descriptor(cls).fields:
        value = values.get(field.name)
        if value is None or field.name in hidden:
            continue
        try:
            if not field.is_repeated:
                setattr(message, field.name, _checked(field, value))
            elif isinstance(value, list):
                getattr(message, field.name).extend([_checked(field, item) for item in value])
            else:
                raise errors.Invalid(f"{field.name} must be an array", field=field.name)
        except ValueError:
            raise errors.Invalid(f"{field.name} is out of range", field=field.name) from None
    return as_request(cls, message)


def _checked(field: FieldDescriptor, value: Any) -> Any:
    wanted, types = _TYPES[field.cpp_type]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise errors.Invalid(f"{field.name} must be {wanted}", field=field.name)
    return value


def message_to_dict(message: object) -> dict[str, Any]:
    """Return every field of an answer by its proto name; an unset message inside it is None."""
    return _to_dict(as_google(message))


def _to_dict(message: Message) -> dict[str, Any]:
    return {name: _plain(message, name, convert, repeated) for name, repeated, convert in _members(message.DESCRIPTOR)}


@functools.cache
def _members(kind: Descriptor) -> tuple[tuple[str, bool, Callable[[Any], Any] | None], ...]:
    """Return name, whether it is a list, and what turns a value into JSON's (None: nothing does), of each field."""
    converters: dict[int, Callable[[Any], Any]] = {
        FieldDescriptor.CPPTYPE_MESSAGE: _to_dict,
        FieldDescriptor.CPPTYPE_FLOAT: shortest_float,
    }
    return tuple((field.name, field.is_repeated, converters.get(field.cpp_type)) for field in kind.fields)


def _plain(message: Message, name: str, convert: Callable[[Any], Any] | None, repeated: bool) -> Any:
    value = getattr(message, name)
    if repeated:
        return list(map(convert, value)) if convert else list(value)
    if convert is _to_dict and not message.HasField(name):
        return None
    return convert(value) if convert else value


async def render(message: object) -> bytes:
    """Return an answer as JSON in UTF-8; long lists are written in slices, and other calls are served between them."""
    google = as_google(message)
    members = []
    for name, repeated, convert in _members(google.DESCRIPTOR):
        if repeated and convert and len(getattr(google, name)) > SLICE:
            text = f"[{','.join([part async for part in _slices(getattr(google, name), convert)])}]"
        else:
            text = _text(_plain(google, name, convert, repeated))
        members.append(f"{_text(name)}:{text}")
    return f"{{{','.join(members)}}}".encode()


async def _slices(values: Any, convert: Callable[[Any], Any]) -> AsyncIterator[str]:
    for start in range(0, len(values), SLICE):
        await asyncio.sleep(0)
        yield _text(list(map(convert, values[start : start + SLICE])))[1:-1]


def dump(value: dict[str, Any]) -> bytes:
    """Return a JSON object as UTF-8; raises ValueError for NaN, infinities and lone surrogates."""
    return _text(value).encode()


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def shortest_float(value: float) -> float:
    """Return the number with the fewest digits that is the same 32-bit float as `value` is, as gRPC callers see it."""
    packed = struct.pack("<f", value)
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.pack("<f", short) == packed:
            return short
    return float(f"{value:.9g}")
