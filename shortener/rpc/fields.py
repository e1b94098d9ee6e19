"""The field tables of generated messages, as plain values: what codec, JSON and OpenAPI are made from."""

import functools
from dataclasses import dataclass
from typing import Any

import betterproto

SCALARS: frozenset[str] = frozenset(
    {
        betterproto.TYPE_INT32,
        betterproto.TYPE_INT64,
        betterproto.TYPE_UINT32,
        betterproto.TYPE_UINT64,
        betterproto.TYPE_SINT32,
        betterproto.TYPE_SINT64,
        betterproto.TYPE_FIXED32,
        betterproto.TYPE_FIXED64,
        betterproto.TYPE_SFIXED32,
        betterproto.TYPE_SFIXED64,
        betterproto.TYPE_BOOL,
        betterproto.TYPE_FLOAT,
        betterproto.TYPE_DOUBLE,
        betterproto.TYPE_STRING,
        betterproto.TYPE_BYTES,
    }
)
"""Every scalar type of Protocol Buffers but enums, by the name of the language."""

UNSET: object = betterproto.PLACEHOLDER
"""What a message holds in place of a field that was never set."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: `kind` is the protobuf type's name, `message` the class when that is "message"."""

    name: str
    number: int
    kind: str
    repeated: bool
    message: type[betterproto.Message] | None


@functools.cache
def fields_of(cls: type[betterproto.Message]) -> tuple[Field, ...]:
    """Return the fields of a generated class in the order of their numbers.

    Raises TypeError for what the contract does not use: maps, oneofs, optional scalars, enums, wrapper and
    well-known types.
    """
    table: Any = cls._betterproto  # type: ignore[arg-type] # a class property, which mypy mistakes
    fields = (_field(cls, table, name) for name in table.sorted_field_names)
    return tuple(fields)


def _field(cls: type[betterproto.Message], table: Any, name: str) -> Field:
    meta = table.meta_by_field_name[name]
    python_type = table.cls_by_field[name]
    is_message = meta.proto_type == betterproto.TYPE_MESSAGE and issubclass(python_type, betterproto.Message)
    if meta.group or meta.optional or meta.wraps or not (is_message or meta.proto_type in SCALARS):
        raise TypeError(f"{cls.__name__}.{name} is of a kind the codec does not know")
    return Field(
        name=name,
        number=meta.number,
        kind=meta.proto_type,
        repeated=table.default_gen[name] is list,
        message=python_type if is_message else None,
    )
