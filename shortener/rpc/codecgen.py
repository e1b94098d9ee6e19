"""Writes the source of one message class's builder, encoder and decoder, and compiles it.

A loop over a field table costs three times as much as straight code for the fields at hand, so each class gets its
own three functions, made once from its field table. Names and numbers in them come from generated classes only.

The functions look at instances through their `__dict__`: betterproto's own attribute access costs several calls.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import betterproto

from shortener.rpc import protowire
from shortener.rpc.decodegen import decode_branches, decode_source
from shortener.rpc.fields import UNSET, Field, fields_of
from shortener.rpc.kinds import FIXED, INTEGERS, instance, is_packed, tag_of, zero
from shortener.rpc.protowire import MalformedError

Builder = Callable[..., betterproto.Message]
Encoder = Callable[[betterproto.Message], bytes]
Decoder = Callable[[bytes, int, int, int, dict[str, Any] | None], betterproto.Message]


@dataclass(frozen=True, slots=True)
class Compiled:
    """The three functions of one class.

    `decode(data, start, end, depth, old)` reads `data[start:end]` into a new message, or on top of the values `old`
    of an earlier occurrence.
    """

    build: Builder
    encode: Encoder
    decode: Decoder


def compile_class(
    cls: type[betterproto.Message], compiled: Callable[[type[betterproto.Message]], Compiled]
) -> Compiled:
    """Return the functions of `cls`; `compiled` gives those of the classes it contains, when they are called.

    Raises TypeError when a field is of a kind that is not supported (see `fields_of`).
    """
    fields = fields_of(cls)
    names: dict[str, Any] = _names(cls)
    names["unknown_run"] = protowire.unknown_run(tag for field in fields for tag, _ in decode_branches(field))
    for field in fields:
        names.update(_field_names(field, compiled))
    source = "\n".join([*_build_source(fields), *_encode_source(fields), *decode_source(fields)])
    code = compile(source, f"<codec of {cls.__name__}>", "exec")
    exec(code, names)  # noqa: S102 - the source is made here, from the generated classes' own field tables
    return Compiled(build=names["build"], encode=names["encode"], decode=names["decode"])


def _names(cls: type[betterproto.Message]) -> dict[str, Any]:
    """Return what every generated function may name."""
    return {
        "cls": cls,
        "new": object.__new__,
        "get": object.__getattribute__,
        "put": object.__setattr__,
        "UNSET": UNSET,
        "NO_GROUPS": {},  # written by betterproto only for classes with oneofs, which are refused
        "MalformedError": MalformedError,
        "varint": protowire.varint,
        "read_varint": protowire.read_varint,
        "read_tag": protowire.read_tag,
        "read_size": protowire.read_size,
        "skip": protowire.skip,
        "out_of_range": _out_of_range,
        "copysign": math.copysign,
        "DEPTH_MAX": protowire.DEPTH_MAX,
    }


def _field_names(field: Field, compiled: Callable[[type[betterproto.Message]], Compiled]) -> dict[str, Any]:
    """Return the constants of one field: its tag alone and joined with each one-byte varint, packers, message."""
    number = field.number
    tag = tag_of(field)
    names: dict[str, Any] = {f"T{number}": protowire.varint(tag), f"S{number}": protowire.prefixes(tag)}
    if field.kind in FIXED:
        packer = struct.Struct(FIXED[field.kind])
        names[f"pack{number}"] = _pack_float if field.kind == "float" else packer.pack
        names[f"unpack{number}"] = packer.unpack_from
    if field.message is not None:
        message = field.message
        names[f"encode{number}"] = lambda value: compiled(message).encode(value)
        names[f"decode{number}"] = lambda *arguments: compiled(message).decode(*arguments)
    return names


def _out_of_range(name: str, value: object) -> NoReturn:
    raise ValueError(f"{name} is out of range: {value}")


def _pack_float(value: float) -> bytes:
    """Four bytes of a float; what is too large becomes infinite, as in google.protobuf."""
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value))


def _build_source(fields: tuple[Field, ...]) -> list[str]:
    parameters = ", ".join(f"{field.name}={zero(field)}" for field in fields)
    values = {
        field.name: f"[] if {field.name} is UNSET else {field.name}" if field.repeated else field.name
        for field in fields
    }
    return [f"def build({'*, ' + parameters if fields else ''}):", *instance(fields, values)]


def _encode_source(fields: tuple[Field, ...]) -> list[str]:
    lines = ["def encode(message):", "    values = get(message, '__dict__')", "    out = b''"]
    if any(field.repeated for field in fields):
        lines[-1] = "    out = bytearray()"
    for field in fields:
        lines.append(f"    v = values[{field.name!r}]")
        lines += [f"    {line}" for line in (_encode_repeated(field) if field.repeated else _encode_single(field))]
    lines.append("    return bytes(out)" if any(field.repeated for field in fields) else "    return out")
    return lines


def _encode_single(field: Field) -> list[str]:
    number = field.number
    if field.message is not None:
        return [
            "if v is not UNSET:",
            f"    b = encode{number}(v)",
            "    if b or get(v, '__dict__')['_serialized_on_wire']:",
            f"        {_sized(number)}",
        ]
    if field.kind in ("float", "double"):  # the negative zero is a value of its own
        return ["if v is not UNSET and (v or copysign(1.0, v) < 0):", f"    out += T{number} + pack{number}(v)"]
    return ["if v and v is not UNSET:", *(f"    {line}" for line in _encode_value(field))]


def _sized(number: int) -> str:
    return f"n = len(b); out += (S{number}[n] if n < 128 else T{number} + varint(n)) + b"


def _encode_value(field: Field) -> list[str]:
    """Append tag and value of `v`, which is not zero."""
    number = field.number
    if field.kind == "string":
        return ["b = v.encode()", _sized(number)]
    if field.kind == "bytes":
        return ["b = v", _sized(number)]
    if field.kind == "bool":
        return [f"out += S{number}[1]"]
    if field.kind in FIXED:
        return [f"out += T{number} + pack{number}(v)"]
    return [
        f"if 0 < v < {64 if field.kind.startswith('s') else 128}:",
        f"    out += S{number}[{'v << 1' if field.kind.startswith('s') else 'v'}]",
        "else:",
        *(f"    {line}" for line in _raw_integer(field)),
        f"    out += T{number} + varint(v)",
    ]


def _raw_integer(field: Field) -> list[str]:
    """Check the range of `v` and turn it into the unsigned number that is written."""
    low, high, _ = INTEGERS[field.kind]
    lines = [f"if not {low} <= v <= {high}: out_of_range({field.name!r}, v)"]
    if field.kind.startswith("sint"):
        lines.append("v = v << 1 if v >= 0 else (-v << 1) - 1")
    elif low < 0:
        lines.append("if v < 0: v += 0x10000000000000000")
    return lines


def _encode_repeated(field: Field) -> list[str]:
    number = field.number
    if not is_packed(field):
        single = {"string": "v.encode()", "bytes": "v"}.get(field.kind, f"encode{number}(v)")
        return ["if v is not UNSET:", "    for v in v:", f"        b = {single}", f"        {_sized(number)}"]
    if field.kind in FIXED:
        items = [f"b = b''.join([pack{number}(v) for v in v])"]
    elif field.kind == "bool":
        items = ["b = bytes([1 if v else 0 for v in v])"]
    else:
        items = ["b = bytearray()", "for v in v:", *(f"    {line}" for line in _raw_integer(field))]
        items.append("    b += varint(v)")
    return ["if v and v is not UNSET:", *(f"    {line}" for line in items), f"    {_sized(number)}"]
