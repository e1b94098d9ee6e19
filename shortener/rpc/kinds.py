"""How each kind of field is written: its integers' ranges, its fixed sizes, its wire type; and shared pieces of source.

Part of the code generator: `codecgen` writes builders and encoders with it, `decodegen` decoders.
"""

import struct

from shortener.rpc.fields import Field
from shortener.rpc.protowire import FIXED32, FIXED64, SIZED, VARINT

# Range and reading of each integer kind: lowest value, highest value, and an expression from the raw varint.
INTEGERS = {
    "int32": (-(1 << 31), (1 << 31) - 1, "((v & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000"),
    "int64": (-(1 << 63), (1 << 63) - 1, "(v ^ 0x8000000000000000) - 0x8000000000000000"),
    "uint32": (0, (1 << 32) - 1, "v & 0xFFFFFFFF"),
    "uint64": (0, (1 << 64) - 1, "v"),
    "sint32": (-(1 << 31), (1 << 31) - 1, "((v & 0xFFFFFFFF) >> 1) ^ -(v & 1)"),
    "sint64": (-(1 << 63), (1 << 63) - 1, "(v >> 1) ^ -(v & 1)"),
    "bool": (0, 1, "v != 0"),
}
FIXED = {"fixed32": "<I", "sfixed32": "<i", "float": "<f", "fixed64": "<Q", "sfixed64": "<q", "double": "<d"}
ZEROS = {"string": "''", "bytes": "b''", "bool": "False", "float": "0.0", "double": "0.0", "message": "UNSET"}


def wire_type(field: Field) -> int:
    """Return the wire type of one value of the field."""
    if field.kind in INTEGERS:
        return VARINT
    if field.kind in FIXED:
        return FIXED32 if struct.calcsize(FIXED[field.kind]) == 4 else FIXED64
    return SIZED


def is_packed(field: Field) -> bool:
    """Return whether all values of a repeated field travel as one, as proto3 writes numbers."""
    return field.repeated and wire_type(field) != SIZED


def tag_of(field: Field) -> int:
    """Return the tag under which the field is written."""
    return field.number << 3 | (SIZED if is_packed(field) else wire_type(field))


def zero(field: Field) -> str:
    """Return the source of the value of a field that is absent; that of a list is made anew each time."""
    return "UNSET" if field.repeated else ZEROS.get(field.kind, "0")


def instance(fields: tuple[Field, ...], values: dict[str, str]) -> list[str]:
    """Return the end of a function whose result is a message that holds the expressions `values`.

    Beside the fields it has what betterproto's own methods expect of every message.
    """
    items = [f"{field.name!r}: {values[field.name]}" for field in fields]
    items += ["'_serialized_on_wire': True", "'_unknown_fields': b''", "'_group_current': NO_GROUPS"]
    return [
        "    message = new(cls)",
        "    put(message, '__dict__', {" + ", ".join(items) + "})",
        "    return message",
    ]
