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

from shortener.transport import protowire
from shortener.transport.fields import UNSET, Field, fields_of
from shortener.transport.protowire import FIXED32, FIXED64, SIZED, VARINT, MalformedError

# Range and reading of each integer kind: lowest value, highest value, and an expression from the raw varint.
_INTEGERS = {
    "int32": (-(1 << 31), (1 << 31) - 1, "((v & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000"),
    "int64": (-(1 << 63), (1 << 63) - 1, "(v ^ 0x8000000000000000) - 0x8000000000000000"),
    "uint32": (0, (1 << 32) - 1, "v & 0xFFFFFFFF"),
    "uint64": (0, (1 << 64) - 1, "v"),
    "sint32": (-(1 << 31), (1 << 31) - 1, "((v & 0xFFFFFFFF) >> 1) ^ -(v & 1)"),
    "sint64": (-(1 << 63), (1 << 63) - 1, "(v >> 1) ^ -(v & 1)"),
    "bool": (0, 1, "v != 0"),
}
_FIXED = {"fixed32": "<I", "sfixed32": "<i", "float": "<f", "fixed64": "<Q", "sfixed64": "<q", "double": "<d"}
_ZEROS = {"string": "''", "bytes": "b''", "bool": "False", "float": "0.0", "double": "0.0", "message": "UNSET"}

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
    names["unknown_run"] = protowire.unknown_run(tag for field in fields for tag, _ in _decode_branches(field))
    for field in fields:
        names.update(_field_names(field, compiled))
    source = "\n".join([*_build_source(fields), *_encode_source(fields), *_decode_source(fields)])
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
    tag = _tag(field)
    names: dict[str, Any] = {f"T{number}": protowire.varint(tag), f"S{number}": protowire.prefixes(tag)}
    if field.kind in _FIXED:
        packer = struct.Struct(_FIXED[field.kind])
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


def _wire_type(field: Field) -> int:
    if field.kind in _INTEGERS:
        return VARINT
    if field.kind in _FIXED:
        return FIXED32 if struct.calcsize(_FIXED[field.kind]) == 4 else FIXED64
    return SIZED


def _is_packed(field: Field) -> bool:
    return field.repeated and _wire_type(field) != SIZED


def _tag(field: Field) -> int:
    return field.number << 3 | (SIZED if _is_packed(field) else _wire_type(field))


def _zero(field: Field) -> str:
    return "UNSET" if field.repeated else _ZEROS.get(field.kind, "0")


def _instance(fields: tuple[Field, ...], values: dict[str, str]) -> list[str]:
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


def _build_source(fields: tuple[Field, ...]) -> list[str]:
    parameters = ", ".join(f"{field.name}={_zero(field)}" for field in fields)
    values = {
        field.name: f"[] if {field.name} is UNSET else {field.name}" if field.repeated else field.name
        for field in fields
    }
    return [f"def build({'*, ' + parameters if fields else ''}):", *_instance(fields, values)]


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
    if field.kind in _FIXED:
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
    low, high, _ = _INTEGERS[field.kind]
    lines = [f"if not {low} <= v <= {high}: out_of_range({field.name!r}, v)"]
    if field.kind.startswith("sint"):
        lines.append("v = v << 1 if v >= 0 else (-v << 1) - 1")
    elif low < 0:
        lines.append("if v < 0: v += 0x10000000000000000")
    return lines


def _encode_repeated(field: Field) -> list[str]:
    number = field.number
    if not _is_packed(field):
        single = {"string": "v.encode()", "bytes": "v"}.get(field.kind, f"encode{number}(v)")
        return ["if v is not UNSET:", "    for v in v:", f"        b = {single}", f"        {_sized(number)}"]
    if field.kind in _FIXED:
        items = [f"b = b''.join([pack{number}(v) for v in v])"]
    elif field.kind == "bool":
        items = ["b = bytes([1 if v else 0 for v in v])"]
    else:
        items = ["b = bytearray()", "for v in v:", *(f"    {line}" for line in _raw_integer(field))]
        items.append("    b += varint(v)")
    return ["if v and v is not UNSET:", *(f"    {line}" for line in items), f"    {_sized(number)}"]


def _decode_source(fields: tuple[Field, ...]) -> list[str]:
    """One pass over the bytes; each field is a local variable until the end."""
    lines = ["def decode(data, at, end, depth, old):", "    unknown = 0", "    if old is None:", "        pass"]
    lines += [f"        f{field.number} = {'[]' if field.repeated else _zero(field)}" for field in fields]
    lines += ["    else:", "        pass"]
    lines += [f"        f{field.number} = old[{field.name!r}]" for field in fields]
    lines += [
        "    while at < end:",
        "        tag = data[at]; at += 1",
        "        if tag > 127: tag, at = read_tag(data, at - 1)",
    ]
    branch = "if"
    for field in fields:
        for tag, body in _decode_branches(field):
            lines += [f"        {branch} tag == {tag}:", *(f"            {line}" for line in body)]
            branch = "elif"
    lines += [
        "        else:" if fields else "        if True:",
        "            at = skip(data, at, tag, depth)",
        "            unknown += 1",
        "            if not unknown & 7 and at < end: at = unknown_run(data, at, end)",
    ]
    lines += ["    if at != end: raise MalformedError('truncated')"]
    return lines + _instance(fields, {field.name: f"f{field.number}" for field in fields})


def _decode_branches(field: Field) -> list[tuple[int, list[str]]]:
    """Return the tags under which a field comes, each with the code that reads it."""
    number = field.number
    target = f"f{number}.append({{}})" if field.repeated else f"f{number} = {{}}"
    if _wire_type(field) == SIZED:
        return [(number << 3 | SIZED, [*_read_span(), *_decode_sized(field, target), "at = stop"])]
    plain = (number << 3 | _wire_type(field), _decode_number(field, target, "end"))
    if not field.repeated:
        return [plain]
    loop = ["while at < stop:", *(f"    {line}" for line in _decode_number(field, target, "stop"))]
    packed = (number << 3 | SIZED, [*_read_span(), *loop, "if at != stop: raise MalformedError('truncated')"])
    return [packed, plain]


def _read_span() -> list[str]:
    return [
        "size = data[at]; at += 1",
        "if size > 127: size, at = read_size(data, at - 1)",
        "stop = at + size",
        "if stop > end: raise MalformedError('truncated')",
    ]


def _decode_sized(field: Field, target: str) -> list[str]:
    number = field.number
    if field.kind == "string":
        return [target.format("data[at:stop].decode()")]
    if field.kind == "bytes":
        return [target.format("data[at:stop]")]
    old = "None" if field.repeated else f"None if f{number} is UNSET else get(f{number}, '__dict__')"
    return [
        "if depth >= DEPTH_MAX: raise MalformedError('nested too deep')",
        target.format(f"decode{number}(data, at, stop, depth + 1, {old})"),
    ]


def _decode_number(field: Field, target: str, end: str) -> list[str]:
    if field.kind in _FIXED:
        size = struct.calcsize(_FIXED[field.kind])
        return [
            f"if at + {size} > {end}: raise MalformedError('truncated')",
            target.format(f"unpack{field.number}(data, at)[0]"),
            f"at += {size}",
        ]
    return [
        "v = data[at]; at += 1",
        "if v > 127: v, at = read_varint(data, at - 1)",
        target.format(_INTEGERS[field.kind][2]),
    ]
