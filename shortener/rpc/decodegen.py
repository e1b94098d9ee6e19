"""Writes the source of one message class's decoder: one pass over the bytes, each field a local variable."""

import struct

from shortener.rpc.fields import Field
from shortener.rpc.kinds import FIXED, INTEGERS, instance, wire_type, zero
from shortener.rpc.protowire import SIZED


def decode_source(fields: tuple[Field, ...]) -> list[str]:
    """One pass over the bytes; each field is a local variable until the end."""
    lines = ["def decode(data, at, end, depth, old):", "    unknown = 0", "    if old is None:", "        pass"]
    lines += [f"        f{field.number} = {'[]' if field.repeated else zero(field)}" for field in fields]
    lines += ["    else:", "        pass"]
    lines += [f"        f{field.number} = old[{field.name!r}]" for field in fields]
    lines += [
        "    while at < end:",
        "        tag = data[at]; at += 1",
        "        if tag > 127: tag, at = read_tag(data, at - 1)",
    ]
    branch = "if"
    for field in fields:
        for tag, body in decode_branches(field):
            lines += [f"        {branch} tag == {tag}:", *(f"            {line}" for line in body)]
            branch = "elif"
    lines += [
        "        else:" if fields else "        if True:",
        "            at = skip(data, at, tag, depth)",
        "            unknown += 1",
        "            if not unknown & 7 and at < end: at = unknown_run(data, at, end)",
    ]
    lines += ["    if at != end: raise MalformedError('truncated')"]
    return lines + instance(fields, {field.name: f"f{field.number}" for field in fields})


def decode_branches(field: Field) -> list[tuple[int, list[str]]]:
    """Return the tags under which a field comes, each with the code that reads it."""
    number = field.number
    target = f"f{number}.append({{}})" if field.repeated else f"f{number} = {{}}"
    if wire_type(field) == SIZED:
        return [(number << 3 | SIZED, [*_read_span(), *_decode_sized(field, target), "at = stop"])]
    plain = (number << 3 | wire_type(field), _decode_number(field, target, "end"))
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
    if field.kind in FIXED:
        size = struct.calcsize(FIXED[field.kind])
        return [
            f"if at + {size} > {end}: raise MalformedError('truncated')",
            target.format(f"unpack{field.number}(data, at)[0]"),
            f"at += {size}",
        ]
    return [
        "v = data[at]; at += 1",
        "if v > 127: v, at = read_varint(data, at - 1)",
        target.format(INTEGERS[field.kind][2]),
    ]
